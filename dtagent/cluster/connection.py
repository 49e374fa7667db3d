"""The way to the own Node, made when it is first needed and anew when it has been closed.

The own Node is never another's, whatever the credential could do.
"""

import logging
import re
import socket
from pathlib import Path
from urllib.parse import quote

from dtagent import errors
from dtagent.cluster import credentials
from dtagent.cluster.node import NodeApi
from dtagent.cluster.transport import Transport, table
from dtagent.config.settings import NodeTable
from dtagent.host.log import event

_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_NODE_USER = "system:node:"
# Kubernetes 1.24 to 1.26 serve no such review, and authorize before they look: 403 and not 404. The
# refusal names the user; no document promises its words, but those releases will not change.
_REFUSED = re.compile(r': User "([^"]+)" cannot create resource "selfsubjectreviews"')

log = logging.getLogger(__name__)


class Connection:
    """One NodeApi at a time, by the first kubeconfig that authenticates."""

    def __init__(self, settings: NodeTable, host: Path = Path("/")) -> None:
        self.settings, self._host, self._choice = settings, host, ""
        self.files = credentials.Files()  # what the last attempt to connect depended on
        self.opened: NodeApi | None = None

    def api(self) -> NodeApi:
        """The Node; a NodeError says why it cannot be reached."""
        if self.opened:
            return self.opened
        self.files, failures = credentials.Files(), list[errors.NodeError]()
        for source in credentials.find(self.settings.kubeconfig, self._host, self.files):
            try:
                self.opened = self._try(source)
                return self.opened
            except errors.NodeError as error:
                log.debug("%s: %s", source, error)
                failures.append(error)
        if not failures:
            why = "this host runs no known Kubernetes, or it is not up yet"
            remedy = "[node] kubeconfig names one"
            raise errors.CredentialsError(f"no kubeconfig of a node found: {why}; {remedy}")
        first = failures[0]  # whose kind stands
        first.args = ("; ".join(map(str, failures)),)
        raise first

    def _try(self, source: Path) -> NodeApi:
        loaded = credentials.load(source, self.files)
        transport = Transport(loaded)
        try:
            name = _node_name(transport, self.settings.name, source, self._host)
        except BaseException:
            transport.close()
            raise
        choice = f"Node {name} at {loaded.server}, by {source}"
        if choice != self._choice:
            log.info("%s", choice, extra=event("", name))
        self._choice = choice
        return NodeApi(transport, loaded, name)

    def close(self) -> None:
        """Drop it, and with it the certificate that it presents."""
        if self.opened:
            self.opened.close()
        self.opened = None


def _node_name(transport: Transport, configured: str, source: Path, host: Path) -> str:
    """The configured name, else the credential's own, else this host's if it is the same boot.

    Whose the credential is, a SelfSubjectReview says (Kubernetes 1.28).
    """
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = transport.request("POST", _REVIEW, review, {"Content-Type": "application/json"})
        user = str(table(answer, "status", "userInfo").get("username", ""))
    except errors.UnauthorizedError as error:
        text = f"{source}: the server does not accept this credential (401)"
        why = "it has expired, or is another cluster's"
        raise errors.UnauthorizedError(f"{text}: {why}") from error
    except (errors.NodeMissingError, errors.ForbiddenError) as error:
        refused = _REFUSED.search(str(error))  # else it may be a server that starts
        user = refused[1] if refused else ""
    own = user.removeprefix(_NODE_USER) if user.startswith(_NODE_USER) else ""
    if configured and own and configured != own:
        text = f"{source} is the credential of Node {own}, and [node] name says {configured}"
        remedy = "leave the name empty, or give the kubeconfig of that Node"
        raise errors.CredentialsError(f"{text}; {remedy}")
    return configured or own or _same_boot(transport, user, host)


def _same_boot(transport: Transport, user: str, host: Path) -> str:
    """The host's name, if that Node's kubelet runs on this very boot of this very machine.

    An administrator's kubeconfig could patch any Node; this keeps it from the wrong one.
    """
    name = socket.gethostname().lower()
    remedy = "set [node] name, or give the node's own kubeconfig"
    try:
        node = transport.request("GET", f"/api/v1/nodes/{quote(name, safe='')}")
        boot = (host / "proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (errors.NodeMissingError, errors.ForbiddenError) as error:
        raise type(error)(f"{error}; {remedy}") from error
    except OSError as error:
        raise errors.CredentialsError(f"this host's boot_id: {error.strerror}; {remedy}") from error
    if table(node, "status", "nodeInfo").get("bootID") != boot:
        text = f"the credential is {user or 'somebody'}'s and Node {name} is not this host"
        raise errors.CredentialsError(f"{text}; {remedy}")
    return name
