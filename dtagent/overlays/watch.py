"""configfs as a stream of "something may have changed".

python-watchdog tells of the overlay folder, by inotify: of what user space does there, and nothing
that the kernel does. select tells of /proc/self/mountinfo when a mount comes or goes (proc(5)).

What neither tells is made good by `restart`: a folder that a module brings into a configfs that was
mounted before it; new folders that watchdog overlooks (a race, or no watch left), events that the
kernel dropped, and a reader that dies of a KeyError (up to 6.x).
"""

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
_EVENTS = [events.DirCreatedEvent, events.DirDeletedEvent, events.FileClosedEvent]

log = logging.getLogger(__name__)


class OverlayWatch(events.FileSystemEventHandler):
    """Calls `changed` from threads of its own whenever an overlay may have come or gone."""

    def __init__(self, configured: str, changed: Callable[[], None]) -> None:
        self.folder: Path | None = None  # where the overlays are now, if there are any here
        self._configured, self._changed = configured, changed
        self._lock = threading.Lock()  # of all that `restart` sets, which two threads call
        self._observer: InotifyObserver | None = None
        self._seen: tuple[object, ...] = ()  # the folder, and what is in it while not watched
        self._wait: float | None = None  # seconds until a look that no event asks for
        self._said, self._closed = "", False
        self._wake = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, name="overlays", daemon=True)
        self._look()
        self._thread.start()

    def restart(self) -> None:
        """Look for the folder and watch all that is there now. Whoever calls scans after it."""
        self._look(restart=True)
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
        """From watchdog's thread: something in the folder, or its own end."""
        if event.src_path == str(self.folder):
            os.eventfd_write(self._wake, 1)
        self._changed()

    def _run(self) -> None:
        with configfs.MOUNTINFO.open() as mounts:
            while True:
                woken, _, _ = select.select([self._wake], [], [mounts], self._wait)
                if woken:
                    os.eventfd_read(self._wake)
                if self._closed:
                    return
                self._look(restart=bool(woken))

    def _look(self, restart: bool = False) -> None:
        """Find the folder, watch it if it is not watched yet, and tell of what is new."""
        with self._lock:
            before, self._seen, self._wait = self._seen, (), None
            folder, level, text = None, logging.INFO, _NONE
            try:
                if folder := configfs.find(self._configured):
                    status = folder.stat()
                    self._seen = folder, status.st_dev, status.st_ino
                    level = NOTICE if self._said else logging.INFO
                    text = f"overlays are watched in {folder}"
                elif self._configured:
                    raise TreeError(f"[overlays] path {self._configured} is not there")
                if restart or not self._observer or self._seen != before:
                    self._stop()
                    self.folder = folder  # before an event asks whether it is its own end
                    if folder:
                        self._start(folder)
            except (TreeError, OSError) as error:
                self._stop()
                how = "listed" if self._seen else "looked for"
                level, text = logging.WARNING, f"{error}; {how} every {POLL_INTERVAL:.0f} s"
                self._wait = POLL_INTERVAL
                if isinstance(error, FileNotFoundError):
                    text = self._said  # an overlay went meanwhile, or the folder itself
                if self._seen:
                    self._seen += status.st_mtime_ns, configfs.applied(folder)
            if text != self._said:
                self._said = text
                log.log(level, "%s", text)
            self.folder, changed = folder, self._seen != before
        if changed:
            self._changed()

    def _start(self, folder: Path) -> None:
        """Watch the folder and each folder in it; TreeError where that cannot be.

        It is tried without watchdog, which leaks descriptors where it fails, or says nothing (7.x).
        """
        libc, places = ctypes.CDLL(None, use_errno=True), [folder, *folder.iterdir()]
        instance = libc.inotify_init1(os.O_CLOEXEC)
        failed = instance < 0 or any(
            libc.inotify_add_watch(instance, os.fsencode(place), 0x100) < 0  # IN_CREATE
            and ctypes.get_errno() != errno.ENOENT  # an overlay that has gone meanwhile
            for place in places
        )
        if instance >= 0:
            os.close(instance)
        if failed:
            number = ctypes.get_errno()
            raise TreeError(f"{folder}: {_SYSCTL.get(number, os.strerror(number))}")
        self._observer = observer = InotifyObserver()  # to be stopped even where it cannot start
        observer.schedule(self, str(folder), recursive=True, event_filter=_EVENTS)
        observer.start()

    def _stop(self) -> None:
        observer, self._observer = self._observer, None
        if observer:
            observer.stop()
            if observer.is_alive():
                observer.join(10)
