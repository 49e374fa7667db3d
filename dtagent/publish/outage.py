"""An outage of what is published to: told when it begins and when it is over, waited out."""

from __future__ import annotations

import logging
import time

from dtagent.cluster.backoff import Backoff
from dtagent.errors import DtagentError
from dtagent.host.log import NOTICE, OUTAGE_BEGAN, OUTAGE_ENDED, event

log = logging.getLogger(__name__)


class Outage:
    """From the first failure to the next success; false while there is none."""

    def __init__(self) -> None:
        self.backoff = Backoff()
        self.since = ""
        self.kind: type[DtagentError] | None = None
        self._warned: type[DtagentError] | None = None
        self._node = ""

    def __bool__(self) -> bool:
        return self._warned is not None

    def failed(self, error: DtagentError) -> float:
        """An attempt failed; seconds until the next one.

        One warning when an outage begins, and one when its kind changes for more than a moment: a
        server that starts up gives many answers, each once.
        """
        if not self:
            self.since = time.strftime("%Y-%m-%d %H:%M:%S")
        kind, before, self.kind = type(error), self.kind, type(error)
        if self._warned is None or self._warned is not kind is before:
            self._warned = kind
            extra = event(OUTAGE_BEGAN, self._node)
            log.warning("%s; trying again until it works", error, extra=extra)
        else:
            log.debug("%s", error)
        return self.backoff.delay(error)

    def ended(self, place: str, node: str = "") -> None:
        """An attempt succeeded."""
        self._node = node
        if self:
            log.log(NOTICE, "%s is in reach again", place, extra=event(OUTAGE_ENDED, node))
        self._warned = self.kind = None
        self.backoff.reset()
