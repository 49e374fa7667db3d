"""A name server on loopback that knows one address, and can know it not, or say nothing.

Just enough of RFC 1035, section 4: one question, one answer, no compression but in our own answer.
"""

from __future__ import annotations

import random
import socket
import struct
import threading

PORT = 53
HEADER = struct.Struct("!HHHHHH")
ADDRESS = 1  # the type of an IPv4 address
REPLY, NO_SUCH_NAME = 0x8180, 3
POINTER = b"\xc0\x0c"
"""To the name in the question."""


class NameServer(threading.Thread):
    """Answers on an address of its own in 127.0.0.0/8; port 53 takes root."""

    def __init__(self) -> None:
        super().__init__(name="name server")
        self._socket = _bound()
        self.address = str(self._socket.getsockname()[0])
        self.silent = self.ignorant = False
        self.start()

    def run(self) -> None:
        while True:
            question, client = self._socket.recvfrom(4096)
            if not question:
                return
            if not self.silent:
                self._socket.sendto(self._reply(question), client)

    def _reply(self, question: bytes) -> bytes:
        end = question.index(b"\0", HEADER.size) + 1 + 4
        (kind,) = struct.unpack("!H", question[end - 4 : end - 2])
        known = not self.ignorant
        answer = b""
        if known and kind == ADDRESS:
            answer = POINTER + struct.pack("!HHIH", ADDRESS, 1, 0, 4) + bytes((127, 0, 0, 1))
        (number,) = struct.unpack("!H", question[:2])
        flags = REPLY if known else REPLY | NO_SUCH_NAME
        return (
            HEADER.pack(number, flags, 1, bool(answer), 0, 0) + question[HEADER.size : end] + answer
        )

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", (self.address, PORT))
        self.join()
        self._socket.close()


def _bound() -> socket.socket:
    """A socket on an address that nobody else has port 53 of."""
    for _ in range(100):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        address = ".".join(map(str, (127, *(random.randint(1, 254) for _ in range(3)))))
        try:
            server.bind((address, PORT))
        except PermissionError:
            server.close()
            raise
        except OSError:
            server.close()
            continue
        return server
    raise RuntimeError("no address of 127.0.0.0/8 has its port 53 free")
