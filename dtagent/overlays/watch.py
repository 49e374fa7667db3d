"""configfs as a stream of "something may have changed".

inotify reports what user space does in configfs, and nothing that the kernel does there. So this
watches the overlay folder with python-watchdog, and besides /proc/self/mountinfo, which polls
readable when a mount comes or goes (proc(5)).

What neither tells is made good by `restart`: a folder that a module brings into a configfs that was
mounted before it; new folders that watchdog overlooks (a race, or no watch left), events that the
kernel dropped, and a reader that dies of a KeyError (up to 6.x).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

from watchdog import events
from watchdog.observers.inotify import InotifyObserver

from dtagent.errors import TreeError
from dtagent.host.log import NOTICE
from dtagent.overlays import configfs

POLL_INTERVAL = 2.0  # seconds, while there is no inotify, or no folder where one should be
_SYSCTL = {
    errno.EMFILE: "no inotify instance is left: raise sysctl fs.inotify.max_user_instances",
    errno.ENOSPC: "no inotify watch is left: raise sysctl fs.inotify.max_user_watches",
}
_NONE = "no overlay folder under configfs: overlays at run time are not in use here"
# Opening and reading is not among them: what we do ourselves must not wake us.
_EVENTS: list[type[events.FileSystemEvent]] = [
    *(events.DirCreatedEvent, events.DirDeletedEvent, events.DirMovedEvent),
    *(events.FileClosedEvent, events.FileDeletedEvent),
]

log = logging.getLogger(__name__)


class OverlayWatch(events.FileSystemEventHandler):
    """Calls `changed` from threads of its own whenever an overlay may have come or gone."""

    def __init__(
        self, configured: str, changed: Callable[[], None], mountinfo: Path = configfs.MOUNTINFO
    ) -> None:
        self._configured, self._changed, self._mountinfo = configured, changed, mountinfo
        self._lock = threading.Lock()  # of all that _refresh, which two threads call, sets
        self._observer: InotifyObserver | None = None
        self._found: tuple[Path, int, int] | None = None
        self._listed: object = None  # what is in it, while there is no observer
        self._polling = False  # whether something is not as it should be, and looked at again
        self._logged = ""
        self._closed = False
        self._wake = os.eventfd(0)  # by a restart, and by close
        self._thread = threading.Thread(target=self._run, name="overlays", daemon=True)
        self._refresh()
        self._thread.start()

    @property
    def folder(self) -> Path | None:
        """Where the overlays are now; None where the kernel has no such folder."""
        return self._found[0] if self._found else None

    def restart(self) -> None:
        """Look for the folder and watch all that is there now. Whoever calls scans after it."""
        self._refresh(restart=True)
        if not self._observer:
            os.eventfd_write(self._wake, 1)  # the thread may have to poll now

    def close(self) -> None:
        """End the threads; only once, since the eventfd's number is another's after it."""
        self._closed = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._stop()
        os.close(self._wake)

    def on_any_event(self, event: events.FileSystemEvent) -> None:
        """From watchdog's thread: the folder itself, or something in it."""
        if isinstance(event, events.DirDeletedEvent) and event.src_path == str(self.folder):
            os.eventfd_write(self._wake, 1)
        self._changed()

    def _run(self) -> None:
        poll = select.poll()
        with self._mountinfo.open() as mounts:
            poll.register(mounts, select.POLLPRI | select.POLLERR)
            poll.register(self._wake, select.POLLIN)
            while True:
                wait = POLL_INTERVAL * 1000 if self._polling else None  # an event tells otherwise
                woken = self._wake in dict(poll.poll(wait))
                if woken:
                    os.eventfd_read(self._wake)
                if self._closed:
                    return
                self._refresh(restart=woken)

    def _refresh(self, restart: bool = False) -> None:
        """Find the folder, watch it if it is not watched yet, and tell of what is new."""
        with self._lock:
            before = self._found, self._listed
            self._found = self._find()
            if restart or not self._observer or self._found != before[0]:
                self._stop()
                self._start()
            folder = None if self._observer else self.folder
            self._listed = configfs.listing(folder) if folder else None
            changed = before != (self._found, self._listed)
        if changed:
            self._changed()

    def _find(self) -> tuple[Path, int, int] | None:
        """The folder, with what tells it from another in its place: unmount and mount, say."""
        again = f"looked for every {POLL_INTERVAL:.0f} s"
        try:
            folder = configfs.find(self._configured, self._mountinfo)
            status = folder.stat() if folder else None
        except (TreeError, OSError) as error:
            self._log(logging.WARNING, f"{error}; {again}")
            return None
        if folder and status:
            return folder, status.st_dev, status.st_ino
        if self._configured:
            self._log(logging.WARNING, f"[overlays] path {self._configured} is not there; {again}")
        else:
            self._log(logging.INFO, _NONE)
        return None

    def _start(self) -> None:
        """Watch the folder and each folder in it; without inotify it is polled instead."""
        folder = self.folder
        if folder is None:
            return
        try:
            _probe(folder)
            observer = InotifyObserver()
            observer.schedule(self, str(folder), recursive=True, event_filter=_EVENTS)
            observer.start()
        except (FileNotFoundError, NotADirectoryError):
            self._polling = True  # gone since it was found
            return
        except OSError as error:
            why = _SYSCTL.get(error.errno or 0, error.strerror)
            every = f"listed every {POLL_INTERVAL:.0f} s instead"
            self._log(logging.WARNING, f"{folder}: {why}; {every}")
            return
        self._observer = observer
        level = NOTICE if self._logged else logging.INFO
        self._log(level, f"overlays are watched in {folder}")

    def _stop(self) -> None:
        observer, self._observer = self._observer, None
        if observer:
            observer.stop()
            observer.join(10)

    def _log(self, level: int, text: str) -> None:
        """Once, until something else is to be said; what is warned of is looked at again."""
        self._polling = level == logging.WARNING
        if text != self._logged:
            self._logged = text
            log.log(level, "%s", text)


def _probe(folder: Path) -> None:
    """Raise the OSError that inotify would give: watchdog leaks descriptors where it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    instance = _checked(libc.inotify_init1(os.O_CLOEXEC))
    try:
        for place in (folder, *folder.iterdir()):
            with contextlib.suppress(FileNotFoundError):  # an overlay that has gone meanwhile
                _checked(libc.inotify_add_watch(instance, os.fsencode(place), 0x100))  # IN_CREATE
    finally:
        os.close(instance)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
