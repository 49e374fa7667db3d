"""TLS to one API server: whom we trust, who we are, and until when a request may read.

urllib3's time-outs are for each read, so a server that sends a byte now and then could hold a
request for ever. Here each read gets what is left of the request's time, headers and body alike.
"""

import os
import ssl
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from dtagent.errors import CredentialsError

limits: ContextVar[tuple[float, float]] = ContextVar("limits")
"""Of what this thread reads: its end on the monotonic clock, and the seconds for each read."""


class _Socket(ssl.SSLSocket):
    """Shakes hands and reads within `limits`."""

    def do_handshake(self, block: bool = False) -> None:
        self._limit()
        super().do_handshake(block)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._limit()
        return super().recv_into(*args, **kwargs)

    def _limit(self) -> None:
        end, each = limits.get()
        if (left := end - time.monotonic()) <= 0:
            raise TimeoutError("too slow")
        self.settimeout(min(left, each))


class Context(ssl.SSLContext):
    """Names the server to its sockets, which keep to `limits`."""

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
    # Python 3.13 sets it. It refuses CAs without extensions, as microk8s makes them; Go does not.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    wrong = "its certificate-authority is not PEM"
    try:
        if authority is None:
            made.load_default_certs()
        else:
            made.load_verify_locations(cadata=authority.decode("ascii"))
        if pair is not None:
            wrong = "its client certificate and key are no pair in PEM, or are encrypted"
            # OpenSSL takes a key by its file's name alone, and it must never be on a disk.
            with os.fdopen(os.memfd_create("dtagent-key"), "wb", buffering=0) as file:
                file.write(pair)
                # Without a password it would ask for an encrypted key's on the terminal.
                made.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=lambda: b"")
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{source}: {wrong}") from error
    return made
