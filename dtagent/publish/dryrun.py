"""The patches, printed in place of being sent."""

import socket
from collections.abc import Mapping
from contextlib import closing

import yaml

from dtagent.cluster import patch
from dtagent.cluster.connection import Connection
from dtagent.cluster.patch import Observed
from dtagent.config.settings import NodeTable
from dtagent.errors import NodeError
from dtagent.publish.publisher import Outcome, Publisher


class DryRun(Publisher):
    """Prints each patch when it is another than before; with no server, for an empty Node."""

    def __init__(self, settings: NodeTable) -> None:
        self._connection, self._printed = Connection(settings), ""

    def publish(self, labels: Mapping[str, str]) -> Outcome:
        with closing(self._connection) as connection:
            try:
                api = connection.api()
                name, before, text = api.name, api.get(), ""
            except NodeError as error:
                name = connection.settings.name or socket.gethostname().lower()
                before, text = Observed(), f"# compared with an empty Node: {error}\n"
        keys = {*labels, *patch.unwanted(labels, before)}
        text += "\n".join(
            f"PATCH /api/v1/nodes/{name}?{each.query}\n"
            f"Content-Type: {each.content_type}\n\n{yaml.safe_dump(each.body)}"
            for each in patch.plan(name, labels, before, keys)
        ) or "# nothing to change\n"  # fmt: skip
        changes: list[str] = []
        if text != self._printed:
            print(text, flush=True)
            changes = patch.changed(before.labels, labels, keys)
        self._printed = text
        return Outcome(f"dry run for Node {name}", changes, labels)
