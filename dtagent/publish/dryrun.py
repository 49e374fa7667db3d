"""The patches, printed in place of being sent."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import TextIO

import yaml

from dtagent.cluster import patch
from dtagent.cluster.connection import Connection
from dtagent.cluster.patch import Observed, Patch
from dtagent.config.settings import NodeTable
from dtagent.errors import NodeError
from dtagent.publish.publisher import Outcome, Publisher


class DryRun(Publisher):
    """Prints each patch when it is another than before; with no server, for an empty Node."""

    def __init__(self, settings: NodeTable, out: TextIO | None = None) -> None:
        self._connection, self._out = Connection(settings), out
        self._printed = ""

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        try:
            api = self._connection.api()
            name, observed, why = api.name, api.get(), ""
        except NodeError as error:
            self.close()
            name = self._connection.settings.name or socket.gethostname().lower()
            observed, why = Observed(), f"# compared with an empty Node: {error}\n"
        patches = patch.plan(name, labels, observed)
        text = why + ("\n".join(_shown(name, each) for each in patches) or "# nothing to change\n")
        outcome = Outcome(f"dry run for Node {name}", [], labels)
        if text == self._printed:
            return outcome
        print(text, file=self._out, flush=True)
        self._printed = text
        keys = {*labels, *patch.unwanted(labels, observed)}
        return replace(outcome, changes=patch.changes(keys, observed, Observed(labels=labels)))

    def outdated(self) -> bool:
        return self._connection.outdated()

    def close(self) -> None:
        self._connection.close()


def _shown(name: str, request: Patch) -> str:
    return (
        f"PATCH /api/v1/nodes/{name}?{request.query}\n"
        f"Content-Type: {request.content_type}\n\n{yaml.safe_dump(request.body)}"
    )
