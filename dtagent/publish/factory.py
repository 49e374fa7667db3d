"""Which publisher the settings ask for, and what the other one has left behind."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import closing
from functools import partial

from dtagent.cluster.connection import Connection
from dtagent.config.settings import NodeTable, Settings
from dtagent.errors import NodeError
from dtagent.publish.dryrun import DryRun
from dtagent.publish.nfd import NfdPublisher
from dtagent.publish.node import NodePublisher
from dtagent.publish.publisher import Publisher

log = logging.getLogger(__name__)


def publisher(
    settings: Settings, changed: Callable[[], None] | None = None, dry_run: bool = False
) -> Publisher:
    """`changed` is called from another thread when the labels may not be as they were left."""
    if dry_run:
        return DryRun(settings.node)
    file = settings.nfd.features_file
    if settings.publish == "nfd":
        return NfdPublisher(file, partial(node_has_none_of_ours, settings.node))
    if os.path.lexists(file):
        text = '%s stays from publish = "nfd", and nfd-master goes on publishing it: remove it'
        log.warning(text, file)
    return NodePublisher(settings.node, changed)


def node_has_none_of_ours(settings: NodeTable) -> bool:
    """Warn of labels that we put on the Node ourselves once; false while nobody can say.

    Those are not nfd-master's to change.
    """
    with closing(Connection(settings)) as connection:
        try:
            api = connection.api()
            owned = api.get().owned
        except NodeError as error:
            log.debug("whether labels of ours are on the Node: %s", error)
            return False
    if owned:
        log.warning(
            "Node %s still bears labels that dtagent set itself, and nfd-master would fight over "
            "them: systemctl stop dtagent && dtagent clear && systemctl start dtagent",
            api.name,
        )
    return True
