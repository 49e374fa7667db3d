"""The way to the own Node, made when it is first needed and anew when it has been closed."""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path

from dtagent.cluster import credentials, kubeconfigs
from dtagent.cluster.identity import node_name
from dtagent.cluster.node import NodeApi
from dtagent.cluster.transport import Transport
from dtagent.config.settings import NodeTable
from dtagent.errors import CredentialsError, NodeError
from dtagent.host.log import KEY_EXPOSED, event

CLOCK_STEP = 1.0  # seconds that the wall clock may drift from the monotonic one between two looks

log = logging.getLogger(__name__)


class Connection:
    """One NodeApi at a time, by the first kubeconfig that authenticates."""

    def __init__(self, settings: NodeTable) -> None:
        self.settings = settings
        self._api: NodeApi | None = None
        self._made_of: tuple[object, float] | None = None
        self._choice = ""

    @property
    def is_open(self) -> bool:
        return self._api is not None

    def api(self) -> NodeApi:
        """The Node; a NodeError says why it cannot be reached."""
        if self._api is None:
            self._api = api = connect(self.settings)
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


def connect(settings: NodeTable, host: Path = Path("/")) -> NodeApi:
    """Connect by the first kubeconfig that authenticates, to the Node that is this host's.

    Raises the error of the only kubeconfig, or of the last one tried.
    """
    sources = kubeconfigs.find(settings.kubeconfig, host)
    if not sources:
        raise CredentialsError(
            "no kubeconfig of a node found: this host runs no known Kubernetes, or it is not up "
            "yet; [node] kubeconfig names one"
        )
    failures: list[NodeError] = []
    for source in sources:
        try:
            loaded = credentials.load(source)
            transport = Transport(loaded)
            try:
                name = node_name(transport, settings.name, loaded.source, host)
            except BaseException:
                transport.close()
                raise
        except NodeError as error:
            log.debug("%s: %s", source, error)
            failures.append(error)
            continue
        if loaded.exposed:
            _warn_of_exposed(loaded.exposed)
        return NodeApi(transport, loaded, name)
    raise failures[0] if len(failures) == 1 else _sum(failures)


@functools.cache  # once, not at each connection
def _warn_of_exposed(file: Path) -> None:
    text = "%s: every user of this host can read the node's secret: chmod 600 it"
    log.warning(text, file, extra=event(KEY_EXPOSED))


def _sum(failures: list[NodeError]) -> NodeError:
    """Several kubeconfigs, none of use: all is told, and the first one's kind stands."""
    return type(failures[0])("; ".join(str(failure) for failure in failures))
