"""The way to the own Node, made when it is first needed and anew when it has been closed.

The own Node is never another's, whatever the credential could do.
"""

from __future__ import annotations

import functools
import logging
import re
import socket
import time
from pathlib import Path
from urllib.parse import quote

from dtagent.cluster import credentials, kubeconfigs
from dtagent.cluster.files import Files
from dtagent.cluster.node import NodeApi
from dtagent.cluster.transport import Transport, table
from dtagent.config.settings import NodeTable
from dtagent.errors import (
    CredentialsError,
    ForbiddenError,
    NodeError,
    NodeMissingError,
    UnauthorizedError,
)
from dtagent.host.log import KEY_EXPOSED, event

CLOCK_STEP = 1.0  # seconds by which the wall clock may part from the monotonic one

_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_NODE_USER = "system:node:"

# Kubernetes 1.24 to 1.26 serve no such review, and authorize before they look: 403 and not 404. The
# refusal names the user; no document promises its words, but those releases will not change.
_REFUSED = re.compile(r': User "([^"]+)" cannot create resource "selfsubjectreviews"')

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
                log.info("%s", choice, extra=event("", api.name))
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


def node_name(transport: Transport, configured: str, source: Path, host: Path) -> str:
    """The configured name, else the credential's own, else this host's if it is the same boot."""
    user = _who(transport, source)
    own = user.removeprefix(_NODE_USER) if user.startswith(_NODE_USER) else ""
    if configured and own and configured != own:
        raise CredentialsError(
            f"{source} is the credential of Node {own}, and [node] name says {configured}; "
            "leave the name empty, or give the kubeconfig of that Node"
        )
    return configured or own or _same_boot(transport, user, host)


def _who(transport: Transport, source: Path) -> str:
    """Ask the server who we are (SelfSubjectReview, Kubernetes 1.28); "" if it does not say."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        headers = {"Content-Type": "application/json"}
        answer = transport.request("POST", _REVIEW, review, headers)
    except UnauthorizedError as error:
        raise UnauthorizedError(
            f"{source}: the server does not accept this credential (401): it has expired, or is "
            "another cluster's"
        ) from error
    except NodeMissingError:
        return ""
    except ForbiddenError as error:  # an older server, or one that starts
        refused = _REFUSED.search(str(error))
        return refused[1] if refused else ""
    return str(table(answer, "status", "userInfo").get("username", ""))


def _same_boot(transport: Transport, user: str, host: Path) -> str:
    """The host's name, if that Node's kubelet runs on this very boot of this very machine.

    An administrator's kubeconfig could patch any Node; this keeps it from the wrong one.
    """
    name = socket.gethostname().lower()
    remedy = "set [node] name, or give the node's own kubeconfig"
    try:
        node = transport.request("GET", f"/api/v1/nodes/{quote(name, safe='')}")
    except (NodeMissingError, ForbiddenError) as error:
        raise type(error)(f"{error}; {remedy}") from error
    there = table(node, "status", "nodeInfo").get("bootID")
    try:
        here = (host / "proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError as error:
        raise CredentialsError(f"this host's boot_id: {error.strerror}; {remedy}") from error
    if there != here:
        raise CredentialsError(
            f"the credential is {user or 'somebody'}'s and Node {name} is not this host; {remedy}"
        )
    return name
