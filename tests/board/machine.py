"""A running board: QEMU's virt machine, a kernel with overlays, Debian with systemd.

Started from a snapshot of the cached image, so each board is as new. It reaches this machine's
loopback at 10.0.2.2, and is itself reached through a virtio port alone.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.machine import CONSOLE_TAIL, CommandTimeout, MachineError, Result

from . import qemu
from .build import Images, images
from .channel import Channel, ChannelError
from .payload import write_payload

GRACE = 60.0  # seconds that an answer may take on top of its command's own deadline
PUT_TIMEOUT = 180.0  # seconds; the driver may have been told to take its time


class Board(contextlib.AbstractContextManager["Board"]):
    """One board, on from `with` to the end of its block, or to `close()`.

    `files` are laid down before its systemd starts, so units among them are there at boot: paths
    on the board to bytes (mode 0644) or to files and folders of this machine (modes kept). /run
    and /tmp are covered by mounts of systemd's: put files there later, with `put`.

    `kernel_arguments` go on the kernel's command line, say "systemd.wants=dtagent.service".
    """

    def __init__(
        self,
        files: Mapping[str, bytes | Path] | None = None,
        *,
        kernel_arguments: str = "",
        boot_timeout: float = 300.0,
        booted_from: Images | None = None,
    ) -> None:
        self._files = files or {}
        self._kernel_arguments = kernel_arguments
        self._boot_timeout = boot_timeout
        self._images = booted_from
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Board:
        with contextlib.ExitStack() as held:
            self._switch_on(held)
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut the power. Ends the one process that was started for this board, and no other."""
        self._held.close()

    def run(self, command: str, timeout: float = 180.0, *, check: bool = False) -> Result:
        """Run a command under sh as root, for `timeout` seconds at the most.

        Raises CommandTimeout past that, and with `check` MachineError for a status other than 0.
        What the command left running in the background stays.
        """
        answer = self._request("run", {"command": command, "timeout": timeout}, timeout)
        status, stdout, stderr = answer["status"], str(answer["stdout"]), str(answer["stderr"])
        if status is None:
            raise CommandTimeout(f"killed after {timeout:g} s: {command}\n{stdout}{stderr}")
        result = Result(int(str(status)), stdout, stderr)
        return result.checked(command) if check else result

    def put(self, path: str, data: bytes | Path, mode: int = 0o644) -> None:
        """Write a file on the board: opened, written, closed, as overlays are applied.

        On the overlay files of configfs that means one write() whatever the size, and for `dtbo`
        that the overlay has been applied, or has failed, when this returns.
        """
        content = data.read_bytes() if isinstance(data, Path) else data
        text = base64.b64encode(content).decode()
        self._request("put", {"path": path, "data": text, "mode": mode}, PUT_TIMEOUT)

    def console(self) -> str:
        """The end of what the kernel and systemd said on the serial line."""
        return self._console.read_bytes()[-CONSOLE_TAIL:].decode(errors="replace")

    def _switch_on(self, held: contextlib.ExitStack) -> None:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="dtagent-board-")))
        self._console = folder / "console"
        self._console.touch()
        payload = write_payload(self._files, folder / "files.tar")
        ours, theirs = socket.socketpair()
        held.enter_context(ours)
        with theirs:
            source = self._images or images()
            process = qemu.start(
                source, payload, self._console, theirs.fileno(), self._kernel_arguments
            )
        held.callback(_switch_off, process)
        self._channel = Channel(ours)
        try:
            self._channel.greeting(self._boot_timeout)
        except ChannelError as error:
            raise MachineError(f"no boot: {error}\n{self.console()}") from error

    def _request(
        self, kind: str, arguments: dict[str, object], timeout: float
    ) -> dict[str, object]:
        try:
            answer = self._channel.request(kind, arguments, timeout + GRACE)
        except ChannelError as error:
            raise MachineError(f"{error}\n{self.console()}") from error
        if "error" in answer:
            raise MachineError(str(answer["error"]))
        return answer


def _switch_off(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
