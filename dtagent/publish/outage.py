"""An outage of what is published to: said once, waited out patiently, cut short by hope."""

from __future__ import annotations

import logging
import random
import time

from dtagent.cluster import kubeconfigs
from dtagent.errors import BusyError, DtagentError, NodeMissingError
from dtagent.host.log import NOTICE, OUTAGE_BEGAN, OUTAGE_ENDED, event

BACKOFF_FIRST, BACKOFF_MAX = 1.0, 60.0  # seconds
CLOCK_STEP = 1.0  # seconds that the wall clock may drift from the monotonic one between looks

log = logging.getLogger(__name__)


class Outage:
    """From the first failure to the next success; false while there is none."""

    def __init__(self, kubeconfig: str = "") -> None:
        self.kubeconfig = kubeconfig
        self._warned: type[DtagentError] | None = None
        self._last: type[DtagentError] | None = None
        self._attempts = 0
        self._signs = self._look()
        self._node = ""
        self.since = ""

    def __bool__(self) -> bool:
        return self._warned is not None

    def attempt(self) -> None:
        """Keep what there is to hope from; call it before each attempt."""
        self._signs = self._look()

    def failed(self, error: DtagentError) -> float:
        """An attempt failed; seconds until the next one.

        One warning when an outage begins, and one when its kind changes for more than a moment: a
        server that starts up gives many answers, each once.
        """
        if not self:
            self.since = time.strftime("%Y-%m-%d %H:%M:%S")
        kind, before, self._last = type(error), self._last, type(error)
        if self._warned is None or self._warned is not kind is before:
            self._warned = kind
            extra = event(OUTAGE_BEGAN, self._node)
            log.warning("%s; trying again until it works", error, extra=extra)
        else:
            log.debug("%s", error)
        longest = min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** min(self._attempts, 10))
        self._attempts += 1
        asked = error.retry_after if isinstance(error, BusyError) else 0.0
        return max(asked, random.uniform(0.1, longest))

    def ended(self, place: str, node: str = "") -> None:
        """An attempt succeeded."""
        self._node = node
        if self:
            log.log(NOTICE, "%s is in reach again", place, extra=event(OUTAGE_ENDED, node))
        self._warned = self._last = None
        self._attempts = 0

    @property
    def node_missing(self) -> bool:
        """Whether all that is missing is the Node itself."""
        return self._last is NodeMissingError

    def hope(self) -> bool:
        """Whether the credentials or the wall clock have changed since the last attempt.

        A board without a clock boots in the past, where every certificate is not yet valid.
        """
        files, offset = self._look()
        files_before, offset_before = self._signs
        hope = files != files_before or abs(offset - offset_before) > CLOCK_STEP
        if hope:
            self._attempts = 0
        return hope

    def _look(self) -> tuple[tuple[object, ...], float]:
        return kubeconfigs.fingerprint(self.kubeconfig), clock_offset()


def clock_offset() -> float:
    """Seconds of the wall clock beyond the monotonic one: they part only when somebody sets it."""
    return time.time() - time.monotonic()
