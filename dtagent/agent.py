"""The loop: wait for an event or the next deadline, scan, publish, back off.

One thread decides, scans and sends. Signals, and whatever else watches the world, only put events
on its queue. Deadlines are monotonic, and nothing wakes it while all is well but those.
"""

from __future__ import annotations

import enum
import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from dtagent import credentials, devicetree, labels
from dtagent.errors import ConfigError, DtagentError, TreeError
from dtagent.log import NOTICE
from dtagent.publish import Publisher
from dtagent.settings import Settings
from dtagent.systemd import Systemd

READY_AFTER = 3.0  # seconds: a boot or an apt run never waits longer for a cluster
LOOK_INTERVAL = 2.0  # seconds between two looks at the credentials, while unhealthy
BACKOFF_FIRST, BACKOFF_MAX = 1.0, 60.0  # seconds
CLOCK_STEP = 1.0  # seconds that the wall clock may drift from the monotonic one between looks
NEVER = math.inf

log = logging.getLogger(__name__)


class Event(enum.Enum):
    """What may be put on the agent's queue."""

    STOP = "stop"
    RELOAD = "reload"


class Stopped(BaseException):
    """Raised by a signal's handler, so that a stop does not wait for a request to end."""


class Agent:
    """Keeps labels true until it is told to stop."""

    def __init__(
        self,
        load: Callable[[], Settings],
        publisher: Callable[[Settings], Publisher],
        systemd: Systemd,
        events: queue.SimpleQueue[Event],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._publisher_for = load, publisher
        self._systemd, self._events, self._clock = systemd, events, clock
        self._settings = load()
        self._publisher = publisher(self._settings)
        self._labels: labels.Labels | None = None
        self._outage: type[DtagentError] | None = None
        self._kind: type[DtagentError] | None = None
        self._tree_failure = ""
        self._since = ""
        self._attempts = 0
        self._hope = self._signs()
        self._steps: Mapping[str, Callable[[], None]] = {
            "feed": self._feed,
            "look": self._look,
            "scan": self._scan,
            "publish": self._publish,
        }
        self._due = {"feed": 0.0, "look": NEVER, "scan": 0.0, "publish": NEVER}

    def run(self) -> None:
        """Scan, publish, wait; until STOP comes or Stopped is raised."""
        late = threading.Timer(READY_AFTER, self._systemd.ready)
        late.daemon = True
        late.start()
        try:
            while self._turn():
                pass
        except Stopped:
            pass
        finally:
            late.cancel()
            self._systemd.stopping()
            self._publisher.close()

    def _turn(self) -> bool:
        """Take one event or one deadline; False when it is time to stop."""
        event = self._wait()
        if event is Event.STOP:
            return False
        if event is Event.RELOAD:
            self._reload()
        for name, step in self._steps.items():
            if self._clock() >= self._due[name]:
                step()
        return True

    def _wait(self) -> Event | None:
        wait = max(0.0, min(self._due.values()) - self._clock())
        try:
            return self._events.get(timeout=wait)
        except queue.Empty:
            return None

    def _feed(self) -> None:
        interval = self._systemd.feed_interval
        if interval:
            self._systemd.feed()
        self._due["feed"] = self._clock() + interval if interval else NEVER

    def _scan(self) -> None:
        """Read the tree. What fails publishes nothing: the labels stay as they are."""
        settings = self._settings
        self._due["scan"] = self._clock() + settings.resync_interval * random.uniform(0.9, 1.1)
        tree = devicetree.LiveTree(settings.devicetree.root)
        try:
            found = devicetree.scan(tree, partial(labels.decide, settings=settings))
        except TreeError as error:
            self._due["scan"] = min(self._due["scan"], self._clock() + BACKOFF_MAX)
            if str(error) != self._tree_failure:
                self._tree_failure = str(error)
                log.warning("%s; the labels stay as they are", error)
                self._systemd.status(f"cannot read the devicetree: {error}")
            return
        if self._tree_failure:
            log.log(NOTICE, "the devicetree can be read again")
            self._tree_failure = ""
        for note in found.notes:
            if self._labels is None or note not in self._labels.notes:
                log.info("%s", note)
        self._labels = found
        if not self._outage:
            self._due["publish"] = self._clock()

    def _publish(self) -> None:
        """Make the newest labels true on the Node, or wait longer each time that fails."""
        self._due["publish"] = NEVER
        if self._labels is None:
            return
        self._hope = self._signs()
        try:
            outcome = self._publisher.publish(self._labels.labels)
        except DtagentError as error:
            self._fail(error)
            return
        if self._outage:
            log.log(NOTICE, "%s is in reach again", outcome.place)
        self._outage, self._kind, self._attempts, self._due["look"] = None, None, 0, NEVER
        if outcome.changes:
            log.info("%s: %s", outcome.place, ", ".join(outcome.changes))
        at = time.strftime("%Y-%m-%d %H:%M:%S")
        count = len(self._labels.labels)
        noun = "label" if count == 1 else "labels"
        self._systemd.status(f"{count} {noun} true on {outcome.place} at {at}")
        self._systemd.ready()

    def _fail(self, error: DtagentError) -> None:
        """One warning when an outage begins or changes its kind, none for each retry."""
        if self._outage is None:
            self._since = time.strftime("%Y-%m-%d %H:%M:%S")
        # A server that starts up gives many answers, each once.
        kind, before, self._kind = type(error), self._kind, type(error)
        if self._outage is None or self._outage is not kind is before:
            self._outage = kind
            log.warning("%s; trying again until it works", error)
        else:
            log.debug("%s", error)
        self._systemd.status(f"waiting since {self._since}: {error}")
        longest = min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** min(self._attempts, 10))
        self._attempts += 1
        now = self._clock()
        self._due["publish"] = now + random.uniform(0.1, longest)
        self._due["look"] = now + LOOK_INTERVAL

    def _look(self) -> None:
        """Cut the wait short when the credentials, or the wall clock, have changed."""
        self._due["look"] = self._clock() + LOOK_INTERVAL
        files, offset = self._signs()
        files_before, offset_before = self._hope
        if files != files_before or abs(offset - offset_before) > CLOCK_STEP:
            self._attempts = 0
            self._due["publish"] = self._clock()

    def _signs(self) -> tuple[tuple[object, ...], float]:
        """A board without a clock boots in the past, where every certificate is not yet valid."""
        files = credentials.fingerprint(self._settings.node.kubeconfig)
        return files, time.time() - time.monotonic()

    def _reload(self) -> None:
        """Read the configuration again and rescan; a wrong one changes nothing."""
        try:
            settings = self._load()
        except ConfigError as error:
            log.error("configuration not reloaded, the old one stays: %s", error)
        else:
            self._publisher.close()
            self._settings = settings
            self._publisher = self._publisher_for(settings)
            log.info("configuration reloaded")
        self._due["scan"] = self._clock()
        self._attempts = 0
        if self._outage:
            self._due["publish"] = self._clock()
