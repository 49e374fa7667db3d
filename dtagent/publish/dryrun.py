"""The patches, printed in place of being sent."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TextIO

import yaml

from dtagent.cluster import patch
from dtagent.cluster.connection import Connection
from dtagent.cluster.patch import Observed
from dtagent.config.settings import NodeTable
from dtagent.errors import NodeError
from dtagent.publish.publisher import Outcome, Publisher


class DryRun(Publisher):
    """Prints each patch when it is another than before; with no server, for an empty Node."""

    def __init__(self, settings: NodeTable, out: TextIO | None = None) -> None:
        self._connection: Connection = Connection(settings)
        self._out, self._printed = out, ""

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        try:
            api = self._connection.api()
            name, observed, text = api.name, api.get(), ""
        except NodeError as error:
            self.close()
            name = self._connection.settings.name or socket.gethostname().lower()
            observed, text = Observed(), f"# compared with an empty Node: {error}\n"
        keys = {*labels, *patch.unwanted(labels, observed)}
        text += "\n".join(
            f"PATCH /api/v1/nodes/{name}?{each.query}\n"
            f"Content-Type: {each.content_type}\n\n{yaml.safe_dump(each.body)}"
            for each in patch.plan(name, labels, observed, keys)
        ) or "# nothing to change\n"  # fmt: skip
        changes: list[str] = []
        if text != self._printed:
            print(text, file=self._out, flush=True)
            changes = patch.changes(keys, observed, Observed(labels=labels))
        self._printed = text
        return Outcome(f"dry run for Node {name}", changes, labels)
