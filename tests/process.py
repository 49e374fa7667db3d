"""The agent as systemd would start it: a process, with somebody listening for its notifications."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

DEADLINE = 180.0  # seconds for anything that must happen; no test asserts on this machine's speed


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Until `condition` holds; what changes it is another process, so it is asked again."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE:.0f} s: {what}"
        time.sleep(0.02)


class Process:
    """`dtagent run` with `options`; as a context manager, stopped at the end if it still runs.

    `under` is a command that becomes it by exec, and `program` what Python is called with.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        under: Sequence[str] = (),
        program: Sequence[str] = ("-m", "dtagent"),
        **environ: str,
    ) -> None:
        self._notify = directory / "notify"
        self._notify.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._notify))
        self.said: list[str] = []
        self.errors: list[str] = []
        self.output: list[str] = []
        self.popen = subprocess.Popen(
            [*under, sys.executable, *program, "run", *options],
            env={**os.environ, "NOTIFY_SOCKET": str(self._notify), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._threads = [
            threading.Thread(target=self._listen),
            threading.Thread(target=self._read, args=(self.popen.stderr, self.errors)),
            threading.Thread(target=self._read, args=(self.popen.stdout, self.output)),
        ]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        while message := self._socket.recv(65536):
            self.said.append(message.decode())

    def _read(self, stream: object, lines: list[str]) -> None:
        for line in stream:  # type: ignore[attr-defined]
            lines.append(line.rstrip("\n"))

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if kind:  # pytest shows it with a test that fails
            print(f"exit status {self.popen.returncode}; {self.said}", *self.errors, sep="\n")

    def wait_said(self, message: str) -> None:
        wait_for(
            lambda: any(text.startswith(message) for text in self.said) or self._ended(),
            f"{message} of {self.said}, {self.errors}",
        )
        assert any(text.startswith(message) for text in self.said), (self.said, self.errors)

    def wait_error(self, text: str) -> None:
        wait_for(
            lambda: any(text in line for line in self.errors) or self._ended(),
            f"{text!r} in {self.errors}",
        )
        assert any(text in line for line in self.errors), self.errors

    def _ended(self) -> bool:
        return self.popen.poll() is not None

    @property
    def status(self) -> str:
        """The newest status line; "" before the first."""
        told = [text for text in self.said if text.startswith("STATUS=")]
        return told[-1].removeprefix("STATUS=") if told else ""

    def reload(self) -> None:
        self.popen.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """Ask it to stop, as systemd does; its exit status."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        if self._threads:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.sendto(b"", str(self._notify))
            for thread in self._threads:
                thread.join(DEADLINE)
            self._threads = []
            self._socket.close()
            assert self.popen.stdout is not None
            assert self.popen.stderr is not None
            self.popen.stdout.close()
            self.popen.stderr.close()
        return self.popen.returncode
