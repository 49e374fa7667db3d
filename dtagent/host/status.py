"""The runtime directory: one writer on the host at a time, and what it last did.

It is on a tmpfs that is empty after each boot, so a power cut spoils nothing.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dtagent.errors import DtagentError
from dtagent.host.log import NOTICE
from dtagent.host.systemd import Systemd

log = logging.getLogger(__name__)


def runtime_directory() -> Path:
    """Where systemd made one for us (systemd.exec(5), RuntimeDirectory=), else `/run/dtagent`."""
    return Path(os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or "/run/dtagent")


@contextmanager
def only_writer(directory: Path, create: bool) -> Iterator[None]:
    """Hold the lock that makes this process the one that writes the Node's labels.

    The kernel lets go of it when the process ends, however it ends. Without `create` a missing
    directory means that no agent runs, and there is nothing to hold.
    """
    if not create and not directory.exists():
        yield
        return
    file = directory / "lock"
    try:
        directory.mkdir(exist_ok=True)
        lock = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise DtagentError(
            f"{file}: {error.strerror}; run as root, or let RUNTIME_DIRECTORY name a folder"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DtagentError(
                f"{file}: dtagent runs on this host and keeps the labels; "
                "first: systemctl stop dtagent"
            ) from error
        yield


@dataclass(frozen=True)
class Report:
    """What an agent last did: the line that `systemctl status` shows, and what is behind it."""

    status: str
    healthy: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    overlays: Collection[str] = ()
    pid: int = field(default_factory=os.getpid)


class Status:
    """Reports to systemd and to the file in `directory`; a dry run has none, and leaves no file."""

    def __init__(self, systemd: Systemd, directory: Path | None = None) -> None:
        self.systemd, self._directory = systemd, directory
        self._report: Report | None = None
        self._failure = self._unwritten = ""

    def report(self, report: Report) -> None:
        """How it stands with the labels."""
        self._report = report
        self._write()

    def failure(self, text: str) -> None:
        """What keeps us from knowing how it stands is shown in its place, until it is over: ""."""
        self._failure = text
        self._write()

    def _write(self) -> None:
        report = Report(self._failure, healthy=False) if self._failure else self._report
        if report is None:
            return
        self.systemd.status(report.status)
        if self._directory is None:
            return
        state, aside = self._directory / "state.json", self._directory / ".state.tmp"
        unwritten = ""
        try:
            aside.write_text(json.dumps({**asdict(report), "overlays": sorted(report.overlays)}))
            aside.chmod(0o644)  # labels are no secret, and the unit's umask is strict
            aside.replace(state)
        except OSError as error:
            unwritten = f"{state}: {error.strerror}"
            with suppress(OSError):
                state.write_bytes(b"")  # takes no room: what it says must not outlive its truth
        if unwritten and not self._unwritten:
            log.warning("%s; dtagent status shows nothing until it can be written", unwritten)
        elif self._unwritten and not unwritten:
            log.log(NOTICE, "%s can be written again", state)
        self._unwritten = unwritten

    def retry(self) -> None:
        """Write what could not be written, the disk being full say."""
        if self._unwritten:
            self._write()


def read(directory: Path) -> Report:
    """What the running agent last did; DtagentError if none runs here."""
    file = directory / "state.json"
    try:
        text = file.read_text()
        if not text:
            raise DtagentError(
                f"{file}: could not be written, so how it stands is not known here: see df "
                f"{directory}, and systemctl status dtagent"
            )
        report = Report(**json.loads(text))
    except FileNotFoundError as error:
        raise DtagentError("dtagent does not run: systemctl status dtagent says why") from error
    except (OSError, ValueError, TypeError) as error:
        raise DtagentError(f"{file}: cannot be read: {error}") from error
    if not Path(f"/proc/{report.pid}").exists():
        raise DtagentError(
            "dtagent was killed, and did not start again: see systemctl status dtagent"
        )
    return report
