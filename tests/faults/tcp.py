"""A TCP proxy that passes TLS through and can do to a connection what networks do.

What a client sees of each: tcp(7), and RFC 9293, 3.5 and 3.6 for resets and half-open connections.
A connection keeps the treatment that it began with, so that what is stuck stays stuck.
"""

from __future__ import annotations

import math
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

PIECE = 64 << 10
ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: close() sends RST (socket(7))."""


@dataclass(frozen=True)
class Treatment:
    """What happens to a connection from its start on."""

    hold: bool = False
    """It is accepted, and nothing is ever said."""
    reset: bool = False
    """It is accepted, and reset at once."""
    says: bytes = b""
    """Somebody else answers it, says this, and closes."""
    delay: float = 0.0
    """Seconds before each piece of the answer."""
    piece: int = PIECE
    """Bytes of the answer at a time."""
    limit: float = math.inf
    """Bytes of the answer until the end of file."""


PASS = Treatment()


class TcpProxy:
    """Listens on a port of 127.0.0.1 that it keeps, and passes on to `target` of 127.0.0.1."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._treatment = PASS
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self._listener = self._bound()
        self.port = int(self._listener.getsockname()[1])
        self.url = f"https://127.0.0.1:{self.port}"
        self.accepted = self.turned_away = 0
        self._accepting = self._listen()

    def _bound(self, port: int = 0) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return listener

    def _listen(self) -> threading.Thread:
        self._listener.listen(64)
        thread = threading.Thread(target=self._accept, args=(self._listener,))
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # shut down
            with self._lock:
                treatment = self._treatment
                self.accepted += 1
                self.turned_away += treatment.hold or treatment.reset or bool(treatment.says)
                connection = Connection(client, self._target, treatment)
                self._connections = [c for c in self._connections if c.is_alive()] + [connection]
                connection.start()

    def treat(self, treatment: Treatment = PASS) -> None:
        """What happens to connections from now on."""
        with self._lock:
            self._treatment = treatment

    def refuse(self) -> None:
        """Nobody listens any more. The port stays ours: one that is bound and not listened on is
        given to no one else."""
        if self._accepting.is_alive():
            self._listener.shutdown(socket.SHUT_RDWR)
            self._accepting.join()
            self._listener.close()
            self._listener = self._bound(self.port)

    def accept(self) -> None:
        """The end of `refuse`."""
        if not self._accepting.is_alive():
            self._accepting = self._listen()

    def freeze(self) -> None:
        """Connections that exist pass nothing any more, and never end: half open on both sides."""
        for connection in self._existing():
            connection.frozen = True

    def cut(self, reset: bool = True) -> None:
        """End the connections that exist, by a reset or by an ordinary end of file."""
        for connection in self._existing():
            connection.end(reset)

    def _existing(self) -> list[Connection]:
        with self._lock:
            return [connection for connection in self._connections if connection.is_alive()]

    def close(self) -> None:
        self.refuse()
        self.cut()
        for connection in self._existing():
            connection.join()
        self._listener.close()


class Connection(threading.Thread):
    """One client, and what it is connected with, until either ends it or `end` does."""

    def __init__(self, client: socket.socket, target: int, treatment: Treatment) -> None:
        super().__init__(name="connection")
        self._client, self._target, self._treatment = client, target, treatment
        self._left = treatment.limit
        self._reset = treatment.reset
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self.frozen = False

    def end(self, reset: bool) -> None:
        self._reset = reset
        with suppress(OSError):
            os.eventfd_write(self._wake, 1)

    def run(self) -> None:
        try:
            with suppress(OSError):  # either side has gone
                self._serve()
            if self._reset:
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        finally:
            self._client.close()
            os.close(self._wake)

    def _serve(self) -> None:
        if self._treatment.reset:
            return
        if self._treatment.says:
            self._client.recv(PIECE)
            self._client.sendall(self._treatment.says)
        elif self._treatment.hold:
            self._wait(None)
        else:
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                self._pass(server)

    def _wait(self, seconds: float | None) -> bool:
        """Wait; whether it is time to end."""
        return bool(select.select([self._wake], [], [], seconds)[0])

    def _pass(self, server: socket.socket) -> None:
        open_sides = [self._client, server]
        while open_sides:
            ready = select.select([self._wake, *(side.fileno() for side in open_sides)], [], [])[0]
            if self._wake in ready:
                return
            for source in [side for side in open_sides if side.fileno() in ready]:
                data = source.recv(PIECE)
                if self.frozen:  # neither what is said nor that it was the last gets through
                    if not data:
                        open_sides.remove(source)
                elif not data:
                    return
                elif source is self._client:
                    server.sendall(data)
                elif not self._answer(data):
                    return
        self._wait(None)

    def _answer(self, data: bytes) -> bool:
        """Pass on a part of the server's answer as treated; False where that ends it."""
        for piece in self._pieces(data):
            if self._treatment.delay and self._wait(self._treatment.delay):
                return False
            if not self.frozen:
                self._client.sendall(piece)
        return self._left > 0

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        data = data[: int(min(self._left, len(data)))]
        self._left -= len(data)
        for start in range(0, len(data), self._treatment.piece):
            yield data[start : start + self._treatment.piece]
