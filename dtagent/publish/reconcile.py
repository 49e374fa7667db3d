"""Making the newest labels true where they go: when to try, and what is said of it.

An outage is told when it begins and when it is over, and waited out meanwhile. The Node is told by
Events, which a server drops after an hour (kube-apiserver, --event-ttl): gathered, and rarely.
"""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dtagent.cluster.backoff import Backoff
from dtagent.errors import DtagentError, NodeMissingError
from dtagent.host.log import LABELS_CHANGED, NOTICE, OUTAGE_BEGAN, OUTAGE_ENDED, event
from dtagent.host.status import Status, wall_time
from dtagent.overlays.settle import LAST

CREDENTIALS_INTERVAL = 2.0  # seconds between two checks for new ones, in an outage
BURST, BURST_TIME = 120, 60.0  # so many publications in so many seconds at most
START, RELOAD, DRIFT = "start", "reload", "they were changed there"  # causes, no hardware's
OUTAGE_TOLD = 3600.0  # seconds: of an outage that was longer the Node is told
GATHER = LAST + 5.0  # seconds from a change to its Event: by then the overlay has its label, too
INTERVAL = 60.0  # seconds at least between two Events

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What is true where now, and what had to change for it: `+key=value`, `-key`."""

    place: str
    changes: list[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    left_alone: tuple[str, ...] = ()


class Publisher(ABC):
    """Something that labels can be made true on. Every failure is a DtagentError."""

    @abstractmethod
    def publish(self, labels: Mapping[str, str]) -> Outcome:
        """Make exactly these our labels there."""

    def resync(self) -> None:  # noqa: B027 (most look each time)
        """Others may have changed the labels there: the next `publish` has to see that."""

    def tell(self, reason: str, message: str) -> None:  # noqa: B027 (most have nobody to tell)
        """Tell those who look at the Node what happened; that it fails is no matter."""

    def outdated(self) -> bool:
        """Whether what a kept connection was made of has changed since; it is closed then."""
        return False

    def close(self) -> None:  # noqa: B027 (most keep nothing)
        """Let go of every connection."""


class Reconciler:
    """Brings a publisher to the newest labels, and keeps it there. `due` is on `clock`."""

    def __init__(self, status: Status, clock: Callable[[], float] = time.monotonic) -> None:
        self._status, self._clock, self._backoff = status, clock, Backoff()
        self._failure: type[DtagentError] | None = None  # the last attempt's, in an outage
        self._warned: type[DtagentError] | None = None
        self._published: deque[float] = deque([-BURST_TIME] * BURST, maxlen=BURST)
        self._node, self._why, self._began = "", START, 0.0
        self._told, self._tell_due = -math.inf, math.inf
        self._causes: dict[str, None] = {}  # that are untold, in their order
        self._changes: dict[str, str] = {}  # that are untold, by key the last one

    def use(self, publisher: Publisher) -> None:
        """Publish here from now on, once it is known what."""
        self._publisher = publisher
        self._wanted: Mapping[str, str] | None = None
        self._publish_due = self._stepped = math.inf

    @property
    def due(self) -> float:
        """When there is something to do."""
        also = self._stepped + CREDENTIALS_INTERVAL if self._failure else self._tell_due
        return min(self._publish_due, also)

    def want(self, labels: Mapping[str, str], resync: bool, why: str = START) -> None:
        """These are to be true from now on, for this reason if new; `resync` compares again."""
        if resync:
            if self._publisher.outdated():
                self._publisher.close()
            self._publisher.resync()
        new, self._wanted = labels != self._wanted, dict(labels)
        if new or resync:
            self._soon(why if new else DRIFT)

    def node_changed(self) -> None:
        """The Node may not be what it was: it was edited, went away, came, or out of reach."""
        if self._wanted is not None:
            self.want(self._wanted, resync=True)
            if self._failure is NodeMissingError:
                self._publish_due = self._clock()

    def _soon(self, why: str) -> None:
        """What waits keeps its time in an outage, and its cause if nothing is new but drift."""
        waits = self._publish_due < math.inf
        if not (waits and why == DRIFT):
            self._why = why
        if not (waits and self._failure):
            self._publish_due = max(self._clock(), self._published[0] + BURST_TIME)

    def step(self) -> None:
        """Do what is due: publish, see whether an outage may be over, or tell the Node."""
        self._stepped = self._clock()
        if self._failure and self._publisher.outdated():
            self._publisher.close()
            self._backoff.reset()
            self._publish_due = self._stepped
        if self._stepped >= self._publish_due:
            assert self._wanted is not None, "a scan comes first"
            self._publish_due = math.inf
            try:
                self._succeeded(self._publisher.publish(self._wanted))
            except DtagentError as error:
                self._failed(error)
        elif self._stepped >= self._tell_due and not self._failure:
            reason = "LabelsChanged" if self._changes else "OutageEnded"
            told = [", ".join(each) for each in (self._causes, [*self._changes.values()]) if each]
            self._causes, self._changes = {}, {}
            self._told, self._tell_due = self._stepped, math.inf
            self._publisher.tell(reason, ": ".join(told))

    def _succeeded(self, done: Outcome) -> None:
        """Tell systemd and the journal, and the Node later."""
        now, node = self._clock(), done.node
        facts: dict[str, object] = {"outage": "", "at": wall_time(), "place": done.place}
        self._status.count("publications_total", "changed" if done.changes else "unchanged")
        if self._failure:
            log.log(NOTICE, "%s is in reach again", done.place, extra=event(OUTAGE_ENDED, node))
            if (lasted := now - self._began) > OUTAGE_TOLD:
                text = f"labels are true again after {lasted / 3600:.1f} hours without: "
                self._causes[text + self._status.report.outage] = None
        self._failure = self._warned = None
        self._backoff.reset()
        if done.changes:
            facts["last_change"] = {"at": wall_time(), "changes": done.changes, "why": self._why}
            self._published.append(now)
            if self._why not in (START, RELOAD, DRIFT):
                self._causes[self._why] = None
                self._changes |= {each[1:].partition("=")[0]: each for each in done.changes}
            changed = event(LABELS_CHANGED, node, done.changes)
            log.info("%s: %s", done.place, ", ".join(done.changes), extra=changed)
        if self._causes:
            self._tell_due = min(self._tell_due, max(now + GATHER, self._told + INTERVAL))
        if self._node and node not in ("", self._node):
            text = "Node %s keeps the labels that were set on it: dtagent clear --node-name %s"
            log.warning(text, self._node, self._node)
        self._node = node or self._node
        self._status.update(labels=done.labels, left_alone=done.left_alone, **facts)
        self._status.systemd.ready()

    def _failed(self, error: DtagentError) -> None:
        """One warning when an outage begins, and one when its kind changes and stays another."""
        self._publish_due = self._clock() + self._backoff.delay(error)
        kind, before, self._failure = type(error), self._failure, type(error)
        self._began = self._began if before else self._clock()
        if not before or (kind is before and kind is not self._warned):
            self._warned = kind
            extra = event(OUTAGE_BEGAN, self._node)
            log.warning("%s; trying again until it works", error, extra=extra)
        else:  # a server that starts up gives many answers, each once
            log.debug("%s", error)
        self._status.count("publications_total", "failed")
        self._status.count("api_errors_total", kind.__name__.removesuffix("Error"))
        self._status.failed(str(error), outage=str(error))
