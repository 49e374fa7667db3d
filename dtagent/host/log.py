"""What systemd is told: how the service stands, and for the journal one line an event.

A line has its priority and the fields to search it by: by python3-systemd where it is installed
(Debian's packages depend on it), else by priorities before the lines on standard error
(sd-daemon(3)); plain lines on a terminal. The message ids, and what to do when one comes:
packaging/dtagent.catalog, which `journalctl -x` shows.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping

from dtagent.names import printable

STATUS_MAX = 1000  # bytes; systemd drops a notification over a page whole, and keeps the old line
NOTICE = 25  # between INFO and WARNING: the end of an outage
_PRIORITY = {logging.WARNING: 4, NOTICE: 5, logging.INFO: 6, logging.DEBUG: 7}  # an error's is 3

LABELS_CHANGED = "6b446ba4f5fc4e69807edddfbc346ad4"
OUTAGE_BEGAN = "4f34395c6bbc4d699690c043d910398d"
OUTAGE_ENDED = "9fdb5ab9b80f4f5a9aafb3f6cb74de31"
OVERLAY_APPLIED = "f91082f85cfa41229961de5d7673710a"
OVERLAY_GONE = "78af2921dd794093ac4138abda35d0c5"
TREE_UNREADABLE = "291590cb8eb744b0bf09f43e419c4167"
CONFIGURATION_WRONG = "f458dac7084342b0a501f5faa9a5c142"
LABEL_CONTENDED = "f7a72308211d4ea58434181360a44b1a"
KEY_EXPOSED = "6ebcb1c7d79e4550acac70f310093d94"


def event(
    message_id: str, node: str = "", labels: Iterable[str] = (), overlay: str = ""
) -> dict[str, object]:
    """The `extra` of a log call: the journal's fields, one for each label that changed."""
    named = [("MESSAGE_ID", message_id), ("DTAGENT_NODE", node), ("DTAGENT_OVERLAY", overlay)]
    fields = [*named, *(("DTAGENT_LABEL", label) for label in labels)]  # +key=value or -key
    return {"fields": [f"{name}={printable(value)}" for name, value in fields if value]}


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Entries with fields, by sd_journal_sendv(3); else lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        if _is_journal():
            try:  # its own JournalHandler has neither our priorities nor several fields of a name
                from systemd import journal

                message = f"MESSAGE={printable(record.getMessage())}"
                priority = f"PRIORITY={_PRIORITY.get(record.levelno, 3)}"
                fields = getattr(record, "fields", ())
                journal.sendv(message, priority, "SYSLOG_IDENTIFIER=dtagent", *fields)
                return
            except (ImportError, OSError):
                pass  # lines reach the journal too, and wait there while its socket is away
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        start = f"<{_PRIORITY.get(record.levelno, 3)}>" if _is_journal() else "dtagent: "
        return start + printable(record.getMessage())


def _is_journal() -> bool:
    """Whether standard error is the journal's stream (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def setup(level: str) -> None:
    """Log from `level` up; called again, it only changes the level."""
    logger = logging.getLogger("dtagent")
    logger.setLevel(level.upper())
    logger.handlers = logger.handlers or [_Handler()]
    logger.propagate = False


class Systemd:
    """How the service stands, by the protocol of sd_notify(3); nothing where nobody listens."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._notify: Callable[[str], None] = lambda text: None
        if environ.get("NOTIFY_SOCKET"):
            from sdnotify import SystemdNotifier  # and sockets, which a scan does without

            self._notify = SystemdNotifier().notify
        self._feed_interval = float(environ.get("WATCHDOG_USEC") or "inf") / 2e6

    def ready(self) -> None:
        """Say that it runs, as often as one likes: only the first time matters."""
        self._notify("READY=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        # The notifier loses what is not latin-1; a newline would begin another assignment.
        line = text.encode("unicode_escape").decode()
        self._notify("STATUS=" + (line if len(line) <= STATUS_MAX else f"{line[:STATUS_MAX]}..."))

    def feed(self) -> float:
        """Feed the watchdog, if it is on; seconds until the next time, half of WatchdogSec=."""
        self._notify("WATCHDOG=1")
        return self._feed_interval

    def stopping(self) -> None:
        self._notify("STOPPING=1")
