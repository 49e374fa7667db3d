"""Which publisher the settings ask for, and the one that prints in place of sending."""

import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import closing

import yaml

from dtagent.cluster import patch
from dtagent.cluster.connection import Connection
from dtagent.cluster.patch import Observed
from dtagent.config.settings import NodeTable, Settings
from dtagent.errors import NodeError
from dtagent.publish.nfd import NfdPublisher
from dtagent.publish.node import NodePublisher
from dtagent.publish.reconcile import Outcome, Publisher

log = logging.getLogger(__name__)


def publisher(
    settings: Settings, changed: Callable[[], None] | None = None, dry_run: bool = False
) -> Publisher:
    """`changed` is called from another thread when the labels may not be as they were left."""
    if dry_run:
        return DryRun(settings.node)
    if settings.publish == "nfd":
        return NfdPublisher(settings)
    if os.path.lexists(file := settings.nfd.features_file):
        text = '%s stays from publish = "nfd", and nfd-master goes on publishing it: remove it'
        log.warning(text, file)
    return NodePublisher(settings.node, changed)


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
