"""How long to wait before asking a server again. Whoever waits for one has a Backoff of its own."""

import random

from dtagent.errors import BusyError

FIRST, MAX = 1.0, 60.0  # seconds: the first bound of a delay, and the last


class Backoff:
    """Random delays, so that a fleet does not come back all at once; their bound doubles."""

    def __init__(self) -> None:
        self._bound = FIRST

    def delay(self, error: Exception | None = None) -> float:
        """Seconds until the next attempt; what the server asked for (Retry-After) goes before."""
        delay = random.uniform(0.1, self._bound)
        self._bound = min(2 * self._bound, MAX)
        return max(delay, error.retry_after) if isinstance(error, BusyError) else delay

    def reset(self) -> None:
        """Short again: an attempt succeeded, or there is a reason why the next one may."""
        self._bound = FIRST
