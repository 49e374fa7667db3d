"""Connections by the kubernetes client: its pool (proxy, no_proxy, server name), our TLS.

The client's packages import every API model: 41 MB and 0.4 s more with Debian 13's 30.1 on x86,
11 s of a boot on an emulated board. So its two modules that we need are imported with empty parent
packages in place; and with stand-ins for what they, and urllib3, import for functions that are not
called here (1.3 MB more, 5.6 with 30.1). A version that does not bear that is imported in the
ordinary way. `urllib3` is to be had from here, since it must not be imported sooner.
"""

import contextlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote
from urllib.request import getproxies_environment

from dtagent.cluster.credentials import Credentials

CONNECTIONS = 2  # a watch, and whatever else is asked meanwhile
LOOPBACK = "localhost,127.0.0.0/8,::1"  # what a proxy of the environment is never for


def _bypasses(*args: Any, **kwargs: Any) -> bool:
    """What 30.1 takes from requests: the whole of it comes when there is a proxy to decide on."""
    return bool(importlib.import_module("requests.utils").should_bypass_proxies(*args, **kwargs))


_STAND_INS: dict[str, Any] = {
    "importlib.metadata": SimpleNamespace(version=None),  # urllib3: of an h2 that it looks for
    "multiprocessing": SimpleNamespace(cpu_count=lambda: 1),  # the client: a default of CONNECTIONS
    "requests": SimpleNamespace(),
    "requests.utils": SimpleNamespace(should_bypass_proxies=_bypasses),
}


@contextlib.contextmanager
def _in_place() -> Iterator[None]:
    """The empty parents, which stay, and meanwhile the stand-ins."""
    absent = {name: it for name, it in _STAND_INS.items() if name not in sys.modules}
    sys.modules.update(absent)
    try:
        for name in ("kubernetes", "kubernetes.client", "kubernetes.utils"):
            if name not in sys.modules and (spec := importlib.util.find_spec(name)):
                sys.modules[name] = importlib.util.module_from_spec(spec)
        yield
    finally:
        for name in absent:
            del sys.modules[name]


try:
    with _in_place():
        from kubernetes.client import configuration, rest
except (ImportError, AttributeError):
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("kubernetes", "urllib3"):
            del sys.modules[name]
    from kubernetes.client import configuration, rest
import urllib3 as urllib3  # noqa: E402 (said twice: for others)

# It would say at each attempt, in two lines, that the clock is wrong: the failure says so once.
urllib3.disable_warnings(urllib3.exceptions.SystemTimeWarning)


def connections(credentials: Credentials) -> urllib3.HTTPConnectionPool:
    """A pool that connects to the credentials' server, and as whom they say."""
    environment = getproxies_environment()
    no_proxy = re.sub(r"[][]", "", environment.get("no", "")) + f",{LOOPBACK}"  # as Go reads it
    settings = configuration.Configuration(host=credentials.server)
    settings.proxy = credentials.proxy_url or environment.get("https")
    settings.no_proxy = "" if credentials.proxy_url else no_proxy
    settings.tls_server_name = credentials.tls_server_name
    settings.connection_pool_maxsize = CONNECTIONS
    manager: urllib3.PoolManager = rest.RESTClientObject(settings).pool_manager
    if manager.proxy and (user := manager.proxy.auth):  # of a proxy that is for this server
        user = unquote(user if ":" in user else f"{user}:", "latin-1")  # which leaves it UTF-8
        settings.proxy_headers = urllib3.make_headers(proxy_basic_auth=user)
        manager = rest.RESTClientObject(settings).pool_manager
    # Our own context in place of the client's. What it would load besides, Mozilla's roots on
    # 30.1, must not vouch for an API server.
    context, options = credentials.context, manager.connection_pool_kw
    options.update(ssl_context=context, cert_reqs=context.verify_mode, ca_certs=None)
    return manager.connection_from_url(credentials.server)
