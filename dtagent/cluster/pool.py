"""Connections to one API server: the kubernetes client's pool, with our own rules of TLS and time.

The client builds the pool from its Configuration (proxy, no_proxy, TLS server name). urllib3's
time-outs are for each read, so a server that sends a byte now and then could hold a request for
ever: a socket class of our own (ssl.SSLContext.sslsocket_class) gives each read only what is left
of the request's time, headers and body alike.
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import os
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import urllib3

from dtagent.cluster.credentials import Credentials

end: ContextVar[float] = ContextVar("end", default=float("inf"))
"""When, on the monotonic clock, what this thread is reading must be over."""


class _Socket(ssl.SSLSocket):
    """Shakes hands and reads until `end` at the latest."""

    def do_handshake(self, block: bool = False) -> None:
        with self._in_time():
            super().do_handshake(block)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        with self._in_time():
            return super().recv_into(*args, **kwargs)

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        left = end.get() - time.monotonic()
        if left <= 0:
            raise TimeoutError("too slow")
        each = self.gettimeout()
        self.settimeout(left if each is None else min(each, left))
        try:
            yield
        finally:
            self.settimeout(each)


def connections(credentials: Credentials) -> urllib3.PoolManager:
    """A pool that keeps one connection, to the credentials' server and as whom they say."""
    rest, configuration = _client()
    host = urlsplit(credentials.server).hostname or ""
    settings = configuration(host=credentials.server)
    settings.proxy = credentials.proxy_url or _environment_proxy(host)
    settings.no_proxy = "" if credentials.proxy_url else _no_proxy()
    settings.tls_server_name = credentials.tls_server_name
    settings.connection_pool_maxsize = 1
    manager: urllib3.PoolManager = rest.RESTClientObject(settings).pool_manager
    # Our own context in place of the client's. What it would load besides, Mozilla's roots on
    # 30.1, must not vouch for an API server.
    options = manager.connection_pool_kw
    for option in ("ca_certs", "ca_cert_data", "cert_file", "key_file"):
        options.pop(option, None)
    context = credentials.context
    context.sslsocket_class = _Socket
    # urllib3 before 2.0 passes a host name on and an address not, which is nothing for SNI; but the
    # check of the certificate needs it.
    name = credentials.tls_server_name or host
    context.wrap_socket = partial(context.wrap_socket, server_hostname=name)  # type: ignore[method-assign]
    options.update(ssl_context=context, cert_reqs=ssl.CERT_REQUIRED)
    return manager


def _client() -> tuple[Any, Any]:
    """The kubernetes client's `rest` module and Configuration, without the rest of the package.

    Its packages import every API model: 41 MB and 0.4 s more with Debian 13's 30.1 on x86 (bench/
    imports.py), 11 s of a boot on an emulated board. So the two modules are imported with empty
    parent packages in place, and where a future version does not bear that, in the ordinary way.
    """
    parents = ("kubernetes", "kubernetes.client", "kubernetes.utils")
    if not any(name in sys.modules for name in parents):
        try:
            for name in parents:
                spec = importlib.util.find_spec(name)
                if spec is not None:
                    sys.modules[name] = importlib.util.module_from_spec(spec)
            return _modules()
        except (ImportError, AttributeError):
            for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
                del sys.modules[name]
    return _modules()


def _modules() -> tuple[Any, Any]:
    return (
        importlib.import_module("kubernetes.client.rest"),
        importlib.import_module("kubernetes.client.configuration").Configuration,
    )


def _environment_proxy(host: str) -> str | None:
    """HTTPS_PROXY, but never for this machine itself."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return None if loopback else getproxies_environment().get("https")


def _no_proxy() -> str:
    return os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
