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
from dtagent.host.status import Report, Status
from dtagent.publish.publisher import Outcome, Publisher

CREDENTIALS_INTERVAL = 2.0  # seconds between two checks for new ones, in an outage
BURST, BURST_TIME = 120, 60.0  # so many publications in so many seconds at most
NEVER = math.inf

log = logging.getLogger(__name__)


class Reconciler:
    """Brings a publisher to the newest labels, and keeps it there. `due` is on `clock`."""

    def __init__(self, status: Status, clock: Callable[[], float] = time.monotonic) -> None:
        self._status, self._clock = status, clock
        self._outage = Outage()
        self._published: deque[float] = deque([-BURST_TIME] * BURST, maxlen=BURST)
        self._node = self._at = ""

    def use(self, publisher: Publisher) -> None:
        """Publish here from now on, once it is known what."""
        self._publisher = publisher
        self._wanted: Mapping[str, str] | None = None
        self._overlays: frozenset[str] = frozenset()
        self._outcome: Outcome | None = None
        self._resync = False
        self._publish_due = self._credentials_due = NEVER

    @property
    def due(self) -> float:
        """When there is something to do."""
        return min(self._publish_due, self._credentials_due)

    def want(self, labels: Mapping[str, str], overlays: frozenset[str], resync: bool) -> None:
        """The labels that are to be true from now on; with `resync` they are compared again."""
        new, moved = labels != self._wanted, overlays != self._overlays
        self._wanted, self._overlays = dict(labels), overlays
        if moved and self._outcome and not self._outage:
            self._tell(self._outcome)
        if resync and self._publisher.outdated():
            self._publisher.close()
        if resync and not new and not self._publisher.drifted(labels):
            return
        self._resync = self._resync or resync
        # In an outage the next attempt is due already, but not after a reload.
        if (new or resync) and (not self._outage or self._publish_due == NEVER):
            self._soon()

    def node_changed(self) -> None:
        """The Node may not be what it was: it was edited, went away, came, or out of reach."""
        if self._wanted is None:
            return
        if self._outage:
            if self._outage.kind is NodeMissingError:
                self._publish_due = self._clock()
        elif self._publisher.drifted(self._wanted):
            self._resync = True
            self._soon()

    def _soon(self) -> None:
        self._publish_due = max(self._clock(), self._published[0] + BURST_TIME)

    def step(self) -> None:
        """Do what is due."""
        if self._clock() >= self._credentials_due:
            self._credentials_due = self._clock() + CREDENTIALS_INTERVAL
            if self._publisher.outdated():
                self._publisher.close()
                self._outage.backoff.reset()
                self._publish_due = self._clock()
        if self._clock() >= self._publish_due:
            self._publish()

    def _publish(self) -> None:
        """Make the newest labels true, or wait longer each time that fails."""
        assert self._wanted is not None, "a scan comes first"
        self._publish_due = NEVER
        try:
            outcome = self._publisher.publish(self._wanted, self._resync)
        except DtagentError as error:
            now = self._clock()
            self._publish_due = now + self._outage.failed(error)
            self._credentials_due = now + CREDENTIALS_INTERVAL
            text = f"waiting since {self._outage.since}: {error}"
            self._status.report(Report(text, healthy=False, overlays=self._overlays))
            return
        self._outage.ended(outcome.place, outcome.node)
        self._resync, self._credentials_due = False, NEVER
        if outcome.changes:
            self._published.append(self._clock())
            changed = event(LABELS_CHANGED, outcome.node, outcome.changes)
            log.info("%s: %s", outcome.place, ", ".join(outcome.changes), extra=changed)
        if self._node and outcome.node not in ("", self._node):
            text = "Node %s keeps the labels that were set on it: dtagent clear --node-name %s"
            log.warning(text, self._node, self._node)
        self._node = outcome.node or self._node
        self._outcome, self._at = outcome, time.strftime("%Y-%m-%d %H:%M:%S")
        self._tell(outcome)
        self._status.systemd.ready()

    def _tell(self, outcome: Outcome) -> None:
        """All is well: what is where, and since when."""
        noun = "label" if len(outcome.labels) == 1 else "labels"
        text = f"{len(outcome.labels)} {noun} true on {outcome.place} at {self._at}"
        if self._overlays:
            text += f"; overlays: {', '.join(sorted(self._overlays))}"
        if outcome.left_alone:
            text += f"; left alone: {', '.join(outcome.left_alone)}"
        self._status.report(Report(text, True, outcome.labels, self._overlays))

    def close(self) -> None:
        self._publisher.close()


class Outage:
    """From the first failure to the next success; false while there is none."""

    def __init__(self) -> None:
        self.backoff = Backoff()
        self.since = ""
        self.kind: type[DtagentError] | None = None
        self._warned: type[DtagentError] | None = None
        self._node = ""

    def __bool__(self) -> bool:
        return self._warned is not None

    def failed(self, error: DtagentError) -> float:
        """An attempt failed; seconds until the next one.

        One warning when an outage begins, and one when its kind changes for more than a moment: a
        server that starts up gives many answers, each once.
        """
        if not self:
            self.since = time.strftime("%Y-%m-%d %H:%M:%S")
        kind, before, self.kind = type(error), self.kind, type(error)
        if self._warned is None or self._warned is not kind is before:
            self._warned = kind
            extra = event(OUTAGE_BEGAN, self._node)
            log.warning("%s; trying again until it works", error, extra=extra)
        else:
            log.debug("%s", error)
        return self.backoff.delay(error)

    def ended(self, place: str, node: str = "") -> None:
        """An attempt succeeded."""
        self._node = node
        if self:
            log.log(NOTICE, "%s is in reach again", place, extra=event(OUTAGE_ENDED, node))
        self._warned = self.kind = None
        self.backoff.reset()
