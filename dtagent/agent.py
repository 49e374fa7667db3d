"""The loop: wait for an event or the next deadline, scan, publish, back off.

One thread decides, scans and sends. Signals, threads that die and whatever watches the world only
put events on its queue. Deadlines are monotonic, and nothing else wakes it while all is well.
"""

from __future__ import annotations

import enum
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from dtagent.cluster import patch
from dtagent.config.settings import Settings
from dtagent.errors import ConfigError, TreeError
from dtagent.host.log import (
    CONFIGURATION_WRONG,
    NOTICE,
    OVERLAY_APPLIED,
    OVERLAY_GONE,
    TREE_UNREADABLE,
    event,
)
from dtagent.host.status import Status
from dtagent.overlays import configfs
from dtagent.overlays.settle import Hold, Settle
from dtagent.overlays.watch import OverlayWatch
from dtagent.publish.publisher import Publisher
from dtagent.publish.reconcile import NEVER, Reconciler
from dtagent.tree import devicetree, labels
from dtagent.tree.labels import Labels

READY_AFTER = 3.0  # seconds: a boot or an apt run never waits longer for a cluster
TREE_RETRY = 60.0  # seconds at most to the next scan after one that failed

log = logging.getLogger(__name__)


class Event(enum.Enum):
    """What may be put on the agent's queue."""

    STOP = "stop"
    RELOAD = "reload"
    OVERLAY = "overlay"
    NODE = "node"


Happening = Event | threading.ExceptHookArgs  # the latter is a thread's death


class Stopped(BaseException):
    """Raised by a signal's handler, so that a stop does not wait for a request to end."""


