"""One writer on the host at a time, and what it tells of itself: to systemd, and in files.

The runtime directory is on a tmpfs that is empty after each boot: a power cut spoils nothing.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dtagent.errors import DtagentError
from dtagent.host.log import NOTICE, Systemd

WRITE_REMEDY = (
    "its folder must be there, and the unit must be allowed to write in it: see the drop-in "
    "{} among the examples"
)
METRICS_REMEDY = WRITE_REMEDY.format("metrics.conf")

log = logging.getLogger(__name__)


def runtime_directory() -> Path:
    """Where systemd made one for us (systemd.exec(5), RuntimeDirectory=), else `/run/dtagent`."""
    return Path(os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or "/run/dtagent")


def only_writer(directory: Path | None, create: bool) -> AbstractContextManager[object]:
    """Take the lock that makes this process the one that writes the Node's labels.

    The kernel lets go of it when the process ends, however it ends. A dry run has no directory;
    without `create` a missing one means that no agent runs, and there is nothing to hold.
    """
    if directory is None or not (create or directory.exists()):
        return nullcontext()
    file = directory / "lock"
    try:
        directory.mkdir(exist_ok=True)
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held = "dtagent runs on this host and keeps the labels; first: systemctl stop dtagent"
        other = f"{error.strerror}; run as root, or let RUNTIME_DIRECTORY name a folder"
        problem = held if isinstance(error, BlockingIOError) else other
        raise DtagentError(f"{file}: {problem}") from error
    return os.fdopen(lock)


def wall_time(later: float = 0) -> str:
    """What the wall clock shows, or will so many seconds later, as ISO 8601 has it."""
    return (datetime.now().astimezone() + timedelta(seconds=later)).isoformat(timespec="seconds")


def write(file: Path, text: str, aside: Path) -> None:
    """Replace a file that everybody may read in one step; `aside` is where it is made."""
    try:
        aside.write_text(text)
        aside.chmod(0o644)  # labels are no secret, and the unit's umask is strict
        aside.replace(file)
    finally:  # a stop comes at any moment, and a full disk is no place for it
        aside.unlink(missing_ok=True)


@dataclass(frozen=True)
class Report:
    """What an agent last did, and how it stands with the labels since when."""

    pid: int = field(default_factory=os.getpid)
    since: str = field(default_factory=wall_time)
    tree_failure: str = ""
    outage: str = ""
    place: str = ""
    at: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    left_alone: Sequence[str] = ()
    overlays: Sequence[str] = ()
    next_resync: str = ""
    last_change: Mapping[str, Any] = field(default_factory=dict)  # at, changes, why
    last_error: Mapping[str, str] = field(default_factory=dict)  # at, message

    @property
    def healthy(self) -> bool:
        return bool(self.place) and not (self.tree_failure or self.outage)

    @property
    def status(self) -> str:
        """The line that `systemctl status` shows; "" while there is nothing to say."""
        if self.tree_failure:
            return f"cannot read the devicetree: {self.tree_failure}"
        if self.outage:
            return f"waiting since {shown(self.since)}: {self.outage}"
        if not self.place:
            return ""
        labels = "1 label" if len(self.labels) == 1 else f"{len(self.labels)} labels"
        text = f"{labels} true on {self.place} at {shown(self.at)}"
        for what, names in (("overlays", self.overlays), ("left alone", self.left_alone)):
            text += f"; {what}: {', '.join(names)}" if names else ""
        return text

    def lines(self) -> Iterator[str]:
        """All of it for people; what is wrong, if something is, they are told otherwise."""
        if self.healthy:
            yield self.status
        yield f"  so since:    {shown(self.since)}"
        if change := self.last_change:
            changes = ", ".join(change["changes"])
            yield f"  last change: {shown(change['at'])}: {changes} ({change['why']})"
        if error := self.last_error:
            yield f"  last error:  {shown(error['at'])}: {error['message']}"
        yield f"  next resync: {shown(self.next_resync)}"
        yield from (f"{key}: {value}" for key, value in self.labels.items())


def shown(at: str) -> str:
    """A time of `wall_time` for people on this host."""
    return at[:19].replace("T", " ")


def metrics(report: Report, counts: Mapping[tuple[str, str], float]) -> Iterator[str]:
    """Lines for node_exporter's textfile collector: metrics without a port of our own.

    `counts` are by the name of a counter and the value of its label. Not by prometheus_client:
    importing that takes 5 MB, and its writer leaves the mode to the unit's umask. Format:
    Prometheus documentation, "Exposition formats", text.
    """
    tries, published = {"success": 0, "failure": 0}, {"changed": 0, "unchanged": 0, "failed": 0}
    at = datetime.fromisoformat(report.at).timestamp() if report.at else 0
    # Name, label, a number for each value that is there from the beginning, what it says.
    table: tuple[tuple[str, str, Mapping[str, float], str], ...] = (
        ("scans_total", "result", tries, "Scans of the devicetree."),
        ("scan_seconds_total", "", {"": 0}, "Seconds that scans took."),
        ("publications_total", "result", published, "Labels made true."),
        ("api_errors_total", "kind", {}, "Failed publications, by kind of failure."),
        ("reloads_total", "result", tries, "Reloads of the configuration."),
        ("healthy", "", {"": report.healthy}, "1 if the labels are true."),
        ("tree_readable", "", {"": not report.tree_failure}, "1 if the devicetree can be read."),
        ("labels", "", {"": len(report.labels)}, "Labels that were made true."),
        ("labels_left_alone", "", {"": len(report.left_alone)}, "Labels that others set back."),
        ("overlays", "", {"": len(report.overlays)}, "Overlays that are applied."),
        ("last_success_timestamp_seconds", "", {"": at}, "When the labels were last made true."),
    )
    for name, label, samples, what in table:
        kind = "counter" if name.endswith("_total") else "gauge"
        yield f"# HELP dtagent_{name} {what}\n# TYPE dtagent_{name} {kind}\n"
        counted = {value: number for (of, value), number in counts.items() if of == name}
        for value, number in {**samples, **counted}.items():
            labels = f'{{{label}="{value}"}}' if label else ""
            yield f"dtagent_{name}{labels} {float(number)}\n"


class Status:
    """Tells systemd, and the file in `directory`; a dry run has none, and leaves no file."""

    def __init__(self, systemd: Systemd, directory: Path | None = None) -> None:
        self.systemd, self._directory = systemd, directory
        self.report = Report()
        self.counts: dict[tuple[str, str], float] = {}  # see metrics
        self._textfile: Path | None = None
        self._problems: dict[Path, str | None] = {}  # why a file could not be written

    def use_textfile(self, file: str) -> None:
        """Write metrics there from now on, "" for nowhere; those of another file were true once."""
        before, self._textfile = self._textfile, Path(file) if file and self._directory else None
        if before and before != self._textfile:
            self._problems.pop(before, None)
            with suppress(OSError):
                before.unlink()

    def count(self, name: str, value: str, number: float = 1) -> None:
        """Add to a counter; it is written with what is updated next."""
        self.counts[name, value] = self.counts.get((name, value), 0) + number

    def failed(self, message: str, **facts: Any) -> None:
        """Something went wrong, which is told for as long as nothing else does."""
        self.update(last_error={"at": wall_time(), "message": message}, **facts)

    def update(self, **facts: Any) -> None:
        """Fields of the report that are to be others; what could not be written is tried again."""
        report = replace(self.report, **facts)
        if report.healthy != self.report.healthy:
            report = replace(report, since=wall_time())
        if report == self.report and not self._problems:
            return
        self.report = report
        if report.status:
            self.systemd.status(report.status)
        if self._textfile:
            text = "".join(metrics(report, self.counts))
            self._replace(self._textfile, text, METRICS_REMEDY)
        if report.status and self._directory:
            remedy = "dtagent status shows nothing until it can be written"
            self._replace(self._directory / "state.json", json.dumps(asdict(report)), remedy)

    def _replace(self, file: Path, text: str, remedy: str) -> None:
        """Write one file; that it cannot be written is told once, and its end, too."""
        before = self._problems.pop(file, None)
        try:
            write(file, text, file.parent / f".{file.name}.new")
        except OSError as error:
            with suppress(OSError):
                file.write_bytes(b"")  # takes no room: what it says must not outlive its truth
            if error.strerror != before:
                log.warning("%s: %s; %s", file, error.strerror, remedy)
            self._problems[file] = error.strerror
            return
        if before:
            log.log(NOTICE, "%s can be written again", file)


def check_metrics(file: str) -> None:
    """Warn if the folder of metrics cannot be looked into: most often it is not there."""
    try:
        Path(file or "/").parent.stat()
    except OSError as error:
        log.warning("%s: %s; %s", file, error.strerror, METRICS_REMEDY)


def read(directory: Path) -> Report:
    """What the running agent last did; DtagentError if none runs here."""
    file = directory / "state.json"
    try:
        text = file.read_text()
        if not text:
            problem = "could not be written, so how it stands is not known here: see df"
            raise DtagentError(f"{file}: {problem} {directory}, and systemctl status dtagent")
        report = Report(**json.loads(text))
    except FileNotFoundError as error:
        raise DtagentError("dtagent does not run: systemctl status dtagent says why") from error
    except (OSError, ValueError, TypeError) as error:
        raise DtagentError(f"{file}: cannot be read: {error}") from error
    if not Path(f"/proc/{report.pid}").exists():
        problem = "dtagent was killed, and did not start again: see systemctl status dtagent"
        raise DtagentError(problem)
    return report
