"""An HTTPS proxy with a certificate of the cluster's CA, which can answer in the server's place.

The client is whom its bearer token says, which is passed on: a proxy cannot show the server a
client's certificate. HTTP/1.1 by http.server (RFC 9112), and one thread a connection.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

from tests.apiserver.client import client_context

Answer: TypeAlias = "Callable[[Exchange], None]"
CLOCK = 0.1
"""Seconds that whoever counts may be off: it hears of the time a moment later than it is sent."""
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Exchange(BaseHTTPRequestHandler):
    """One connection, and the request on it that is to be answered."""

    protocol_version = "HTTP/1.1"
    server: HttpsProxy
    body: bytes

    def setup(self) -> None:
        self.request = self.server.context.wrap_socket(
            self.request, server_side=True, do_handshake_on_connect=False
        )
        self.server.began(self.request)
        try:
            self.request.do_handshake()
        except BaseException:
            self._drop()
            raise
        super().setup()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        self._drop()

    def _drop(self) -> None:
        self.server.ended(self.request)
        self.request.close()

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked(self)
        self.server.answer(self)

    do_GET = do_POST = do_PATCH = _answer

    @property
    def is_watch(self) -> bool:
        return "watch=" in self.path

    @property
    def is_node(self) -> bool:
        """Whether it is about Nodes, and not about who is asking."""
        return self.path.startswith("/api/v1/nodes")

    def say(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer, unless `headers` give it another length."""
        headers = {"Content-Type": "application/json", **(headers or {})}
        if "Retry-After" in headers:
            self.server.sent_away(self, float(headers["Retry-After"]))
        if not HOP_BY_HOP & {name.lower() for name in headers}:
            headers["Content-Length"] = str(len(body))
        self.head(status, headers)
        self.wfile.write(body)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def pause(self, seconds: float | None) -> bool:
        """Wait; whether the client has gone, or the proxy is to end."""
        wake = [self.server.wake, self.request]
        return bool(select.select(wake, [], [], seconds)[0])

    def forward(self, path: str | None = None) -> None:
        """Ask the real server, and pass on what it says piece by piece, as a watch needs it."""
        upstream = http.client.HTTPSConnection(
            "127.0.0.1", self.server.target, context=self.server.upstream
        )
        try:
            upstream.connect()
            self.server.began(upstream.sock, running=True)
            self.server.began(self.request, running=True)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
            upstream.request(self.command, path or self.path, self.body or None, headers)
            self._pass(upstream.getresponse())
        except http.client.HTTPException:
            self.close_connection = True  # cut in the middle
        finally:
            self.server.ended(upstream.sock)
            self.server.answered(self.request)
            upstream.close()

    def _pass(self, response: http.client.HTTPResponse) -> None:
        headers = {k: v for k, v in response.getheaders() if k.lower() not in HOP_BY_HOP}
        self.head(response.status, {**headers, "Transfer-Encoding": "chunked"})
        with response:
            while piece := response.read1(64 << 10):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what was asked is in `requests`."""


class HttpsProxy(ThreadingHTTPServer):
    """Listens on a port of 127.0.0.1, and passes on to `target` of 127.0.0.1 what it is asked."""

    daemon_threads = False  # so that close() waits for them

    def __init__(self, target: int, ca_file: Path, certificate: bytes, key: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.target = target
        self.upstream = client_context(ca_file)
        self.port = int(self.server_address[1])
        self.url = f"https://127.0.0.1:{self.port}"
        self.requests: list[str] = []
        self.hasty: list[str] = []
        """Requests that came before the time that an earlier answer had named."""
        self._not_before: dict[bool, float] = {}
        self.wake = os.eventfd(0, os.EFD_CLOEXEC)
        self.answer: Answer = Exchange.forward
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._running: set[socket.socket] = set()  # what is passed on at the moment
        self._own = _context(certificate, key)
        self.context = self._own
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    def present(self, certificate: bytes = b"", key: bytes = b"") -> None:
        """Show this certificate from now on; without one, the first again."""
        self.context = _context(certificate, key) if certificate else self._own

    def behave(self, answer: Answer = Exchange.forward, cut: bool = True) -> None:
        """How requests are answered from now on; with `cut`, those that watch must ask again.

        A connection without a request stays, and the next request on it is answered so.
        """
        self.answer = answer
        if cut:
            self._end(self._running)

    def cut(self) -> None:
        """End every connection, to the client's and to the server's side."""
        self._end(self._sockets)

    def _end(self, connections: set[socket.socket]) -> None:
        with self._lock:
            for each in connections:
                with suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)  # below TLS, in another thread

    def asked(self, exchange: Exchange) -> None:
        request = f"{exchange.command} {exchange.path}"
        self.requests.append(request)
        # A watch is a client of its own: it did not hear what the other was told.
        if time.monotonic() < self._not_before.get(exchange.is_watch, 0.0):
            self.hasty.append(request)

    def sent_away(self, exchange: Exchange, seconds: float) -> None:
        self._not_before[exchange.is_watch] = time.monotonic() + seconds - CLOCK

    def began(self, connection: socket.socket, running: bool = False) -> None:
        with self._lock:
            self._sockets.add(connection)
            if running:
                self._running.add(connection)

    def answered(self, connection: socket.socket | None) -> None:
        with self._lock:
            self._running -= {connection}

    def ended(self, connection: socket.socket | None) -> None:
        self.answered(connection)
        with self._lock:
            self._sockets -= {connection}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that goes, or does not like the certificate, is what is tested."""

    def close(self) -> None:
        os.eventfd_write(self.wake, 1)
        self.shutdown()
        self._thread.join()
        self.cut()
        self.server_close()
        os.close(self.wake)


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as pem:  # load_cert_chain takes files only
        pem.write(certificate + key)
        pem.flush()
        context.load_cert_chain(pem.name)
    return context
