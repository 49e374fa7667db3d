"""The host's end of the control channel; guest/control.py is the other."""

from __future__ import annotations

import json
import socket
import time
from typing import Any


class ChannelError(Exception):
    """The board did not answer: its end is closed, or the deadline passed."""


class Channel:
    """Requests and their answers, one JSON object a line, one at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._pending = b""
        self._last = 0

    def greeting(self, timeout: float) -> None:
        """Wait until the board's end has started."""
        self._answer(0, time.monotonic() + timeout)

    def request(self, kind: str, arguments: dict[str, object], timeout: float) -> dict[str, Any]:
        """Send one request and return its answer, or raise ChannelError at the deadline.

        An answer that comes after its deadline is dropped by the next request, so a channel is
        as good as new after a time-out, once the board has got over what kept it.
        """
        deadline = time.monotonic() + timeout
        self._last += 1
        message = {"id": self._last, "kind": kind, "arguments": arguments}
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise ChannelError(f"the board takes no request: {error}") from error
        return self._answer(self._last, deadline)

    def _answer(self, wanted: int, deadline: float) -> dict[str, Any]:
        while True:
            line, newline, rest = self._pending.partition(b"\n")
            if not newline:
                self._receive(deadline)
                continue
            self._pending = rest
            message: dict[str, Any] = json.loads(line)
            if message["id"] == wanted:
                return message

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ChannelError("the board did not answer in time")
        self._socket.settimeout(left)
        try:
            chunk = self._socket.recv(1 << 16)
        except TimeoutError as error:
            raise ChannelError("the board did not answer in time") from error
        except OSError as error:
            raise ChannelError(f"the board's end is gone: {error}") from error
        if not chunk:
            raise ChannelError("the board's end is closed")
        self._pending += chunk
