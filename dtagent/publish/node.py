"""The labels of one Kubernetes Node: what is believed of it, and which labels are ours."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dtagent.cluster import patch
from dtagent.cluster.connection import Connection
from dtagent.cluster.node import NodeWatch
from dtagent.cluster.patch import Observed
from dtagent.config.settings import NodeTable
from dtagent.errors import NodeError, NodeReplacedError, RefusedError, UnauthorizedError
from dtagent.host.log import LABEL_CONTENDED, event
from dtagent.names import printable
from dtagent.publish.reconcile import Outcome, Publisher

PASSES = 2  # how often an answer may show that something is still to be done
TIMES, WINDOW = 2, 600.0  # so often within so many seconds a label is put right
LEAVE = 3600.0  # seconds that it is left alone after that
OURS_MAX = 1024  # keys remembered; of more, as overlays with ever new names would bring, the newest
MESSAGE_MAX = 1024  # characters; what the newer API for Events allows for its `note`

log = logging.getLogger(__name__)


class NodePublisher(Publisher):
    """Keeps the labels of one Kubernetes Node; connects when it has to.

    With `changed` the Node is watched once it has been reached, and `changed` called from another
    thread when it may not be what it was.
    """

    def __init__(self, settings: NodeTable, changed: Callable[[], None] | None = None) -> None:
        self._connection, self._contention = Connection(settings), Contention()
        self._tells, self._changed = settings.events, changed
        self._watch: NodeWatch | None = None
        self._believed: Observed | None = None  # None where the Node has to be read

    def publish(self, labels: Mapping[str, str]) -> Outcome:
        kept = self._connection.opened
        try:
            return self._publish(labels)
        except (NodeReplacedError, UnauthorizedError) as error:
            # The Node was deleted or replaced after we read it. Or a kept connection went on
            # presenting a certificate that was renewed on disk.
            if isinstance(error, UnauthorizedError) and not kept:
                raise
        return self._publish(labels)

    def _publish(self, labels: Mapping[str, str]) -> Outcome:
        try:
            api = self._connection.api()
            seen = self._watch.seen if self._watch else None
            if seen and self._believed and seen.version >= self._believed.version:
                self._believed = seen  # and not what it showed before our last answer
            before = self._believed or api.get()
            for key in self._contention.found(before, time.monotonic()):
                who = ", ".join(sorted(before.others.get(key, ()))) or "somebody"
                text = "%s changes label %s of Node %s back each time; left alone for an hour"
                extra = event(LABEL_CONTENDED, api.name, [key])
                log.warning(text, who, key, api.name, extra=extra)
            left = self._contention.left_alone(time.monotonic())
            wanted = {key: value for key, value in labels.items() if key not in left}
            keys = {*wanted, *patch.unwanted(wanted, before, self._contention.ours, left)}
            self._contention.sending(wanted, keys)
            outcome = self._send(before, wanted, keys)
            self._contention.uid = before.uid
            return replace(outcome, left_alone=left)
        except NodeError as error:
            self._believed = None
            if not isinstance(error, RefusedError):
                self.close()
            raise
        finally:
            if self._changed and not self._watch and self._connection.opened:
                self._watch = NodeWatch(self._connection.api(), self._changed)

    def _send(self, before: Observed, wanted: Mapping[str, str], keys: patch.Keys) -> Outcome:
        """Send what it takes until the server's answer shows it.

        `keys` are wanted, or ours to take off. One that somebody came to hold as well just before
        our apply stays behind it, and is taken off after it.
        """
        api, after = self._connection.api(), before
        for _ in range(PASSES):
            for request in patch.plan(api.name, wanted, after, keys):
                after = api.send(request)
        self._believed = after
        true = {key: value for key, value in wanted.items() if after.labels.get(key) == value}
        changes = patch.changed(before.labels, after.labels, keys)
        return Outcome(f"Node {api.name}", changes, true, api.name)

    def resync(self) -> None:
        """While the watch is up, it tells, and nothing is sent to know; else the Node is read."""
        if not (self._watch and self._watch.seen):
            self._believed = None

    def tell(self, reason: str, message: str) -> None:
        """By a connection that is there: none is made for it, which could take long."""
        if self._tells and (api := self._connection.opened):
            try:
                api.create_event(node_event(api.name, reason, message))
            except NodeError as error:
                log.debug("no Event: %s", error)

    def clear(self, labels: Mapping[str, str]) -> Outcome:
        """Take our labels off the Node, and no other's; `labels` are what we would set now."""
        there = self._connection.api().get()
        return self._send(there, {}, patch.clearable(labels, there))

    def outdated(self) -> bool:
        return self._connection.files.changed()

    def close(self) -> None:
        if self._watch:
            self._watch.close()
        self._connection.close()
        self._watch = self._believed = None


class Contention:
    """Which labels somebody else sets again each time: those are left alone for a while. Pure.

    Two controllers that each put a label right would fight for ever, and every round moves Pods. A
    person with kubectl who does not know of us fights, too, but gives up: hence the second chance.
    """

    def __init__(self) -> None:
        self.ours: Mapping[str, str | None] = {}  # what we set, and None for what we took off
        self.uid: str | None = None  # of the Node that has answered to all of it
        self._lost: dict[str, list[float]] = {}  # when, the last time at the end

    def sending(self, labels: Mapping[str, str], keys: patch.Keys) -> None:
        """Ours from now on, as an answer may be lost: these labels, and the other `keys`, to go."""
        gone = {key: None for key in (*self.ours, *keys) if key not in labels}
        self.ours = dict([*gone.items(), *labels.items()][-OURS_MAX:])

    def found(self, node: Observed, now: float) -> list[str]:
        """What a publication finds on the Node; the keys that are left alone from now on."""
        answered, self.uid = self.uid, None
        if node.uid != answered:  # made anew: it has lost all labels, and nobody fights over them
            return []
        left = self.left_alone(now)
        lost = [k for k, v in self.ours.items() if node.labels.get(k) != v and k not in left]
        for key in lost:
            self._lost[key] = [*(at for at in self._lost.get(key, ()) if now - at < WINDOW), now]
        return sorted(key for key in lost if len(self._lost[key]) > TIMES)

    def left_alone(self, now: float) -> tuple[str, ...]:
        """The keys that are left alone at this moment."""
        lost = self._lost.items()
        return tuple(sorted(k for k, at in lost if len(at) > TIMES and now - at[-1] < LEAVE))


def node_event(node: str, reason: str, message: str) -> dict[str, Any]:
    """The core/v1 Event of a Node, now, which `kubectl describe node` shows.

    A Node's own credential may create it (Kubernetes documentation, "Using Node Authorization").
    kubectl asks for those whose uid is the Node's name, as a kubelet writes it; older versions for
    no others. The namespace is that of objects without one.
    """
    text = printable(message)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{node}-", "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
        "type": "Normal",
        "reason": reason,
        "message": text if len(text) <= MESSAGE_MAX else f"{text[: MESSAGE_MAX - 4]} ...",
        "source": {"component": "dtagent", "host": node},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
