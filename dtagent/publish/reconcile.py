"""Making the newest labels true where they go: when to try, and what is said of it.

An outage is told when it begins and when it is over, and waited out meanwhile.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping

from dtagent.cluster.backoff import Backoff
from dtagent.errors import DtagentError, NodeMissingError
from dtagent.host.log import LABELS_CHANGED, NOTICE, OUTAGE_BEGAN, OUTAGE_ENDED, event
from dtagent.host.status import Status, wall_time
from dtagent.publish.events import NodeEvents
from dtagent.publish.publisher import Publisher

CREDENTIALS_INTERVAL = 2.0  # seconds between two checks for new ones, in an outage
BURST, BURST_TIME = 120, 60.0  # so many publications in so many seconds at most
NEVER = math.inf
START, RELOAD, DRIFT = "start", "reload", "they were changed there"  # causes, no hardware's
OUTAGE_TOLD = 3600.0  # seconds: of an outage that was longer the Node is told

log = logging.getLogger(__name__)


class Reconciler:
    """Brings a publisher to the newest labels, and keeps it there. `due` is on `clock`."""

    def __init__(self, status: Status, clock: Callable[[], float] = time.monotonic) -> None:
        self._status, self._clock = status, clock
        self._backoff = Backoff()
        self._failure: type[DtagentError] | None = None  # the last attempt's, in an outage
        self._warned: type[DtagentError] | None = None
        self._published: deque[float] = deque([-BURST_TIME] * BURST, maxlen=BURST)
        self._stepped = self._began = 0.0  # the outage's beginning, in one
        self._node, self._why = "", START
        self._events = NodeEvents()

    def use(self, publisher: Publisher) -> None:
        """Publish here from now on, once it is known what."""
        self._publisher = publisher
        self._wanted: Mapping[str, str] | None = None
        self._resync = False
        self._publish_due = NEVER

    @property
    def due(self) -> float:
        """When there is something to do."""
        if not self._failure:
            return min(self._publish_due, self._events.due)
        checked = NEVER if self._wanted is None else self._stepped + CREDENTIALS_INTERVAL
        return min(self._publish_due, checked)

    def want(self, labels: Mapping[str, str], resync: bool, why: str = START) -> None:
        """The labels that are to be true from now on, and why they are others than before.

        With `resync` they are compared again.
        """
        new = labels != self._wanted
        self._wanted = dict(labels)
        if resync and self._publisher.outdated():
            self._publisher.close()
        if new or (resync and self._publisher.drifted(labels)):
            if new:
                self._why = why
            elif self._publish_due == NEVER:  # what waits to be published keeps its cause
                self._why = DRIFT
            self._resync = self._resync or resync
            # In an outage the next attempt is due already, but not after a reload.
            if not self._failure or self._publish_due == NEVER:
                self._soon()

    def node_changed(self) -> None:
        """The Node may not be what it was: it was edited, went away, came, or out of reach."""
        if self._wanted is None:
            return
        if self._failure is NodeMissingError:
            self._publish_due = self._clock()
        elif not self._failure and self._publisher.drifted(self._wanted):
            self._resync = True
            if self._publish_due == NEVER:
                self._why = DRIFT
            self._soon()

    def _soon(self) -> None:
        self._publish_due = max(self._clock(), self._published[0] + BURST_TIME)

    def step(self) -> None:
        """Do what is due: publish, or see whether an outage may be over."""
        self._stepped = self._clock()
        if self._failure and self._publisher.outdated():
            self._publisher.close()
            self._backoff.reset()
            self._publish_due = self._stepped
        if self._stepped >= self._publish_due:
            self._publish()
        elif self._stepped >= self._events.due and not self._failure:
            self._publisher.tell(*self._events.take(self._stepped))

    def _publish(self) -> None:
        """Make the newest labels true, or wait longer each time that fails."""
        assert self._wanted is not None, "a scan comes first"
        self._publish_due = NEVER
        try:
            outcome = self._publisher.publish(self._wanted, self._resync)
        except DtagentError as error:
            self._publish_due = self._clock() + self._backoff.delay(error)
            self._failed(error)
            return
        node, self._resync = outcome.node, False
        self._status.count("publications_total", "changed" if outcome.changes else "unchanged")
        if self._failure:
            log.log(NOTICE, "%s is in reach again", outcome.place, extra=event(OUTAGE_ENDED, node))
            if (lasted := self._clock() - self._began) > OUTAGE_TOLD:
                text = f"labels are true again after {lasted / 3600:.1f} hours without: "
                self._events.add(self._clock(), text + self._status.report.outage)
        self._failure = self._warned = None
        self._backoff.reset()
        facts: dict[str, object] = {
            "place": outcome.place,
            "labels": outcome.labels,
            "left_alone": outcome.left_alone,
        }
        if outcome.changes:
            facts["last_change"] = {"at": wall_time(), "changes": outcome.changes, "why": self._why}
            self._published.append(self._clock())
            if self._why not in (START, RELOAD, DRIFT):
                self._events.add(self._clock(), self._why, outcome.changes)
            changed = event(LABELS_CHANGED, node, outcome.changes)
            log.info("%s: %s", outcome.place, ", ".join(outcome.changes), extra=changed)
        if self._node and node not in ("", self._node):
            text = "Node %s keeps the labels that were set on it: dtagent clear --node-name %s"
            log.warning(text, self._node, self._node)
        self._node = node or self._node
        self._status.update(outage="", at=wall_time(), **facts)
        self._status.systemd.ready()

    def _failed(self, error: DtagentError) -> None:
        """One warning when an outage begins, and one when its kind changes for more than a moment.

        A server that starts up gives many answers, each once.
        """
        kind, before, self._failure = type(error), self._failure, type(error)
        self._began = self._began if before else self._clock()
        if self._warned is None or self._warned is not kind is before:
            self._warned = kind
            extra = event(OUTAGE_BEGAN, self._node)
            log.warning("%s; trying again until it works", error, extra=extra)
        else:
            log.debug("%s", error)
        self._status.count("publications_total", "failed")
        self._status.count("api_errors_total", kind.__name__.removesuffix("Error"))
        self._status.failed(str(error), outage=str(error))

    def close(self) -> None:
        self._publisher.close()
