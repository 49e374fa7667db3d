"""What systemd is told, by the protocol of sd_notify(3); nothing where nobody listens."""

import math
import os
from collections.abc import Callable, Mapping

from sdnotify import SystemdNotifier

STATUS_MAX = 1000  # bytes; systemd drops a notification over a page whole, and keeps the old line


class Systemd:
    """One service's notifications."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        # The notifier opens a socket even when there is nothing to connect it to.
        notifier = SystemdNotifier() if environ.get("NOTIFY_SOCKET") else None
        self._notify: Callable[[str], None] = notifier.notify if notifier else lambda text: None
        usec = environ.get("WATCHDOG_USEC", "")
        self._feed_interval = int(usec) / 2e6 if usec.isdecimal() else math.inf

    def ready(self) -> None:
        """Say that it runs, as often as one likes: only the first time matters."""
        self._notify("READY=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        # The notifier loses what is not latin-1; a newline would begin another assignment.
        line = text.encode("unicode_escape").decode()
        self._notify("STATUS=" + (line if len(line) <= STATUS_MAX else f"{line[:STATUS_MAX]}..."))

    def feed(self) -> float:
        """Feed the watchdog; seconds until the next time, half of WatchdogSec=."""
        if self._feed_interval < math.inf:
            self._notify("WATCHDOG=1")
        return self._feed_interval

    def stopping(self) -> None:
        self._notify("STOPPING=1")
