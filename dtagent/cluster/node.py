"""One Kubernetes Node over the API: read it, patch it, watch it.

Every failure comes out as one of the kinds in errors.py. Only metadata is asked for, so that a
Node's images and conditions are never sent to us (Kubernetes API concepts, "Partial objects").
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from dtagent.cluster.backoff import Backoff
from dtagent.cluster.credentials import Credentials
from dtagent.cluster.patch import Observed, Patch
from dtagent.cluster.transport import Transport, table
from dtagent.errors import BusyError, NodeError, NodeMissingError, RefusedError, ServerError

EVENT_DEADLINE = 5.0  # seconds that an Event may keep the labels of a later change waiting
LIFETIME = (1800.0, 3600.0)  # seconds that one watch lasts; jittered
SILENCE = 150.0  # seconds without a bookmark, on a link that is still good
LASTED = 10.0  # seconds: one that lived so long was cut, by an idle time-out say, and is no failure
METADATA = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}

log = logging.getLogger(__name__)


class NodeApi:
    """A connection that may read and patch the Node called `name`."""

    def __init__(self, transport: Transport, loaded: Credentials, name: str) -> None:
        self.name = name
        self.source, self.server = loaded.source, loaded.server
        self._transport = transport
        self._path = f"/api/v1/nodes/{quote(name, safe='')}"

    def get(self) -> Observed:
        try:
            return Observed.of(self._transport.request("GET", self._path, headers=METADATA))
        except NodeMissingError as error:
            raise NodeMissingError(
                f"there is no Node {self.name} (yet): a kubelet registers it, dtagent never does"
            ) from error

    def send(self, patch: Patch) -> Observed:
        """Send one patch; what the Node looks like after it."""
        path, headers = f"{self._path}?{patch.query}", {"Content-Type": patch.content_type}
        answer = self._transport.request("PATCH", path, patch.body, {**METADATA, **headers})
        return Observed.of(answer)

    def create_event(self, event: Mapping[str, Any]) -> None:
        path, headers = "/api/v1/namespaces/default/events", {"Content-Type": "application/json"}
        [_] = self._transport.answers("POST", path, event, headers, EVENT_DEADLINE)

    def watch(self, lifetime: float, silence: float) -> Iterator[Observed | None]:
        """The Node as it is and at each change; None when it is deleted. See Transport.answers."""
        path = f"/api/v1/nodes?watch=1&fieldSelector=metadata.name%3D{quote(self.name, safe='')}"
        path += f"&allowWatchBookmarks=true&timeoutSeconds={lifetime:.0f}"
        most = lifetime + silence
        for answer in self._transport.answers("GET", path, None, METADATA, most, silence):
            kind, thing = answer.get("type"), table(answer, "object")
            if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
                raise ServerError(f"the watch of Node {self.name} ended with {kind}")
            state = Observed.of(thing)
            if thing["metadata"].get("name") == self.name:  # a bookmark has none
                yield None if kind == "DELETED" else state

    def close(self) -> None:
        self._transport.close()


class NodeWatch:
    """Calls `changed` from a thread of its own; `seen` is None without Node or watch.

    A watch without a resourceVersion begins with the Node as it is: nothing is lost between two.
    Bookmarks come about once a minute; a link that is silent for longer is dead, whatever TCP says
    (k3s's load balancer hides that). Kubernetes documentation, "Efficient detection of changes".
    """

    def __init__(self, api: NodeApi, changed: Callable[[], None]) -> None:
        self._api, self._changed = api, changed
        self.seen: Observed | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="node", daemon=True).start()

    def _run(self) -> None:
        backoff, refusals, delay = Backoff(), 0, 0.0
        while not self._closed.wait(delay):
            start = time.monotonic()
            failure = self._watch()
            if self._closed.is_set():
                return
            if time.monotonic() - start > LASTED:
                backoff.reset()
            delay = backoff.delay(failure)
            refused = isinstance(failure, RefusedError) and not isinstance(failure, BusyError)
            refusals = refusals + 1 if refused else 0
            if refusals == 2:  # a server that starts refuses once, and then knows us
                log.warning("%s; what others do to the Node is seen at each resync", failure)
            elif failure and not isinstance(failure, RefusedError):
                self._changed()  # whoever asks the server learns what is wrong with it

    def _watch(self) -> NodeError | None:
        """One watch to its end; the failure that ended it."""
        try:
            for state in self._api.watch(random.uniform(*LIFETIME), SILENCE):
                # A kubelet's heartbeat changes nothing that we look at, and wakes nobody.
                if state != self.seen:
                    self.seen = state
                    self._changed()
        except NodeError as error:
            log.debug("watch: %s", error)
            return error
        finally:
            self.seen = None  # of a Node that goes before the next watch, that says nothing
        return None

    def close(self) -> None:
        """End the watch; the thread ends by itself, at the latest with what it waits for."""
        self._closed.set()
