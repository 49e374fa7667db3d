"""Which Node is this host's: never another's, whatever the credential could do."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import quote

from dtagent.cluster.transport import Transport, table
from dtagent.errors import CredentialsError, ForbiddenError, NodeMissingError, UnauthorizedError

_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_NODE_USER = "system:node:"

# Kubernetes 1.24 to 1.26 serve no such review, and authorize before they look: 403 and not 404. The
# refusal names the user; no document promises its words, but those releases will not change.
_REFUSED = re.compile(r': User "([^"]+)" cannot create resource "selfsubjectreviews"')


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
