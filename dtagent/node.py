"""One Kubernetes Node over the API: which it is, read it, patch it.

Every failure comes out as one of the kinds in errors.py. Only metadata is asked for, so that a
Node's images and conditions are never sent to us (Kubernetes API concepts, "Partial objects").
"""

from __future__ import annotations

import functools
import logging
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from dtagent import credentials, kubeconfigs
from dtagent.answers import call, table
from dtagent.errors import (
    CredentialsError,
    ForbiddenError,
    NodeError,
    NodeMissingError,
    ServerError,
    UnauthorizedError,
)
from dtagent.log import KEY_EXPOSED, event
from dtagent.patch import Observed, Patch
from dtagent.settings import NodeTable
from dtagent.transport import Transport

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_NODE_USER = "system:node:"

# Kubernetes 1.24 to 1.26 serve no such review, and authorize before they look: 403 and not 404. The
# refusal names the user; no document promises its words, but those releases will not change.
_REFUSED = re.compile(r': User "([^"]+)" cannot create resource "selfsubjectreviews"')

log = logging.getLogger(__name__)


class NodeApi:
    """A connection that may read and patch the Node called `name`."""

    def __init__(self, transport: Transport, loaded: credentials.Credentials, name: str) -> None:
        self.name = name
        self.source, self.server = loaded.source, loaded.server
        self._transport = transport
        self._stream = Transport(loaded)  # a watch has a connection of its own
        self._path = f"/api/v1/nodes/{quote(name, safe='')}"

    def get(self) -> Observed:
        try:
            answer = call(self._transport, "GET", self._path, headers={"Accept": METADATA})
        except NodeMissingError as error:
            raise NodeMissingError(
                f"there is no Node {self.name} (yet): a kubelet registers it, dtagent never does"
            ) from error
        return _observed(answer)

    def send(self, patch: Patch) -> Observed:
        """Send one patch; what the Node looks like after it."""
        answer = call(
            self._transport,
            "PATCH",
            f"{self._path}?{patch.query}",
            body=patch.body,
            headers={"Accept": METADATA, "Content-Type": patch.content_type},
        )
        return _observed(answer)

    @contextmanager
    def watch(self, lifetime: float, silence: float) -> Iterator[Iterator[Observed | None]]:
        """The Node as it is and at each change; None when it is deleted. See Transport.lines."""
        query = urlencode(
            {
                "watch": 1,
                "fieldSelector": f"metadata.name={self.name}",
                "allowWatchBookmarks": "true",
                "timeoutSeconds": int(lifetime),
            }
        )
        accept = {"Accept": METADATA}
        path = f"/api/v1/nodes?{query}"
        with self._stream.lines(path, accept, lifetime + silence, silence) as answers:
            yield _states(answers, self.name)

    def close(self) -> None:
        self._stream.interrupt()
        self._stream.close()
        self._transport.close()


def _states(answers: Iterator[Mapping[str, Any]], name: str) -> Iterator[Observed | None]:
    for answer in answers:
        kind, thing = answer.get("type"), answer.get("object")
        if kind == "BOOKMARK":
            continue
        if kind not in ("ADDED", "MODIFIED", "DELETED") or not isinstance(thing, dict):
            raise ServerError(f"the watch of Node {name} ended with {kind}")
        state = _observed(thing)
        if thing["metadata"].get("name") == name:
            yield None if kind == "DELETED" else state


def _observed(answer: Mapping[str, Any]) -> Observed:
    try:
        return Observed.of(answer["metadata"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ServerError("the server's answer is no Node's metadata") from error


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
                name = _node_name(transport, settings.name, loaded.source, host)
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


def _node_name(transport: Transport, configured: str, source: Path, host: Path) -> str:
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
        answer = call(transport, "POST", _REVIEW, body=review, headers=headers)
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
        node = call(transport, "GET", f"/api/v1/nodes/{quote(name, safe='')}")
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