class Agent:
    """Keeps labels true until it is told to stop."""

    def __init__(
        self,
        load: Callable[[], Settings],
        publisher: Callable[[Settings, Callable[[], None]], Publisher],
        status: Status,
        events: queue.SimpleQueue[Happening],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._publisher_for = load, publisher
        self._systemd, self._status = status.systemd, status
        self._events, self._clock = events, clock
        self._tree_failure = ""
        self._found: Labels | None = None
        self._reported: tuple[frozenset[str], dict[str, str]] | None = None
        self._resync = False
        self._settle, self._hold = Settle(), Hold()
        self._steps: Mapping[str, Callable[[], None]] = {
            "feed": self._feed,
            "resync": self._begin_resync,
            "scan": self._scan,
        }
        self._due = {"feed": 0.0, "resync": 0.0, "scan": NEVER}
        self._reconciler = Reconciler(status, clock)
        self._take(load())

    def _take(self, settings: Settings) -> None:
        self._settings = settings
        node_changed = partial(self._events.put, Event.NODE)
        self._reconciler.use(self._publisher_for(settings, node_changed))
        changed = partial(self._events.put, Event.OVERLAY)
        concerned = configfs.concern(settings)
        self._watch = OverlayWatch(settings.overlays.path, changed) if concerned else None

    def run(self) -> None:
        """Scan, publish, wait; until STOP comes, Stopped is raised or a thread dies."""
        late = threading.Timer(READY_AFTER, self._systemd.ready)
        late.daemon = True
        # An overlay may be on its way in while we start, and all its events over.
        self._settle.begin(self._clock())
        try:
            late.start()
            while self._turn():
                pass
        finally:
            late.cancel()
            self._systemd.stopping()
            self._close()

    def _turn(self) -> bool:
        """Take the events or one deadline; False when it is time to stop."""
        for happened in self._wait():
            if happened is Event.STOP:
                return False
            self._handle(happened)
        for name, step in self._steps.items():
            if self._clock() >= self._due[name]:
                step()
        if self._reconciler.due <= self._clock():
            self._feed()  # what follows may take as long as its servers and names take
            self._reconciler.step()
        return True

    def _handle(self, happened: Happening) -> None:
        if happened is Event.RELOAD:
            self._reload()
        elif happened is Event.NODE:
            self._reconciler.node_changed()
        else:
            if isinstance(happened, threading.ExceptHookArgs):
                self._thread_died(happened)
            now = self._clock()
            self._settle.begin(now)
            self._hold.event(now)
            self._schedule()

    def _thread_died(self, died: threading.ExceptHookArgs) -> None:
        """Watchdog's threads are known to die, and are replaced; another's death is our end."""
        thread, kind = died.thread, died.exc_type.__name__
        if not type(thread).__module__.startswith("watchdog."):
            text = f"thread {thread and thread.name} died of {kind}: {died.exc_value}"
            raise RuntimeError(text) from died.exc_value
        if self._watch:
            log.warning("the overlay watch failed (%s), and is restarted", kind)
            self._watch.restart()

    def _wait(self) -> list[Happening]:
        """What has happened until the next deadline, of a storm all that is there."""
        wait = max(0.0, min(*self._due.values(), self._reconciler.due) - self._clock())
        try:
            events = [self._events.get(timeout=wait)]
            while not self._events.empty():
                events.append(self._events.get(timeout=0))
        except queue.Empty:
            return []
        return events

    def _feed(self) -> None:
        self._due["feed"] = self._clock() + self._systemd.feed()

    def _begin_resync(self) -> None:
        """Scan the tree, and compare with what the Node really bears."""
        self._resync, self._due["scan"] = True, self._clock()
        interval = self._settings.resync_interval * random.uniform(0.9, 1.1)
        self._due["resync"] = self._due["scan"] + interval

    def _schedule(self) -> None:
        """The next scan: to see what an event brings, or that what was lost stays lost."""
        due = (self._settle.due, self._hold.due)
        self._due["scan"] = min((at for at in due if at is not None), default=NEVER)

    def _scan(self) -> None:
        """Read the tree. What fails publishes nothing: the labels stay as they are."""
        if self._watch and self._settle.last:
            self._watch.restart()  # a folder that the watch overlooked is seen by this scan
        start = self._clock()
        applied = configfs.applied(self._watch.folder) if self._watch else frozenset()
        tree = devicetree.LiveTree(self._settings.devicetree.root)
        decide = partial(labels.decide, settings=self._settings, overlays=applied)
        try:
            found = devicetree.scan(tree, decide)
        except TreeError as error:
            self._tree_failed(error, start)
            return
        now = self._clock()
        if self._tree_failure:
            log.log(NOTICE, "the devicetree can be read again")
            self._tree_failure = ""
            self._status.failure("")
        known = self._found.notes if self._found else ()
        for note in (note for note in found.notes if note not in known):
            log.info("%s", note)
        changed = self._found is not None and found.labels != self._found.labels
        self._settle.scanned(start, now, changed)
        self._found = found
        self._decide(found, applied, now)
        self._schedule()

    def _tree_failed(self, error: TreeError, start: float) -> None:
        now = self._clock()
        self._settle.scanned(start, now, changed=False)
        self._schedule()
        self._due["resync"] = min(self._due["resync"], now + TREE_RETRY)
        if str(error) != self._tree_failure:
            self._tree_failure = str(error)
            log.warning("%s; the labels stay as they are", error, extra=event(TREE_UNREADABLE))
            self._status.failure(f"cannot read the devicetree: {error}")

    def _decide(self, found: Labels, applied: frozenset[str], now: float) -> None:
        """What of a scan is to be published, and when."""
        over = self._settle.over
        # Some kernels say "applied" while they apply, and after they failed.
        unsettled = frozenset(() if over else map(labels.overlay_key, applied))
        wanted = self._hold.decide(found.labels, now, unsettled)
        if over or self._reported is None:
            self._report_overlays(applied, wanted)
        settled = self._reported[0] if self._reported else frozenset()
        self._reconciler.want(wanted, settled, self._resync)
        self._resync = False

    def _report_overlays(self, applied: frozenset[str], wanted: Mapping[str, str]) -> None:
        """A line for each overlay that came or went, with what it changed."""
        before, labels_before = self._reported or (frozenset(), dict(wanted))
        changes = ", ".join(patch.changed(labels_before, wanted)) or "no label"
        changed = f"; it changed {changes}" if self._reported else ""
        for name in sorted(applied ^ before):
            what, text = (OVERLAY_APPLIED, "applied") if name in applied else (OVERLAY_GONE, "gone")
            log.info("overlay %s is %s%s", name, text, changed, extra=event(what, overlay=name))
        self._reported = applied, dict(wanted)

    def _reload(self) -> None:
        """Read the configuration again and rescan; a wrong one changes nothing."""
        try:
            settings = self._load()
        except ConfigError as error:
            text = "configuration not reloaded, the old one stays: %s"
            log.error(text, error, extra=event(CONFIGURATION_WRONG))
        else:
            self._close()
            self._take(settings)
            self._hold = Hold()
            log.info("configuration reloaded")
        self._due["resync"] = self._clock()

    def _close(self) -> None:
        watch, self._watch = self._watch, None  # Stopped may come next, and nothing is closed twice
        if watch:
            watch.close()
        self._reconciler.close()
