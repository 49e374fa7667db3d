"""Requests to the API server, each under one deadline and one limit on its answer.

They go through the kubernetes client's pool of connections (see client.py), where a status comes
back as it is and a body can be read in chunks: `RESTClientObject.request` raises for a 4xx in 30.1,
returns it in 37, and reads without a limit in both.
"""

import contextlib
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from dtagent import __version__, errors
from dtagent.cluster import tls
from dtagent.cluster.client import connections, urllib3
from dtagent.cluster.credentials import Credentials
from dtagent.names import one_line

DEADLINE = 20.0  # seconds for a whole request
RETRY_AFTER_MAX = 300.0  # seconds that a server may send us away for
BODY_MAX = 2 << 20  # bytes; etcd refuses objects over 1.5 MiB
Json = Mapping[str, Any]
_KINDS = {401: errors.UnauthorizedError, 403: errors.ForbiddenError, 404: errors.NodeMissingError}


class Transport:
    """Keep-alive connections to one API server with one credential."""

    def __init__(self, credentials: Credentials) -> None:
        try:
            self._pool = connections(credentials)
        except (ValueError, ImportError) as error:  # urllib3's of an address, a proxy's scheme
            raise errors.CredentialsError(
                f"{credentials.source}: its server or proxy-url is no address to connect to"
            ) from error  # whose words may hold the proxy's password
        proxy = self._pool.proxy
        self.proxy = proxy._replace(auth=None).url if proxy else ""  # without its password
        self.date = ""  # the newest answer's, as it was sent (RFC 9110, 6.6.1)
        self._server, self._path = credentials.server, urlsplit(credentials.server).path
        self._headers = {"Accept": "application/json", "User-Agent": f"dtagent/{__version__}"}
        if credentials.token:
            self._headers["Authorization"] = f"Bearer {credentials.token}"
        self._watch: Any = None
        self._closed = False

    def request(
        self, method: str, path: str, body: Json | None = None, headers: Json | None = None
    ) -> Json:
        """Send one request; the object that it was answered with, or a NodeError."""
        [answer] = self.answers(method, path, body, headers)
        return answer

    def answers(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        headers: Json | None = None,
        lifetime: float = DEADLINE,
        silence: float = 0.0,
    ) -> Iterator[Json]:
        """What a good answer says: one object, or with `silence`, of a watch, one a line.

        For `lifetime` seconds at the most, of which `silence` may pass without a byte; past either,
        and for anything but objects, UnreachableError. Another thread ends a watch by `close`.
        """
        lines, each = silence > 0, silence or lifetime
        start, opening = time.monotonic(), min(lifetime, DEADLINE)  # until the headers are here
        tls.limits.set((start + opening, each))
        try:
            with self._pool.urlopen(
                method,
                self._path + path,
                body=None if body is None else json.dumps(body).encode(),
                headers={**self._headers, **(headers or {})},
                preload_content=False,
                redirect=False,  # a token is for this server alone
                retries=False,
                timeout=urllib3.Timeout(connect=opening, read=each),
            ) as response:  # whose end keeps the connection if the whole body has been read
                self.date = response.headers.get("Date", "")
                if not 200 <= response.status < 300:
                    raise failure(method, path, response, next(self._objects(response)))
                tls.limits.set((start + lifetime, each))
                if lines:
                    self._watch = response
                if not self._closed:  # while it opened, with nothing to interrupt yet
                    yield from self._objects(response, lines)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _unreachable(self._server, error, lifetime) from error

    def _objects(self, response: Any, lines: bool = False) -> Iterator[Json]:
        text = b""
        for chunk in response.stream(64 << 10, decode_content=False):
            *whole, text = (text + chunk).split(b"\n") if lines else [text + chunk]
            yield from map(self._object, whole)
            if len(text) > BODY_MAX:
                raise errors.ServerError(f"{self._server}: answered more than {BODY_MAX} bytes")
        if not lines:
            yield self._object(text, response.status)

    def _object(self, text: bytes, what: object = "a watch") -> Json:
        answer = None
        with contextlib.suppress(ValueError, RecursionError):
            answer = json.loads(text)
        if not isinstance(answer, dict):
            wrong = "something that is not the API's"
            raise errors.ServerError(f"{self._server}: answered {what} with {wrong}")
        return answer

    def close(self) -> None:
        """End the watch that another thread reads; drop every connection and its certificate."""
        self._closed = True
        with (
            contextlib.suppress(OSError, ValueError, AttributeError),  # none, or it has ended
            socket.socket(fileno=os.dup(self._watch.fileno())) as duplicate,
        ):
            duplicate.shutdown(socket.SHUT_RDWR)  # its next read finds the end
        self._pool.close()


def table(answer: Json, *keys: str) -> Json:
    """What lies at these keys; empty where an answer has something else there."""
    for key in keys:
        inner = answer.get(key)
        answer = inner if isinstance(inner, dict) else {}
    return answer


def failure(method: str, path: str, response: Any, body: Json) -> errors.NodeError:
    """A Status object (API conventions, "Response Status Kind") into the kind that it is."""
    status = response.status
    text = one_line(str(body.get("message") or body.get("reason") or ""))
    message = f"{method} {path.partition('?')[0]}: {status} {text}".rstrip()
    about_uid = "'field': 'metadata.uid'" in str(body.get("details"))  # one of its causes
    # An apply with a uid on an absent Node is a create that is refused: "uid mismatch".
    if status in (409, 422) and (about_uid or "uid mismatch" in message):
        return errors.NodeReplacedError(message)
    after = response.headers.get("Retry-After") or ""  # in seconds, always (API concepts)
    retry_after = float(after) if after.isascii() and after.isdecimal() else 0.0
    if status == 429 or (status == 503 and retry_after):
        return errors.BusyError(message, min(retry_after, RETRY_AFTER_MAX))
    if status >= 500:
        return errors.ServerError(message)
    return _KINDS.get(status, errors.RefusedError)(message)


def _unreachable(server: str, error: Exception, deadline: float) -> errors.UnreachableError:
    """The one cause in a chain of urllib3's exceptions that says something to a user."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "verify_message", "")
            text = f"certificate verify failed: {reason}" if reason else cause.reason or cause
            return errors.TlsError(f"{server}: TLS: {text}")
        if isinstance(cause, OSError) and cause.strerror:
            return errors.UnreachableError(f"{server}: {cause.strerror}")
        if isinstance(cause, TimeoutError):
            return errors.UnreachableError(f"{server}: no whole answer in {deadline:.0f} s")
        cause = cause.__context__
    text = str(error)
    if isinstance(error, urllib3.exceptions.ProtocolError):
        text = "the connection ended before a whole answer came"
    elif isinstance(error, ValueError):  # its words may repeat what was to be sent, a token say
        text = "no request can be made of this kubeconfig"
    return errors.UnreachableError(f"{server}: {text}")
