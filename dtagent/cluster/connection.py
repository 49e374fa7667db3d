"""The way to the own Node, made when it is first needed and anew when it has been closed."""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path

from dtagent.cluster import credentials, kubeconfigs
from dtagent.cluster.files import Files
from dtagent.cluster.identity import node_name
from dtagent.cluster.node import NodeApi
from dtagent.cluster.transport import Transport
from dtagent.config.settings import NodeTable
from dtagent.errors import CredentialsError, NodeError
from dtagent.host.log import KEY_EXPOSED, event

CLOCK_STEP = 1.0  # seconds by which the wall clock may part from the monotonic one

log = logging.getLogger(__name__)


class Connection:
    """One NodeApi at a time, by the first kubeconfig that authenticates."""

    def __init__(self, settings: NodeTable, host: Path = Path("/")) -> None:
        self.settings, self._host = settings, host
        self._api: NodeApi | None = None
        self._files, self._clock_offset = Files(), clock_offset()
        self._choice = ""

    @property
    def is_open(self) -> bool:
        return self._api is not None

    def api(self) -> NodeApi:
        """The Node; a NodeError says why it cannot be reached."""
        if self._api is None:
            self._files, self._clock_offset = Files(), clock_offset()
            self._api = api = self._connect()
            choice = f"Node {api.name} at {api.server}, by {api.source}"
            if choice != self._choice:
                log.info("%s", choice, extra={"DTAGENT_NODE": api.name})
            self._choice = choice
        return self._api

    def _connect(self) -> NodeApi:
        sources = kubeconfigs.find(self.settings.kubeconfig, self._host, self._files)
        if not sources:
            raise CredentialsError(
                "no kubeconfig of a node found: this host runs no known Kubernetes, or it is not "
                "up yet; [node] kubeconfig names one"
            )
        failures: list[NodeError] = []
        for source in sources:
            try:
                return self._try(source)
            except NodeError as error:
                log.debug("%s: %s", source, error)
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        # All is told, and the first one's kind stands.
        raise type(failures[0])("; ".join(map(str, failures)))

    def _try(self, source: Path) -> NodeApi:
        loaded = credentials.load(source, self._files)
        transport = Transport(loaded)
        try:
            name = node_name(transport, self.settings.name, source, self._host)
        except BaseException:
            transport.close()
            raise
        if loaded.exposed:
            _warn_of_exposed(loaded.exposed)
        return NodeApi(transport, loaded, name)

    def outdated(self) -> bool:
        """Whether what the last attempt to connect was made of has changed: files, wall clock.

        A board without a clock boots in the past, where every certificate is not yet valid.
        """
        stepped = abs(clock_offset() - self._clock_offset) > CLOCK_STEP
        return stepped or self._files.changed()

    def close(self) -> None:
        """Drop it, and with it the certificate that it presents."""
        if self._api:
            self._api.close()
        self._api = None


def clock_offset() -> float:
    """Seconds of the wall clock beyond the monotonic one: they part only when somebody sets it."""
    return time.time() - time.monotonic()


@functools.cache  # once, not at each connection
def _warn_of_exposed(file: Path) -> None:
    text = "%s: every user of this host can read the node's secret: chmod 600 it"
    log.warning(text, file, extra=event(KEY_EXPOSED))
