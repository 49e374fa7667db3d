"""Connections by the kubernetes client: its pool (proxy, no_proxy, server name), our TLS.

The client's packages import every API model: 41 MB and 0.4 s more with Debian 13's 30.1 on x86
(bench/imports.py), 11 s of a boot on an emulated board. So its two modules that we need are
imported with empty parent packages in place, and where a future version does not bear that, in the
ordinary way.
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import ssl
import sys
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import urllib3

from dtagent.cluster.credentials import Credentials

CONNECTIONS = 2  # a watch, and whatever else is asked meanwhile


def connections(credentials: Credentials) -> urllib3.PoolManager:
    """A pool that connects to the credentials' server, and as whom they say."""
    rest, configuration = modules()
    settings = configuration(host=credentials.server)
    environment = {} if _is_loopback(credentials.server) else getproxies_environment()
    settings.proxy = credentials.proxy_url or environment.get("https")
    settings.no_proxy = "" if credentials.proxy_url else environment.get("no", "")
    settings.tls_server_name = credentials.tls_server_name
    settings.connection_pool_maxsize = CONNECTIONS
    manager: urllib3.PoolManager = rest.RESTClientObject(settings).pool_manager
    # Our own context in place of the client's. What it would load besides, Mozilla's roots on
    # 30.1, must not vouch for an API server.
    options = manager.connection_pool_kw
    for option in ("ca_certs", "ca_cert_data", "cert_file", "key_file"):
        options.pop(option, None)
    options.update(ssl_context=credentials.context, cert_reqs=ssl.CERT_REQUIRED)
    return manager


def modules() -> tuple[Any, Any]:
    """The client's `rest` module and its Configuration."""
    try:
        for name in ("kubernetes", "kubernetes.client", "kubernetes.utils"):
            spec = None if name in sys.modules else importlib.util.find_spec(name)
            if spec:
                sys.modules[name] = importlib.util.module_from_spec(spec)
        return _import()
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
            del sys.modules[name]
        return _import()


def _import() -> tuple[Any, Any]:
    rest = importlib.import_module("kubernetes.client.rest")
    return rest, importlib.import_module("kubernetes.client.configuration").Configuration


def _is_loopback(server: str) -> bool:
    """A proxy of the environment is never for this machine itself."""
    host = urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
