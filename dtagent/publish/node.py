"""The labels of one Kubernetes Node."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from dtagent.cluster import patch
from dtagent.cluster.connection import Connection
from dtagent.cluster.node import NodeWatch
from dtagent.cluster.patch import Observed
from dtagent.config.settings import NodeTable
from dtagent.errors import NodeError, NodeReplacedError, RefusedError, UnauthorizedError
from dtagent.host.log import LABEL_CONTENDED, event
from dtagent.publish import events
from dtagent.publish.contention import Contention
from dtagent.publish.publisher import Outcome, Publisher

PASSES = 2  # how often an answer may show that something is still to be done

log = logging.getLogger(__name__)


class NodePublisher(Publisher):
    """Keeps the labels of one Kubernetes Node; connects when it has to.

    With `changed` the Node is watched once it has been reached, and `changed` called from another
    thread when it may not be what it was.
    """

    def __init__(self, settings: NodeTable, changed: Callable[[], None] | None = None) -> None:
        self._connection: Connection = Connection(settings)
        self._tells = settings.events
        self._changed = changed
        self._watch: NodeWatch | None = None
        self._observed: Observed | None = None
        self._contention = Contention()

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        kept = self._connection.is_open
        try:
            return self._publish(labels, resync)
        except NodeReplacedError:
            pass  # deleted or replaced after we read it: read it again
        except UnauthorizedError:
            if not kept:
                raise
            # A kept connection goes on presenting a certificate that was renewed on disk.
        return self._publish(labels, resync=True)

    def _publish(self, labels: Mapping[str, str], resync: bool) -> Outcome:
        try:
            api = self._connection.api()
            try:
                return self._make_true(labels, resync)
            finally:
                if self._changed and not self._watch:
                    self._watch = NodeWatch(api, self._changed)
        except RefusedError:
            self._observed = None
            raise
        except NodeError:
            self.close()
            raise

    def _make_true(self, labels: Mapping[str, str], resync: bool) -> Outcome:
        api = self._connection.api()
        watched = self._follow_watch()
        if self._observed is None or (resync and not watched):
            self._observed = api.get()
        observed = self._observed
        for key in self._contention.observed(observed, time.monotonic()):
            log.warning(
                "%s changes label %s of Node %s back each time; left alone for an hour",
                ", ".join(sorted(observed.others.get(key, ()))) or "somebody",
                key, api.name, extra=event(LABEL_CONTENDED, api.name, [key]),
            )  # fmt: skip
        wanted, left_alone = self._split(labels)
        unwanted = patch.unwanted(wanted, observed, self._contention.ours, left_alone)
        outcome = self._send(observed, wanted, {*wanted, *unwanted}, left_alone)
        self._contention.published(wanted, observed.uid)
        return outcome

    def _send(
        self,
        before: Observed,
        wanted: Mapping[str, str],
        keys: Collection[str],
        left: Sequence[str] = (),
    ) -> Outcome:
        """Send what it takes until the server's answer shows it; `left` is left alone.

        `keys` are wanted, or ours to take off. One that somebody came to hold as well just before
        our apply stays behind it, and is taken off after it.
        """
        api, after = self._connection.api(), before
        for _ in range(PASSES):
            requests = patch.plan(api.name, wanted, after, keys)
            if not requests:
                break
            self._contention.sending(keys)
            for request in requests:
                self._observed = after = api.send(request)
        changes = patch.changes(keys, before, after)
        true = {key: value for key, value in wanted.items() if after.labels.get(key) == value}
        return Outcome(f"Node {api.name}", changes, true, api.name, tuple(left))

    def _follow_watch(self) -> bool:
        """Believe the newer of the last answer and what the watch shows; whether it is up."""
        seen = self._watch.seen if self._watch else None
        if seen and self._observed and seen.version >= self._observed.version:
            self._observed = seen
        return seen is not None

    def _split(self, labels: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
        """The labels that are ours to set, and the keys that are left alone."""
        left_alone = self._contention.left_alone(time.monotonic())
        return {k: v for k, v in labels.items() if k not in left_alone}, left_alone

    def drifted(self, labels: Mapping[str, str]) -> bool:
        """Asks the watch alone: while that is up, nothing need be sent to know."""
        if not self._follow_watch() or self._observed is None:
            return True
        wanted, left_alone = self._split(labels)
        keys = patch.unwanted(wanted, self._observed, self._contention.ours, left_alone)
        return bool(patch.plan("", wanted, self._observed, keys))

    def tell(self, reason: str, message: str) -> None:
        """By a connection that is there: none is made for it, which could take long."""
        if not (self._tells and self._connection.is_open):
            return
        try:
            api = self._connection.api()
            api.create_event(events.event(api.name, reason, message))
        except NodeError as error:
            log.debug("no Event: %s", error)

    def clear(self, labels: Mapping[str, str]) -> Outcome:
        """Take our labels off the Node, and no other's; `labels` are what we would set now."""
        observed = self._connection.api().get()
        return self._send(observed, {}, patch.clearable(labels, observed))

    def close(self) -> None:
        if self._watch:
            self._watch.close()
        super().close()
        self._watch = self._observed = None
