"""The way to the own Node, made when it is first needed and anew when it has been closed."""

from __future__ import annotations

import logging
import time

from dtagent.cluster import kubeconfigs, node
from dtagent.config.settings import NodeTable

CLOCK_STEP = 1.0  # seconds that the wall clock may drift from the monotonic one between two looks

log = logging.getLogger(__name__)


class Connection:
    """One NodeApi at a time, by the first kubeconfig that authenticates."""

    def __init__(self, settings: NodeTable) -> None:
        self.settings = settings
        self._api: node.NodeApi | None = None
        self._made_of: tuple[object, float] | None = None
        self._choice = ""

    @property
    def is_open(self) -> bool:
        return self._api is not None

    def api(self) -> node.NodeApi:
        """The Node; a NodeError says why it cannot be reached."""
        if self._api is None:
            self._api = api = node.connect(self.settings)
            choice = f"Node {api.name} at {api.server}, by {api.source}"
            if choice != self._choice:
                log.info("%s", choice, extra={"DTAGENT_NODE": api.name})
            self._choice = choice
        return self._api

    def outdated(self) -> bool:
        """Whether kubeconfigs, the files they name or the wall clock changed since asked last.

        A board without a clock boots in the past, where every certificate is not yet valid.
        """
        before = self._made_of
        files, offset = kubeconfigs.fingerprint(self.settings.kubeconfig), clock_offset()
        self._made_of = files, offset
        return before is not None and (files != before[0] or abs(offset - before[1]) > CLOCK_STEP)

    def close(self) -> None:
        """Drop it, and with it the certificate that it presents."""
        if self._api:
            self._api.close()
        self._api = None


def clock_offset() -> float:
    """Seconds of the wall clock beyond the monotonic one: they part only when somebody sets it."""
    return time.time() - time.monotonic()
