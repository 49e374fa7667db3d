"""Requests to the API server, each under one deadline and one limit on its answer.

The kubernetes client builds the pool of connections from its Configuration (proxy, no_proxy, TLS
server name); requests go through that pool, where a status comes back as it is and a body can be
read in chunks: `RESTClientObject.request` raises for a 4xx in 30.1, returns it in 37, and reads
without a limit in both.
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import json
import os
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import urllib3

from dtagent import __version__
from dtagent.credentials import Credentials
from dtagent.errors import UnreachableError

DEADLINE = 20.0  # seconds for a whole request
BODY_MAX = 4 << 20  # bytes; etcd refuses objects over 1.5 MiB
_CHUNK = 64 << 10


@dataclass(frozen=True)
class Response:
    """A status and the JSON object that came with it."""

    status: int
    body: Mapping[str, Any]


class Transport:
    """Keep-alive connections to one API server with one credential."""

    def __init__(self, credentials: Credentials) -> None:
        rest, configuration = _client()
        host = urlsplit(credentials.server).hostname or ""
        settings = configuration(host=credentials.server)
        settings.proxy = credentials.proxy_url or _environment_proxy(host)
        settings.no_proxy = "" if credentials.proxy_url else _no_proxy()
        settings.tls_server_name = credentials.tls_server_name
        settings.connection_pool_maxsize = 1
        self._pool: urllib3.PoolManager = rest.RESTClientObject(settings).pool_manager
        # Our own context in place of the client's. What it would load besides, Mozilla's roots
        # on 30.1, must not vouch for an API server.
        options = self._pool.connection_pool_kw
        for option in ("ca_certs", "ca_cert_data", "cert_file", "key_file"):
            options.pop(option, None)
        options.update(ssl_context=credentials.context, cert_reqs=ssl.CERT_REQUIRED)
        self._server = credentials.server
        self._headers = {"User-Agent": f"dtagent/{__version__}"}
        if credentials.token:
            self._headers["Authorization"] = f"Bearer {credentials.token}"

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one request; UnreachableError if no whole JSON object comes back in time."""
        deadline = time.monotonic() + DEADLINE
        try:
            response = self._pool.request(
                method,
                self._server + path,
                body=None if body is None else json.dumps(body).encode(),
                headers={"Accept": "application/json", **self._headers, **(headers or {})},
                preload_content=False,
                redirect=False,  # a token is for this server alone
                retries=False,
                timeout=urllib3.Timeout(connect=DEADLINE / 2, read=DEADLINE, total=DEADLINE),
            )
            try:
                content = self._body(response, deadline)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"{self._server}: {_reason(error)}") from error
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise UnreachableError(
                f"{self._server}: answered {response.status} with something that is not the API's"
            )
        return Response(response.status, answer)

    def _body(self, response: Any, deadline: float) -> bytes:
        content = b""
        for chunk in response.stream(_CHUNK):
            content += chunk
            if len(content) > BODY_MAX:
                raise UnreachableError(f"{self._server}: answered more than {BODY_MAX} bytes")
            if time.monotonic() > deadline:
                raise UnreachableError(f"{self._server}: no whole answer in {DEADLINE:.0f} s")
        return content

    def close(self) -> None:
        """Drop every connection, and with them the certificate that they present."""
        self._pool.clear()


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


def _reason(error: BaseException) -> str:
    """The one cause in a chain of urllib3's exceptions that says something to a user."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS: certificate verify failed: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason or cause}"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    if isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError)):
        return f"no answer in {DEADLINE:.0f} s"
    return str(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it, told as cause, as argument or as context."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        inner = [item for item in cause.args if isinstance(item, BaseException)]
        cause = cause.__cause__ or (inner[0] if inner else cause.__context__)
