"""One Kubernetes Node over the API: read it, patch it, watch it.

Every failure comes out as one of the kinds in errors.py. Only metadata is asked for, so that a
Node's images and conditions are never sent to us (Kubernetes API concepts, "Partial objects").
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, urlencode

from dtagent.cluster.credentials import Credentials
from dtagent.cluster.patch import Observed, Patch
from dtagent.cluster.transport import Transport
from dtagent.errors import NodeMissingError, ServerError

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class NodeApi:
    """A connection that may read and patch the Node called `name`."""

    def __init__(self, transport: Transport, loaded: Credentials, name: str) -> None:
        self.name = name
        self.source, self.server = loaded.source, loaded.server
        self._transport = transport
        self._path = f"/api/v1/nodes/{quote(name, safe='')}"

    def get(self) -> Observed:
        try:
            answer = self._transport.request("GET", self._path, headers={"Accept": METADATA})
        except NodeMissingError as error:
            raise NodeMissingError(
                f"there is no Node {self.name} (yet): a kubelet registers it, dtagent never does"
            ) from error
        return Observed.of(answer)

    def send(self, patch: Patch) -> Observed:
        """Send one patch; what the Node looks like after it."""
        answer = self._transport.request(
            "PATCH",
            f"{self._path}?{patch.query}",
            body=patch.body,
            headers={"Accept": METADATA, "Content-Type": patch.content_type},
        )
        return Observed.of(answer)

    def watch(self, lifetime: float, silence: float) -> Iterator[Observed | None]:
        """The Node as it is and at each change; None when it is deleted. See Transport.lines."""
        query = urlencode(
            {
                "watch": 1,
                "fieldSelector": f"metadata.name={self.name}",
                "allowWatchBookmarks": "true",
                "timeoutSeconds": int(lifetime),
            }
        )
        path, accept = f"/api/v1/nodes?{query}", {"Accept": METADATA}
        for answer in self._transport.lines(path, accept, lifetime + silence, silence):
            kind, thing = answer.get("type"), answer.get("object")
            if kind == "BOOKMARK":
                continue
            if kind not in ("ADDED", "MODIFIED", "DELETED") or not isinstance(thing, dict):
                raise ServerError(f"the watch of Node {self.name} ended with {kind}")
            state = Observed.of(thing)
            if thing["metadata"].get("name") == self.name:
                yield None if kind == "DELETED" else state

    def close(self) -> None:
        self._transport.close()
