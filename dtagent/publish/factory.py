"""Which publisher the settings ask for."""

import logging
import os
from collections.abc import Callable

from dtagent.config.settings import Settings
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
    if settings.publish == "nfd":
        return NfdPublisher(settings)
    file = settings.nfd.features_file
    if os.path.lexists(file):
        text = '%s stays from publish = "nfd", and nfd-master goes on publishing it: remove it'
        log.warning(text, file)
    return NodePublisher(settings.node, changed)
