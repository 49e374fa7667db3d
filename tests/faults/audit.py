"""What an agent may ask of the API server, held against what the server's audit log says it asked.

The way through is narrow on purpose: a kubelet's credential can do no more, and an agent that asks
for less is one that no cluster's administrator has to think about.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from tests.apiserver import ApiServer, audit
from tests.apiserver.client import Json

USER = "system:node:"
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
NODES = "/api/v1/nodes"
EVENTS = "/api/v1/namespaces/default/events"


def outside(cluster: ApiServer) -> list[str]:
    """The requests of Nodes' credentials that are none of those allowed."""
    events = audit.read(cluster.directory / audit.LOG)
    asked = {_request(event) for event in events if _request(event)[0].startswith(USER)}
    return [
        f"{user}: {verb} {uri}" for user, verb, uri in sorted(asked) if not allowed(user, verb, uri)
    ]


def _request(event: Json) -> tuple[str, str, str]:
    return event["user"].get("username", ""), event["verb"], event["requestURI"]


def allowed(user: str, verb: str, uri: str) -> bool:
    """Who am I; Events; get and patch of the own Node; watch with its own fieldSelector."""
    name = user.removeprefix(USER)
    parts = urlsplit(uri)
    if verb in ("get", "patch"):
        return parts.path == f"{NODES}/{name}"
    if verb == "watch":
        selector = parse_qs(parts.query).get("fieldSelector")
        return parts.path == NODES and selector == [f"metadata.name={name}"]
    return verb == "create" and uri in (REVIEW, EVENTS)
