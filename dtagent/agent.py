"""The loop: wait for an event or the next deadline, scan, publish, back off.

One thread decides, scans and sends. Signals, threads that die and whatever watches the world only
put events on its queue. Deadlines are monotonic, and nothing else wakes it while all is well.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial

from dtagent.cluster import patch
from dtagent.config.settings import Settings
from dtagent.errors import ConfigError, TreeError
from dtagent.events import Event, Happening
from dtagent.host import log as journal
from dtagent.host.status import Status, wall_time
from dtagent.overlays import configfs
from dtagent.overlays.settle import Settle
from dtagent.overlays.watch import OverlayWatch
from dtagent.publish.reconcile import RELOAD, START, Publisher, Reconciler
from dtagent.tree import devicetree, labels

READY_AFTER = 3.0  # seconds: a boot or an apt run never waits longer for a cluster
TREE_RETRY = 60.0  # seconds at most to the next scan after one that failed

log = logging.getLogger(__name__)


class Agent:
    """Keeps labels true until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        publisher: Callable[[Settings, Callable[[], None]], Publisher],
        status: Status,
        events: queue.SimpleQueue[Happening],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._publisher_for = load, publisher
        self._status, self._events, self._clock = status, events, clock
        self._resync_due = 0.0
        self._notes: Collection[str] = ()
        self._told: frozenset[str] = frozenset()  # overlays, as they were last told of
        self._reconciler = Reconciler(status, clock)
        self._take(settings, START)

    def _take(self, settings: Settings, why: str) -> None:
        """Begin anew with these settings; overlays that are there did not come."""
        self._settings, self._why = settings, why
        self._labels: Mapping[str, str] | None = None  # when overlays were last told of
        self._status.use_textfile(settings.metrics.textfile)
        self._publisher = self._publisher_for(settings, partial(self._events.put, Event.NODE))
        self._reconciler.use(self._publisher)
        changed = partial(self._events.put, Event.OVERLAY)
        concerned = configfs.concern(settings)
        self._watch = OverlayWatch(settings.overlays.path, changed) if concerned else None
        # An overlay may be on its way in by now, and all its events over.
        self._settle = Settle(self._clock())

    def run(self) -> None:
        """Scan, publish, wait; until STOP comes, Stopped is raised or a thread dies."""
        late = threading.Timer(READY_AFTER, self._status.systemd.ready)
        late.daemon = True
        try:
            late.start()
            while Event.STOP not in (happened := self._wait()):
                self._turn(happened)
        finally:
            late.cancel()
            self._status.systemd.stopping()
            self._close()

    def _wait(self) -> Collection[Happening]:
        """What has happened, of a storm each thing once; nothing if the next deadline is sooner."""
        due = min(self._resync_due, self._settle.due, self._reconciler.due)
        wait = min(self._status.systemd.feed(), max(0.0, due - self._clock()))
        happened: dict[Happening, None] = {}
        # Not waiting first: until CPython 3.12 a short wait may never end, if the event before it
        # was there already when it was asked for.
        for seconds in (0.0, wait):
            with suppress(queue.Empty):
                while not (happened and self._events.empty()):
                    happened[self._events.get(timeout=seconds)] = None
        return happened

    def _turn(self, happened: Collection[Happening]) -> None:
        """Heed what has happened, and do what is due."""
        for each in happened:
            if each is Event.RELOAD:
                self._reload()
            elif each is Event.NODE:
                self._reconciler.node_changed()
            else:
                if isinstance(each, threading.ExceptHookArgs):
                    self._thread_died(each)
                self._settle.begin(self._clock())
        now = self._clock()
        resync = now >= self._resync_due  # compares with what the Node really bears
        if resync:
            self._resync_in(self._settings.resync_interval * random.uniform(0.9, 1.1))
        if resync or now >= self._settle.due:
            self._scan(resync)
        if self._reconciler.due <= self._clock():
            self._status.systemd.feed()  # a step may take as long as servers and names take
            self._reconciler.step()

    def _resync_in(self, seconds: float) -> None:
        self._resync_due = self._clock() + seconds
        self._status.update(next_resync=wall_time(seconds))

    def _thread_died(self, died: threading.ExceptHookArgs) -> None:
        """Watchdog's threads are known to die, and are replaced; another's death is our end."""
        thread, kind = died.thread, died.exc_type.__name__
        if not type(thread).__module__.startswith("watchdog."):
            text = f"thread {thread and thread.name} died of {kind}: {died.exc_value}"
            raise RuntimeError(text) from died.exc_value
        if self._watch:
            log.warning("the overlay watch failed (%s), and is restarted", kind)
            self._watch.restart()

    def _scan(self, resync: bool) -> None:
        """Read the tree. What fails publishes nothing: the labels stay as they are."""
        self._status.update()  # what could not be written before
        if self._watch and (len(self._settle.series) == 1 or (resync and not self._watch.folder)):
            self._watch.restart()  # a folder that it overlooked, or was not told of
        start = self._clock()
        applied = configfs.applied(self._watch.folder) if self._watch else frozenset()
        decide = partial(labels.decide, settings=self._settings, overlays=applied)
        try:
            found = devicetree.scan(devicetree.LiveTree(self._settings.devicetree.root), decide)
        except TreeError as error:
            self._status.count("scans_total", "failure")
            self._settle.failed(start, self._clock())
            if self._resync_due > self._clock() + TREE_RETRY:
                self._resync_in(TREE_RETRY)
            if (failure := str(error)) != self._status.report.tree_failure:
                self._status.failed(failure, tree_failure=failure)
                extra = journal.event(journal.TREE_UNREADABLE)
                log.warning("%s; the labels stay as they are", failure, extra=extra)
            return
        self._status.count("scans_total", "success")
        self._status.count("scan_seconds_total", "", self._clock() - start)
        if self._status.report.tree_failure:
            log.log(journal.NOTICE, "the devicetree can be read again")
            self._status.update(tree_failure="")
        for note in found.notes:
            if note not in self._notes:
                log.info("%s", note)
        self._notes = found.notes
        # Some kernels say "applied" while they apply, and after they failed.
        late = {key for key in found.labels if key.startswith(labels.OVERLAY_PREFIX)}
        wanted = self._settle.scanned(start, self._clock(), found.labels, late)
        self._want(wanted, resync, applied)

    def _want(self, wanted: Mapping[str, str], resync: bool, applied: frozenset[str]) -> None:
        """Have labels made true; say after a series which overlays moved, with what effect."""
        moved = [(name, "applied" if name in applied else "gone") for name in applied ^ self._told]
        why, changed = self._why, ""
        if self._labels is not None:
            causes = [f"overlay {name} {what}" for name, what in sorted(moved)]
            why = ", ".join(causes) or "the devicetree changed"
            changed = f"; it changed {', '.join(patch.changed(self._labels, wanted)) or 'no label'}"
        self._reconciler.want(wanted, resync, why)
        if not self._settle.series or self._labels is None:
            for name, what in sorted(moved):
                kind = journal.OVERLAY_APPLIED if name in applied else journal.OVERLAY_GONE
                extra = journal.event(kind, overlay=name)
                log.info("overlay %s is %s%s", name, what, changed, extra=extra)
            self._told, self._labels = applied, wanted
            self._status.update(overlays=sorted(applied))

    def _reload(self) -> None:
        """Read the configuration again and rescan; a wrong one changes nothing."""
        self._status.systemd.feed()  # the judge of the configuration may take a minute
        try:
            settings = self._load()
        except ConfigError as error:
            text = "configuration not reloaded, the old one stays: %s"
            log.error(text, error, extra=journal.event(journal.CONFIGURATION_WRONG))
            self._status.count("reloads_total", "failure")
            self._status.failed(text % error)
        else:
            self._close()
            self._take(settings, RELOAD)
            self._status.count("reloads_total", "success")
            log.info("configuration reloaded")
        self._resync_due = self._clock()

    def _close(self) -> None:
        watch, self._watch = self._watch, None  # Stopped may come next, and nothing is closed twice
        if watch:
            watch.close()
        self._publisher.close()
