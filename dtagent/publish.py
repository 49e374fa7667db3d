"""Where the labels go: onto the Node, or in a dry run onto the terminal."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TextIO

import yaml

from dtagent import node, patch
from dtagent.errors import NodeError, NodeReplacedError, UnauthorizedError
from dtagent.patch import Observed
from dtagent.settings import NodeTable


@dataclass(frozen=True)
class Outcome:
    """Where the labels are now, and what had to change for it: `+key=value`, `-key`."""

    place: str
    changes: list[str]


class Publisher(Protocol):
    """Something that labels can be made true on."""

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        """Make exactly these our labels there. A DtagentError says why that was not possible.

        With `resync` what is there is read first; without, it is taken to be as we left it.
        """

    def close(self) -> None:
        """Let go of every connection."""


class NodePublisher:
    """Keeps the labels of one Kubernetes Node; connects when it has to."""

    def __init__(self, settings: NodeTable) -> None:
        self._settings = settings
        self._api: node.NodeApi | None = None
        self._observed: Observed | None = None

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
            api = self._connected()
            if resync or self._observed is None:
                self._observed = api.get()
            observed = self._observed
            for request in patch.plan(api.name, labels, observed):
                self._observed = api.send(request)
        except NodeError:
            self.close()
            raise
        return Outcome(f"Node {api.name}", patch.changes(labels, observed))

    def clear(self) -> Outcome:
        """Take our labels off the Node, and no other's."""
        api = self._connected()
        observed = api.get()
        for request in patch.clear(api.name, observed):
            api.send(request)
        return Outcome(f"Node {api.name}", [f"-{key}" for key in sorted(observed.owned)])

    def _connected(self) -> node.NodeApi:
        self._api = self._api or node.connect(self._settings)
        return self._api

    def close(self) -> None:
        if self._api:
            self._api.close()
        self._api = self._observed = None


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
