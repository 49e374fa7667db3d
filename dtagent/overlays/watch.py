"""configfs as a stream of "something may have changed".

inotify reports what user space does in configfs, and nothing that the kernel does there. So this
watches the overlay folder with python-watchdog, and besides: /proc/self/mountinfo, which polls
readable when a mount comes or goes (proc(5)), and while there is no folder the kernel's uevents,
since a module that brings it makes no other sign.

What watchdog does not tell is made good by laying the watch anew: it overlooks new folders (a race,
or no watch left), events that the kernel dropped, and up to 6.x its reader can die of a KeyError.
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

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

from dtagent.host.log import NOTICE
from dtagent.overlays import configfs

LIST_INTERVAL = 2.0  # seconds between two listings, where inotify is not to be had
MODULE_INTERVAL, MODULE_PATIENCE = 0.25, 10.0  # seconds, after a module was loaded
_SYSCTL = {
    errno.EMFILE: "no inotify instance is left: raise sysctl fs.inotify.max_user_instances",
    errno.ENOSPC: "no inotify watch is left: raise sysctl fs.inotify.max_user_watches",
}
_UEVENT = 15  # NETLINK_KOBJECT_UEVENT of linux/netlink.h
# Opening and reading is not among them: what we do ourselves must not wake us.
_EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
]

log = logging.getLogger(__name__)


class OverlayWatch(FileSystemEventHandler):
    """Calls `changed` from threads of its own whenever an overlay may have come or gone."""

    def __init__(
        self, configured: str, changed: Callable[[], None], mountinfo: Path = configfs.MOUNTINFO
    ) -> None:
        self._configured, self._changed, self._mountinfo = configured, changed, mountinfo
        self._lock = threading.RLock()  # of the observer, which two threads lay and take up
        self._observer: InotifyObserver | None = None
        self._folder: Path | None = None
        self._identity: tuple[int, int] | None = None
        self._listing: object = None
        self._said = ""
        self._closed = False
        self._patience = 0.0
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="overlays", daemon=True)
        self._hook = threading.excepthook
        threading.excepthook = self._thread_died
        self._look()
        self._thread.start()

    @property
    def folder(self) -> Path | None:
        """Where the overlays are now; None where the kernel has no such folder."""
        return self._folder

    def renew(self) -> None:
        """Lay the watch anew, on every folder that is there now. Whoever calls scans after it."""
        with self._lock:
            if self._observer:
                self._lay()

    def close(self) -> None:
        self._closed = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)
        threading.excepthook = self._hook

    def on_any_event(self, event: FileSystemEvent) -> None:
        """From watchdog's thread: the folder itself, or something in it."""
        if isinstance(event, DirDeletedEvent) and os.fsdecode(event.src_path) == str(self._folder):
            self._again()
        self._changed()

    def _again(self) -> None:
        """Have the thread lay the watch anew, even on a folder that looks the same."""
        self._identity = None
        os.eventfd_write(self._wake, 1)

    def _thread_died(self, args: threading.ExceptHookArgs) -> None:
        if type(args.thread).__module__.partition(".")[0] != "watchdog":
            self._hook(args)
            return
        log.warning("the overlay watch failed (%s), and is laid anew", args.exc_type.__name__)
        self._again()

    def _run(self) -> None:
        poll = select.poll()
        with self._mountinfo.open() as mounts, _uevents() as uevents:
            poll.register(mounts, select.POLLPRI | select.POLLERR)
            poll.register(self._wake, select.POLLIN)
            while not self._closed:
                if uevents:
                    # A host has many of them; they matter while there is no folder yet.
                    waiting = self._folder is None and not self._configured
                    poll.register(uevents, select.POLLIN if waiting else 0)
                interval = self._interval()
                poll.poll(None if interval is None else interval * 1000)
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
                if uevents and _module_came(uevents):
                    self._patience = time.monotonic() + MODULE_PATIENCE
                if not self._closed:
                    self._look()
        self._take_up()

    def _interval(self) -> float | None:
        """Seconds until the next look; None where an event will tell."""
        if self._configured or self._folder:
            return None if self._observer else LIST_INTERVAL
        return MODULE_INTERVAL if time.monotonic() < self._patience else None

    def _look(self) -> None:
        """Find the folder, lay a watch where there is none, and tell of what is new."""
        folder = configfs.find(self._configured, self._mountinfo)
        identity = configfs.identity(folder)
        moved = (folder, identity) != (self._folder, self._identity)
        with self._lock:  # renew, in another thread, lays the watch on the folder that is found
            self._folder, self._identity = folder, identity
            if folder is None:
                self._take_up()
                self._say_none()
            elif moved or not self._observer:
                self._lay()
        listing = None if self._observer or not folder else configfs.listing(folder)
        if moved or (listing != self._listing):
            self._changed()
        self._listing = listing

    def _lay(self) -> None:
        """Watch the folder and each folder in it; without inotify it is listed instead."""
        self._take_up()
        folder = self._folder
        assert folder is not None
        try:
            _probe(folder)
            observer = InotifyObserver()
            observer.schedule(self, str(folder), recursive=True, event_filter=_EVENTS)
            observer.start()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return  # gone since we looked: looked for again
            why = _SYSCTL.get(error.errno or 0, error.strerror)
            self._say(
                logging.WARNING, f"{folder}: {why}; listed every {LIST_INTERVAL:.0f} s instead"
            )
            return
        self._observer = observer
        self._say(NOTICE if self._said else logging.INFO, f"overlays are watched in {folder}")

    def _take_up(self) -> None:
        observer, self._observer = self._observer, None
        if observer:
            observer.stop()
            observer.join(10)

    def _say_none(self) -> None:
        if self._configured:
            text = f"[overlays] path {self._configured} is not there; looked for every "
            self._say(logging.WARNING, f"{text}{LIST_INTERVAL:.0f} s")
        else:
            self._say(
                logging.INFO,
                "no overlay folder under configfs: overlays at run time are not in use here",
            )

    def _say(self, level: int, text: str) -> None:
        """Once, until something else is to be said."""
        if text != self._said:
            self._said = text
            log.log(level, "%s", text)


def _probe(folder: Path) -> None:
    """Raise the OSError that inotify would give: watchdog leaks descriptors where it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    instance = libc.inotify_init1(os.O_CLOEXEC)
    if instance < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        for place in (folder, *(path for path in folder.iterdir() if path.is_dir())):
            if libc.inotify_add_watch(instance, os.fsencode(place), 0x100) < 0:  # IN_CREATE
                code = ctypes.get_errno()
                if code != errno.ENOENT:  # a folder in it that has gone meanwhile
                    raise OSError(code, os.strerror(code))
    finally:
        os.close(instance)


@contextlib.contextmanager
def _uevents() -> Iterator[socket.socket | None]:
    """The kernel's uevents (netlink(7)); None where the sandbox or the kernel has none."""
    try:
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _UEVENT)
    except OSError:
        yield None
        return
    with events:
        events.bind((0, 1))
        yield events


def _module_came(uevents: socket.socket) -> bool:
    """Read what is there; whether a module is among it."""
    came = False
    with contextlib.suppress(BlockingIOError):
        while True:
            try:
                came |= uevents.recv(8192).startswith(b"add@/module/")
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # some were lost: it may have been among them
                    raise
                came = True
    return came
