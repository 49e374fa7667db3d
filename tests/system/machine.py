"""A booted Debian: its own systemd, journal, apt and file system, on this machine's kernel.

systemd-nspawn(1) starts it and says when its systemd has finished the boot (--notify-ready, over
sd_notify(3)); nsenter(1) runs commands in it. It shares the network, so loopback is ours.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from deb.container import NSPAWN
from tests.machine import CONSOLE_TAIL, CommandTimeout, MachineError, Result

from .cgroup import group

BOOT = 300.0
"""Seconds that a boot may take. Measured: half a second."""

BOOTED = ("--boot", "--notify-ready=yes", "--console=pipe")
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_PAGER": "",
}


class Machine(contextlib.AbstractContextManager["Machine"]):
    """One container that boots the root file system `root`, from `with` to the end of its block.

    `files` are written before its systemd starts, so units among them are there at boot: paths
    inside to their bytes (mode 0644). /run and /tmp are covered by mounts of systemd's: put files
    there later, with `put`.
    """

    def __init__(self, root: Path, files: Mapping[str, bytes] | None = None) -> None:
        self.root = root
        self.options: tuple[str, ...] = ()
        """Of systemd-nspawn(1), for the next boot."""
        self._name = f"dtagent-{uuid.uuid4().hex[:8]}"
        self._held = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        for path, content in (files or {}).items():
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)

    def __enter__(self) -> Machine:
        with contextlib.ExitStack() as held:
            prefix = "dtagent-machine-"
            self._folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
            # Over the real /sys/firmware, which a container sees as its host does.
            self.firmware = self._folder / "firmware"
            self.firmware.mkdir()
            self._cgroup = held.enter_context(group(self._name))
            held.callback(self.switch_off)
            self.boot()
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @property
    def devicetree(self) -> Path:
        """The folder, on this side, that is /sys/firmware/devicetree/base inside."""
        (self.firmware / "devicetree").mkdir(exist_ok=True)
        return self.firmware / "devicetree" / "base"

    def boot(self) -> None:
        """Start it, and wait until its systemd has done all that a boot does."""
        address = self._folder / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(address))
            notify.settimeout(BOOT)
            try:
                self._start(address)
                self._leader = _until_ready(notify)
            except TimeoutError as error:
                raise MachineError(f"no boot within {BOOT:g} s\n{self.console()}") from error
            finally:
                address.unlink()

    def _start(self, notify: Path) -> None:
        command = (
            # Into its cgroup first. It ends with us however we end, killed included.
            *("sh", "-c", 'echo $$ > "$0"/cgroup.procs && exec "$@"', str(self._cgroup)),
            *("setpriv", "--pdeathsig", "TERM", *NSPAWN, *BOOTED, f"--machine={self._name}"),
            *(f"--directory={self.root}", f"--bind-ro={self.firmware}:/sys/firmware"),
            *self.options,
        )
        environ = {"NOTIFY_SOCKET": str(notify), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with (self._folder / "console").open("ab") as console:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def shut_down(self) -> None:
        """As poweroff(8) does it, every service stopped; `boot` starts it again."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(BOOT)
        self._forget()

    def switch_off(self) -> None:
        """Cut the power: with its first process, and no other of ours, all of it ends."""
        if self._process is None:
            return
        if self._leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait(BOOT)
        self._forget()

    def _forget(self) -> None:
        self._process, self._leader = None, 0
        # Where /run is no tmpfs, systemd-nspawn dares not remove this itself.
        shutil.rmtree(Path("/run/systemd/nspawn/propagate", self._name), ignore_errors=True)

    def run(
        self, command: str, timeout: float = 180.0, *, check: bool = False, stdin: str = ""
    ) -> Result:
        """Run a command under sh as root, for `timeout` seconds at the most.

        With `check`, MachineError for a status other than 0.
        """
        enter = ("nsenter", f"--target={self._leader}", *NAMESPACES, "--root", "--wd")
        try:
            done = subprocess.run(
                (*enter, "/bin/sh", "-c", command),
                env=ENVIRONMENT,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandTimeout(f"not within {timeout:g} s: {command}\n{error.output}") from error
        result = Result(done.returncode, done.stdout, done.stderr)
        return result.checked(command) if check else result

    def path(self, inside: str) -> Path:
        """A path inside, mounts included, as this machine's processes may use it (proc(5), root).

        While it runs. Absolute links on the way lead to this machine's own files: mind them.
        """
        return Path(f"/proc/{self._leader}/root") / inside.lstrip("/")

    def put(self, path: str, content: bytes | str, mode: int = 0o644) -> None:
        """Write a file inside, its folders made; whole at one moment, as careful writers do."""
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{place.name}.new")
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        aside.chmod(mode)
        aside.rename(place)

    def console(self) -> str:
        """The end of what its systemd said on the console."""
        return (self._folder / "console").read_bytes()[-CONSOLE_TAIL:].decode(errors="replace")


def _until_ready(notify: socket.socket) -> int:
    """The process id, on this side, of the first process inside, when that says READY=1."""
    leader = 0
    while True:
        for line in notify.recv(4096).decode().splitlines():
            key, _, value = line.partition("=")
            if key == "X_NSPAWN_LEADER_PID":
                leader = int(value)
            elif key == "READY" and leader:
                return leader
