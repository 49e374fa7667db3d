"""Connections by the kubernetes client: its pool (proxy, no_proxy, server name), our TLS.

The client's packages import every API model: 41 MB and 0.4 s more with Debian 13's 30.1 on x86,
11 s of a boot on an emulated board. So its two modules that we need are imported with empty parent
packages in place; and with stand-ins for what they, and urllib3, import for functions that are not
called here (1.3 MB more, 5.6 with 30.1). A version that does not bear that is imported in the
ordinary way. `urllib3` is to be had from here, since it must not be imported sooner.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from urllib.request import getproxies_environment

from dtagent.cluster.credentials import Credentials

CONNECTIONS = 2  # a watch, and whatever else is asked meanwhile
LOOPBACK = "localhost,127.0.0.0/8,::1"  # what a proxy of the environment is never for


def _import() -> list[Any]:
    return [importlib.import_module(f"kubernetes.client.{it}") for it in ("rest", "configuration")]


def _bypasses(*args: Any, **kwargs: Any) -> bool:
    """What 30.1 takes from requests: the whole of it comes when there is a proxy to decide on."""
    decide = importlib.import_module("requests.utils").should_bypass_proxies
    return bool(decide(*args, **kwargs))


_STAND_INS: Mapping[str, Mapping[str, object]] = {
    "importlib.metadata": {"version": None},  # urllib3: the version of an h2 that it looks for
    "multiprocessing": {"cpu_count": lambda: 1},  # the client: the default of CONNECTIONS
    "requests": {},
    "requests.utils": {"should_bypass_proxies": _bypasses},
}
_PARENTS = ("kubernetes", "kubernetes.client", "kubernetes.utils")


def _light() -> list[Any]:
    """The client's modules, and of the rest what they really use."""
    absent = [name for name in _STAND_INS if name not in sys.modules]
    for name in absent:
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(_STAND_INS[name])
    try:
        for name in _PARENTS:
            spec = None if name in sys.modules else importlib.util.find_spec(name)
            if spec:
                sys.modules[name] = importlib.util.module_from_spec(spec)
        return _import()
    finally:
        for name in absent:
            del sys.modules[name]


try:
    REST, _CONFIGURATION = _light()
except (ImportError, AttributeError):
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("kubernetes", "urllib3"):
            del sys.modules[name]
    REST, _CONFIGURATION = _import()
import urllib3 as urllib3  # noqa: E402 (said twice: for others)

# It would say at each attempt, in two lines, that the clock is wrong: the failure says so once.
urllib3.disable_warnings(urllib3.exceptions.SystemTimeWarning)


def connections(credentials: Credentials) -> urllib3.PoolManager:
    """A pool that connects to the credentials' server, and as whom they say."""
    settings = _CONFIGURATION.Configuration(host=credentials.server)
    settings.proxy, settings.no_proxy = credentials.proxy_url, ""
    if not settings.proxy:
        environment = getproxies_environment()
        settings.proxy = environment.get("https")
        no_proxy = f"{environment.get('no', '')},{LOOPBACK}"
        settings.no_proxy = no_proxy.replace("[", "").replace("]", "")  # as Go's programs read it
    settings.tls_server_name = credentials.tls_server_name
    settings.connection_pool_maxsize = CONNECTIONS
    manager: urllib3.PoolManager = REST.RESTClientObject(settings).pool_manager
    # Our own context in place of the client's. What it would load besides, Mozilla's roots on
    # 30.1, must not vouch for an API server.
    options = manager.connection_pool_kw
    for option in ("ca_certs", "ca_cert_data", "cert_file", "key_file"):
        options.pop(option, None)
    options.update(ssl_context=credentials.context, cert_reqs=credentials.context.verify_mode)
    return manager
