"""What the Node is told of, as Events that `kubectl describe node` shows: gathered, and rarely.

A core/v1 Event, which a Node's own credential may create (Kubernetes documentation, "Using Node
Authorization"). Servers drop an Event after an hour (kube-apiserver, --event-ttl).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from dtagent.names import printable
from dtagent.overlays.settle import LAST

GATHER = LAST + 5.0  # seconds from a change to its Event: by then the overlay has its label, too
INTERVAL = 60.0  # seconds at least between two Events
MESSAGE_MAX = 1024  # characters; what the newer API for Events allows for its `note`


class NodeEvents:
    """One Event that is still to be sent, at `due`; what comes meanwhile is told with it."""

    def __init__(self) -> None:
        self._changes: dict[str, str] = {}  # by key, the last one
        self._causes: dict[str, None] = {}  # each once, in their order
        self._sent, self.due = -math.inf, math.inf

    def add(self, now: float, cause: str, changes: Sequence[str] = ()) -> None:
        """What happened, and which labels (`+key=value`, `-key`) it added or removed."""
        self._causes[cause] = None
        self._changes |= {change[1:].partition("=")[0]: change for change in changes}
        self.due = min(self.due, max(now + GATHER, self._sent + INTERVAL))

    def take(self, now: float) -> tuple[str, str]:
        """Reason and message of the Event that is due."""
        reason = "LabelsChanged" if self._changes else "OutageEnded"
        text = ", ".join(self._causes)
        if self._changes:
            text += ": " + ", ".join(self._changes.values())
        self._changes, self._causes, self._sent, self.due = {}, {}, now, math.inf
        return reason, text


def event(node: str, reason: str, message: str) -> dict[str, Any]:
    """The Event of a Node, now.

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
        "reportingComponent": "dtagent",
        "reportingInstance": node,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
