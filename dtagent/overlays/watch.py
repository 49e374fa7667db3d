"""configfs as a stream of "something may have changed".

inotify reports what user space does in configfs, and nothing that the kernel does there. So this
watches the overlay folder with python-watchdog, and besides: /proc/self/mountinfo, which polls
readable when a mount comes or goes (proc(5)), and while there is no folder the kernel's uevents,
since a module that brings it makes no other sign.

What watchdog does not tell is made good by a restart: it overlooks new folders (a race, or no watch
left), events that the kernel dropped, and up to 6.x its reader can die of a KeyError.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from watchdog import events
from watchdog.observers.inotify import InotifyObserver

from dtagent.errors import TreeError
from dtagent.host.log import NOTICE
from dtagent.overlays import configfs

POLL_INTERVAL = 2.0  # seconds, while there is no inotify, or no folder where one should be
MODULE_INTERVAL, MODULE_TIME = 0.25, 10.0  # seconds: how often and how long after a module's load
_SYSCTL = {
    errno.EMFILE: "no inotify instance is left: raise sysctl fs.inotify.max_user_instances",
    errno.ENOSPC: "no inotify watch is left: raise sysctl fs.inotify.max_user_watches",
}
_NONE = "no overlay folder under configfs: overlays at run time are not in use here"
_UEVENT = 15  # NETLINK_KOBJECT_UEVENT of linux/netlink.h
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
        self._expected = False  # whether a folder is there, or should be
        self._snapshot: object = None
        self._logged = ""
        self._closed = False
        self._wake = os.eventfd(0)  # for a restart, and by close
        self._thread = threading.Thread(target=self._run, name="overlays", daemon=True)
        self._refresh()
        self._thread.start()

    @property
    def folder(self) -> Path | None:
        """Where the overlays are now; None where the kernel has no such folder."""
        return self._found[0] if self._found else None

    def restart(self) -> None:
        """Watch anew, every folder that is there now. Whoever calls scans after it."""
        self._refresh(restart=True)
        if not self._observer:
            os.eventfd_write(self._wake, 1)  # the thread has to poll now

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
        poll, module_until = select.poll(), 0.0
        with self._mountinfo.open() as mounts, _uevents() as uevents:
            poll.register(mounts, select.POLLPRI | select.POLLERR)
            poll.register(self._wake, select.POLLIN)
            while True:
                if uevents:
                    # A host has many of them; they matter while no folder is in sight.
                    poll.register(uevents, 0 if self._expected else select.POLLIN)
                interval = self._interval(time.monotonic() < module_until)
                ready = dict(poll.poll(None if interval is None else interval * 1000))
                if self._wake in ready:
                    os.eventfd_read(self._wake)
                if self._closed:
                    return
                if uevents and _module_loaded(uevents):
                    module_until = time.monotonic() + MODULE_TIME
                self._refresh(restart=self._wake in ready)

    def _interval(self, module_loaded: bool) -> float | None:
        """Seconds until the next refresh; None where an event will tell."""
        if self._expected:
            return None if self._observer else POLL_INTERVAL
        return MODULE_INTERVAL if module_loaded else None

    def _refresh(self, restart: bool = False) -> None:
        """Find the folder, watch it if it is not watched yet, and tell of what is new."""
        with self._lock:
            before, self._found = self._found, self._find()
            moved = before != self._found
            if moved or restart or not self._observer:
                self._stop()
                self._start()
            folder = None if self._observer else self.folder
            snapshot = configfs.snapshot(folder) if folder else None
            changed, self._snapshot = snapshot != self._snapshot, snapshot
        if moved or changed:
            self._changed()

    def _find(self) -> tuple[Path, int, int] | None:
        """The folder, with what tells it from another in its place: unmount and mount, say."""
        again = f"looked for every {POLL_INTERVAL:.0f} s"
        try:
            folder = configfs.find(self._configured, self._mountinfo)
            status = folder.stat() if folder else None
        except (TreeError, OSError) as error:
            self._expected = True
            self._log(logging.WARNING, f"{error}; {again}")
            return None
        self._expected = bool(folder or self._configured)
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
            return  # gone since it was found: looked for again
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
        """Once, until something else is to be said."""
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


@contextlib.contextmanager
def _uevents() -> Iterator[socket.socket | None]:
    """The kernel's uevents (netlink(7)); None where the sandbox or the kernel has none."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    try:
        uevents = socket.socket(socket.AF_NETLINK, kind, _UEVENT)
    except OSError:
        yield None
        return
    with uevents:
        uevents.bind((0, 1))
        yield uevents


def _module_loaded(uevents: socket.socket) -> bool:
    """Read what is there; whether a module's load is among it."""
    loaded = False
    with contextlib.suppress(BlockingIOError):
        while True:
            try:
                loaded |= uevents.recv(8192).startswith(b"add@/module/")
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # some were lost: it may have been among them
                    raise
                loaded = True
    return loaded
