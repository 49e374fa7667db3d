"""What the journal is told: one line an event, with its priority (sd-daemon(3))."""

from __future__ import annotations

import logging
import os
import sys

NOTICE = 25  # between INFO and WARNING: the end of an outage
_PRIORITY = ((logging.ERROR, 3), (logging.WARNING, 4), (NOTICE, 5), (logging.INFO, 6), (0, 7))


class _Line(logging.Formatter):
    """Text from a devicetree or a server must never begin a line of its own."""

    def __init__(self, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in record.getMessage())
        if not self._journal:
            return f"dtagent: {text}"
        priority = next(number for level, number in _PRIORITY if record.levelno >= level)
        return f"<{priority}>{text}"


def _is_journal() -> bool:
    """Whether standard error is the journal's stream (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def setup(level: str) -> None:
    """Log to standard error from `level` up; called again, it only changes the level."""
    logging.addLevelName(NOTICE, "NOTICE")
    logger = logging.getLogger("dtagent")
    logger.setLevel(level.upper())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(_is_journal()))
    logger.handlers = [handler]
    logger.propagate = False
