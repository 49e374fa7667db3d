"""Requests to the API server, each under one deadline and one limit on its answer.

They go through the kubernetes client's pool of connections (see client.py), where a status comes
back as it is and a body can be read in chunks: `RESTClientObject.request` raises for a 4xx in 30.1,
returns it in 37, and reads without a limit in both.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any

from dtagent import __version__
from dtagent.cluster import tls
from dtagent.cluster.client import connections, urllib3
from dtagent.cluster.credentials import Credentials
from dtagent.errors import (
    BusyError,
    CredentialsError,
    ForbiddenError,
    NodeError,
    NodeMissingError,
    NodeReplacedError,
    RefusedError,
    ServerError,
    TlsError,
    UnauthorizedError,
    UnreachableError,
)
from dtagent.names import one_line

DEADLINE = 20.0  # seconds for a whole request
RETRY_AFTER_MAX = 300.0  # seconds that a server may send us away for
BODY_MAX = 2 << 20  # bytes; etcd refuses objects over 1.5 MiB
_CHUNK = 64 << 10
_KINDS = {401: UnauthorizedError, 403: ForbiddenError, 404: NodeMissingError}


class Transport:
    """Keep-alive connections to one API server with one credential."""

    def __init__(self, credentials: Credentials) -> None:
        try:
            self._pool = connections(credentials)
        except (ValueError, ImportError) as error:  # urllib3's of an address, a proxy's scheme
            raise CredentialsError(
                f"{credentials.source}: its server or proxy-url is no address to connect to"
            ) from error  # whose words may hold the proxy's password
        self._server = credentials.server
        self.date = ""  # the newest answer's, as it was sent (RFC 9110, 6.6.1)
        self._headers = {"Accept": "application/json", "User-Agent": f"dtagent/{__version__}"}
        if credentials.token:
            self._headers["Authorization"] = f"Bearer {credentials.token}"
        self._watch: Any = None
        self._closed = False

    @property
    def proxy(self) -> str:
        """The proxy on the way, without its password; "" for none."""
        url = getattr(self._pool, "proxy", None)
        return url._replace(auth=None).url if url else ""

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
    ) -> Mapping[str, Any]:
        """Send one request; the object that it was answered with, or a NodeError."""
        [answer] = self._answers(method, path, body, headers or {}, deadline, deadline)
        return answer

    def lines(
        self, path: str, headers: Mapping[str, str], lifetime: float, silence: float
    ) -> Iterator[Mapping[str, Any]]:
        """GET what never ends by itself, a watch: the JSON objects that come, one a line.

        For `lifetime` seconds at the most, of which `silence` may pass without a byte; past either,
        and for anything but objects, UnreachableError. Another thread ends it by `close`.
        """
        return self._answers("GET", path, None, headers, lifetime, silence, lines=True)

    def _answers(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        lifetime: float = DEADLINE,
        silence: float = DEADLINE,
        lines: bool = False,
    ) -> Iterator[Mapping[str, Any]]:
        """What a good answer says, one object or one a line; every failure as a NodeError."""
        start = time.monotonic()
        opening = min(lifetime, DEADLINE)  # for the headers of a watch, too
        tls.deadline.set(start + opening)
        response: Any = None
        try:
            response = self._pool.request(
                method,
                self._server + path,
                body=None if body is None else json.dumps(body).encode(),
                headers={**self._headers, **headers},
                preload_content=False,
                redirect=False,  # a token is for this server alone
                retries=False,
                timeout=urllib3.Timeout(connect=opening, read=silence),
            )
            self.date = response.headers.get("Date", "")
            if not 200 <= response.status < 300:
                raise failure(method, path, response, next(self._objects(response, lines=False)))
            tls.deadline.set(start + lifetime)
            if lines:
                self._watch = response
            if not (lines and self._closed):  # while it opened, with nothing to interrupt yet
                yield from self._objects(response, lines)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _unreachable(self._server, error, lifetime) from error
        finally:
            if lines:
                self._watch = None
            if response:
                response.close()  # which keeps the connection if the whole body has been read

    def _objects(self, response: Any, lines: bool) -> Iterator[Mapping[str, Any]]:
        text = b""
        for chunk in response.stream(_CHUNK, decode_content=False):
            *whole, text = (text + chunk).split(b"\n") if lines else [text + chunk]
            yield from (self._object(line, "a watch") for line in whole)
            if len(text) > BODY_MAX:
                raise ServerError(f"{self._server}: answered more than {BODY_MAX} bytes")
        if not lines:
            yield self._object(text, str(response.status))

    def _object(self, text: bytes, what: str) -> Mapping[str, Any]:
        answer = None
        with contextlib.suppress(ValueError, RecursionError):
            answer = json.loads(text)
        if not isinstance(answer, dict):
            raise ServerError(
                f"{self._server}: answered {what} with something that is not the API's"
            )
        return answer

    def close(self) -> None:
        """End the watch that another thread is reading, and drop every connection.

        With them goes the certificate that they present.
        """
        self._closed = True
        with (
            contextlib.suppress(OSError, ValueError, AttributeError),  # none, or it has ended
            socket.socket(fileno=os.dup(self._watch.fileno())) as duplicate,
        ):
            duplicate.shutdown(socket.SHUT_RDWR)  # its next read finds the end
        pools = self._pool.pools
        for key in pools.keys():  # noqa: SIM118 (no dict, and cannot be iterated)
            pools[key].close()  # which urllib3 2 leaves to the garbage collector
        pools.clear()


def table(answer: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """What lies at these keys; empty where an answer has something else there."""
    for key in keys:
        inner = answer.get(key)
        answer = inner if isinstance(inner, dict) else {}
    return answer


def failure(method: str, path: str, response: Any, body: Mapping[str, Any]) -> NodeError:
    """A Status object (API conventions, "Response Status Kind") into the kind that it is."""
    status = response.status
    text = one_line(str(body.get("message") or body.get("reason") or ""))
    message = f"{method} {path.partition('?')[0]}: {status} {text}".rstrip()
    causes = table(body, "details").get("causes")
    about_uid = isinstance(causes, list) and any(
        isinstance(cause, dict) and cause.get("field") == "metadata.uid" for cause in causes
    )
    # An apply with a uid on an absent Node is a create that is refused: "uid mismatch".
    if status in (409, 422) and (about_uid or "uid mismatch" in message):
        return NodeReplacedError(message)
    after = response.headers.get("Retry-After") or ""  # in seconds, always (API concepts)
    retry_after = float(after) if after.isascii() and after.isdecimal() else 0.0
    if status == 429 or (status == 503 and retry_after):
        return BusyError(message, min(retry_after, RETRY_AFTER_MAX))
    if status >= 500:
        return ServerError(message)
    return _KINDS.get(status, RefusedError)(message)


def _unreachable(server: str, error: Exception, deadline: float) -> UnreachableError:
    """The one cause in a chain of urllib3's exceptions that says something to a user."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TlsError(f"{server}: TLS: certificate verify failed: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError):
            return TlsError(f"{server}: TLS: {cause.reason or cause}")
        if isinstance(cause, OSError) and cause.strerror:
            return UnreachableError(f"{server}: {cause.strerror}")
    # Not sooner: to urllib3 a connection that is refused is a time-out, too.
    if any(isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)) for cause in causes):
        return UnreachableError(f"{server}: no whole answer in {deadline:.0f} s")
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return UnreachableError(f"{server}: the connection ended before a whole answer came")
    if isinstance(error, ValueError):  # its words may repeat what was to be sent, a token say
        return UnreachableError(f"{server}: no request can be made of this kubeconfig")
    return UnreachableError(f"{server}: {error}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it, told as cause, as argument or as context."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        inner = [item for item in cause.args if isinstance(item, BaseException)]
        cause = cause.__cause__ or (inner[0] if inner else cause.__context__)
