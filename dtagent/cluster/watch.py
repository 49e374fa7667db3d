"""The Node as a stream of "it may not be what it was".

A watch without a resourceVersion begins with the Node as it is, so nothing is lost between two of
them. Bookmarks come about once a minute; a link that is silent for longer is dead, whatever TCP
says (k3s's local load balancer hides that). Kubernetes documentation, "Efficient detection of
changes".
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from dtagent.cluster.backoff import Backoff
from dtagent.cluster.node import NodeApi
from dtagent.cluster.patch import Observed
from dtagent.errors import BusyError, NodeError, RefusedError

LIFETIME = (1800.0, 3600.0)  # seconds that one watch lasts; jittered
SILENCE = 150.0  # seconds without a bookmark, on a link that is still good
LASTED = 10.0  # seconds: one that lived so long was cut, by an idle time-out say, and is no failure

log = logging.getLogger(__name__)


class NodeWatch:
    """Calls `changed` from a thread of its own; `seen` is None without Node or watch."""

    def __init__(self, api: NodeApi, changed: Callable[[], None]) -> None:
        self._api, self._changed = api, changed
        self.seen: Observed | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        backoff, refusals = Backoff(), 0
        while not self._closed.is_set():
            start = time.monotonic()
            failure = self._watch()
            if self._closed.is_set():
                return
            if time.monotonic() - start > LASTED:
                backoff.reset()
            refused = isinstance(failure, RefusedError) and not isinstance(failure, BusyError)
            refusals = refusals + 1 if refused else 0
            if refusals == 2:  # a server that starts refuses once, and then knows us
                log.warning("%s; what others do to the Node is seen at each resync", failure)
            elif failure and not isinstance(failure, RefusedError):
                self._changed()  # whoever asks the server learns what is wrong with it
            self._closed.wait(backoff.delay(failure))

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
