"""Where the labels go: onto the Node, or in a dry run onto the terminal."""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TextIO

import yaml

from dtagent.cluster import node, patch
from dtagent.cluster.patch import Observed
from dtagent.cluster.watch import NodeWatch
from dtagent.config.settings import NodeTable
from dtagent.errors import (
    BusyError,
    ForbiddenError,
    NodeError,
    NodeMissingError,
    NodeReplacedError,
    RejectedError,
    UnauthorizedError,
)
from dtagent.host.log import LABEL_CONTENDED, event
from dtagent.publish.contention import Contention

# What a server that is well says: nothing is gained by connecting anew, and a watch is lost.
GOOD_CONNECTION = (NodeMissingError, NodeReplacedError, ForbiddenError, RejectedError, BusyError)

PASSES = 2  # how often an answer may show that something is still to be done

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """Where the labels are now, and what had to change for it: `+key=value`, `-key`."""

    place: str
    changes: list[str]
    node: str = ""
    left_alone: tuple[str, ...] = ()


class Publisher(Protocol):
    """Something that labels can be made true on."""

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        """Make exactly these our labels there. A DtagentError says why that was not possible.

        With `resync` what is there is read first; without, it is taken to be as we left it.
        """

    def drifted(self, labels: Mapping[str, str]) -> bool:
        """Whether these may not be our labels there any more."""

    def close(self) -> None:
        """Let go of every connection."""


class NodePublisher:
    """Keeps the labels of one Kubernetes Node; connects when it has to.

    With `changed` the Node is watched once it has been reached, and `changed` called from another
    thread when it may not be what it was.
    """

    def __init__(self, settings: NodeTable, changed: Callable[[], None] | None = None) -> None:
        self._settings, self._changed = settings, changed
        self._api: node.NodeApi | None = None
        self._watch: NodeWatch | None = None
        self._observed: Observed | None = None
        self._contention = Contention()
        self._choice = ""

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        fresh = self._api is None
        try:
            return self._publish(labels, resync)
        except NodeReplacedError:
            pass  # deleted or replaced after we read it: read it again
        except UnauthorizedError:
            if fresh:
                raise
            # A kept connection goes on presenting a certificate that was renewed on disk.
        return self._publish(labels, resync=True)

    def _publish(self, labels: Mapping[str, str], resync: bool) -> Outcome:
        try:
            return self._make_true(self._connected(), labels, resync)
        except GOOD_CONNECTION:
            self._observed = None
            raise
        except NodeError:
            self.close()
            raise
        finally:
            self._follow()

    def _make_true(self, api: node.NodeApi, labels: Mapping[str, str], resync: bool) -> Outcome:
        if resync or self._observed is None:
            self._observed = api.get()
            self._see_contention(api.name, self._observed)
        before = self._observed
        wanted, left_alone = self._split(labels)
        keys = {*wanted, *patch.unwanted(wanted, before, self._contention.ours, left_alone)}
        after = self._send(api, wanted, keys, left_alone)
        self._contention.published(wanted, after.uid)
        changes = patch.changes(keys, before, after)
        return Outcome(f"Node {api.name}", changes, api.name, left_alone)

    def _send(
        self,
        api: node.NodeApi,
        wanted: Mapping[str, str],
        keys: Collection[str],
        left_alone: Collection[str] = (),
    ) -> Observed:
        """Send what it takes until the server's answer shows it; the Node as it is then.

        `keys` are wanted, or ours to take off. One that somebody came to hold as well just before
        our apply stays behind it, and is taken off after it.
        """
        assert self._observed is not None
        for _ in range(PASSES):
            requests = patch.plan(api.name, wanted, self._observed, keys, left_alone)
            if not requests:
                break
            self._contention.sending(keys)
            for request in requests:
                self._observed = api.send(request)
        return self._observed

    def _see_contention(self, name: str, observed: Observed) -> None:
        for key in self._contention.observed(observed, time.monotonic()):
            log.warning(
                "%s changes label %s of Node %s back each time; left alone for an hour",
                ", ".join(sorted(observed.others.get(key, ()))) or "somebody",
                key, name, extra=event(LABEL_CONTENDED, name, [key]),
            )  # fmt: skip

    def _split(self, labels: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
        """The labels that are ours to set, and the keys that are left alone."""
        left = self._contention.left(time.monotonic())
        return {key: value for key, value in labels.items() if key not in left}, tuple(left)

    def drifted(self, labels: Mapping[str, str]) -> bool:
        """Asks the watch alone: while that is up, nothing need be sent to know."""
        if not (self._api and self._watch and self._watch.up and self._watch.seen):
            return True
        wanted, left_alone = self._split(labels)
        ours = self._contention.ours
        return bool(patch.plan(self._api.name, wanted, self._watch.seen, ours, left_alone))

    def _follow(self) -> None:
        if self._changed and self._api and not self._watch:
            self._watch = NodeWatch(self._api, self._changed)

    def clear(self, labels: Mapping[str, str]) -> Outcome:
        """Take our labels off the Node, and no other's; `labels` are what we would set now."""
        api = self._connected()
        self._observed = before = api.get()
        keys = patch.clearable(labels, before)
        after = self._send(api, {}, keys, left_alone=before.labels.keys() - keys)
        return Outcome(f"Node {api.name}", patch.changes(keys, before, after))

    def _connected(self) -> node.NodeApi:
        if self._api is None:
            self._api = api = node.connect(self._settings)
            choice = f"Node {api.name} at {api.server}, by {api.source}"
            if choice != self._choice:
                log.info("%s", choice, extra={"DTAGENT_NODE": api.name})
            self._choice = choice
        return self._api

    def close(self) -> None:
        if self._watch:
            self._watch.close()
        if self._api:
            self._api.close()
        self._api = self._watch = self._observed = None


class DryRun(NodePublisher):
    """Prints each patch in place of sending it; with no server in reach, for an empty Node."""

    def __init__(self, settings: NodeTable, out: TextIO = sys.stdout) -> None:
        super().__init__(settings)
        self._out = out
        self._printed = ""

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        try:
            api = self._connected()
            name, observed, why = api.name, api.get(), ""
        except NodeError as error:
            self.close()
            name, observed = self._settings.name or socket.gethostname().lower(), Observed()
            why = f"# compared with an empty Node: {error}\n"
        patches = patch.plan(name, labels, observed)
        text = why + ("\n".join(_shown(name, each) for each in patches) or "# nothing to change\n")
        if text != self._printed:
            print(text, file=self._out, flush=True)
            self._printed = text
        return Outcome(f"dry run for Node {name}", [])


def _shown(name: str, request: patch.Patch) -> str:
    return (
        f"PATCH /api/v1/nodes/{name}?{request.query}\n"
        f"Content-Type: {request.content_type}\n\n{yaml.safe_dump(request.body)}"
    )
