"""TLS to one API server: whom we trust, who we are, and until when a request may read.

urllib3's time-outs are for each read, so a server that sends a byte now and then could hold a
request for ever. Here each read gets what is left of the request's time, headers and body alike.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from dtagent.errors import CredentialsError

deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))
"""When, on the monotonic clock, what this thread is reading must be over."""


class _Socket(ssl.SSLSocket):
    """Shakes hands and reads until `deadline` at the latest."""

    def do_handshake(self, block: bool = False) -> None:
        with self._in_time():
            super().do_handshake(block)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        with self._in_time():
            return super().recv_into(*args, **kwargs)

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        left = deadline.get() - time.monotonic()
        if left <= 0:
            raise TimeoutError("too slow")
        each = self.gettimeout()
        self.settimeout(left if each is None else min(each, left))
        try:
            yield
        finally:
            self.settimeout(each)


class Context(ssl.SSLContext):
    """Checks chain and host name, but not X.509 strictness.

    Python 3.13 sets VERIFY_X509_STRICT, which refuses CAs without extensions, as microk8s makes
    them; a Go client accepts them.
    """

    sslsocket_class = _Socket
    server_name = ""

    def wrap_socket(self, sock: Any, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        # urllib3 before 2.0 names no server that is an address: nothing for SNI, but the check of
        # the certificate needs it.
        kwargs["server_hostname"] = kwargs.get("server_hostname") or self.server_name
        return super().wrap_socket(sock, *args, **kwargs)


def context(source: Path, server_name: str, authority: bytes | None, pair: bytes | None) -> Context:
    """The context that the kubeconfig `source` stands for, from PEM.

    Without `authority` the host's own CAs are trusted; `pair` is our certificate and key.
    """
    made = Context(ssl.PROTOCOL_TLS_CLIENT)
    made.server_name = server_name
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        if authority is None:
            made.load_default_certs()
        else:
            made.load_verify_locations(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise CredentialsError(f"{source}: its certificate-authority is not PEM") from error
    if pair is not None:
        try:
            with _in_memory(pair) as name:
                # Without a password OpenSSL would ask for an encrypted key's on the terminal.
                made.load_cert_chain(name, password=lambda: b"")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise CredentialsError(
                f"{source}: its client certificate and key are no pair in PEM, or are encrypted"
            ) from error
    return made


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A file name for bytes that must never be on a disk: OpenSSL takes keys by name alone."""
    with os.fdopen(os.memfd_create("dtagent-key"), "wb", buffering=0) as file:
        file.write(content)
        yield f"/proc/self/fd/{file.fileno()}"
