"""When to scan after an overlay event, and when to believe that a label has gone. Pure.

In the vendor dialect the last inotify event comes before the overlay is applied, and nothing comes
after it (fs/configfs/file.c notifies on close, then the driver applies in release). So an event
starts a series of scans; and since dtoverlay takes overlays down and up again to remove one below
them, what is gone is not believed at once.
"""

import math
from collections.abc import Collection, Mapping

FIRST, GROWTH, LAST = 0.020, 1.25, 10.0  # seconds, a factor, seconds
POINTS = (0.0, *(FIRST * GROWTH**n for n in range(math.ceil(math.log(LAST / FIRST, GROWTH)))), LAST)
"""Seconds after an event at which to scan: at once, 20 ms, each a quarter as far again, 10 s.

What takes the time T to apply is seen by T and a quarter of it, so that its label has another
quarter to come within half of T.
"""
# A scan follows another after so many times what that took: half of a processor at the most goes
# into it in the second in which most overlays are applied, and a sixth in those after.
SOON, REST_SOON, REST = 1.0, 1.0, 5.0  # seconds, and two factors
DEBOUNCE = 0.3  # seconds that something must be gone
DEBOUNCE_MAX = 10.0  # seconds that a storm of events can put that off


class Settle:
    """The series of scans after the newest event or change; the first begins with the object."""

    def __init__(self, now: float) -> None:
        self._rested = now  # not before this is the next scan
        self._found: Mapping[str, str] | None = None
        self._published: Mapping[str, str] | None = None
        self._lost: dict[str, float] = {}  # labels, and since when
        self.begin(now)

    def begin(self, now: float) -> None:
        """An event: scan from the first point, and what is gone may be on its way back."""
        self._origin = now
        self.series = [now + point for point in POINTS]  # when to scan yet; empty once it is over

    def failed(self, start: float, end: float) -> None:
        """A scan came to nothing: what was gone has to be seen so from the beginning."""
        self._lost = {}
        self._advance(start, end)

    def scanned(
        self, start: float, end: float, found: Mapping[str, str], late: Collection[str] = ()
    ) -> dict[str, str]:
        """The labels to publish after a scan from `start` to `end` that found `found`.

        A new label goes out at once, or after the series if it is among `late`. A lost or lowered
        one stays as it was published until it has been so for DEBOUNCE since the last event or
        change, or for DEBOUNCE_MAX.
        """
        if self._found not in (None, found) and self.series:
            self.begin(start)
        self._found = found
        self._advance(start, end)
        before = found if self._published is None else self._published
        lost = {key: self._lost.get(key, end) for key in before if _less(found, before, key)}
        self._lost = {key: since for key, since in lost.items() if end < self._believed(since)}
        held = {key for key in found if key in late and key not in before and self.series}
        kept = {key: before[key] for key in self._lost}
        self._published = {key: found[key] for key in found if key not in held} | kept
        return dict(self._published)

    def _advance(self, start: float, end: float) -> None:
        factor = REST_SOON if start < self._origin + SOON else REST
        self._rested = end + factor * (end - start)
        self.series = [at for at in self.series if at > start]

    def _believed(self, since: float) -> float:
        """When to believe a loss."""
        return min(max(since, self._origin) + DEBOUNCE, since + DEBOUNCE_MAX)

    @property
    def due(self) -> float:
        """When to scan next, for the series or for a loss; infinite when there is neither."""
        believed = map(self._believed, self._lost.values())
        return max(self._rested, min((*self.series[:1], *believed), default=math.inf))


def _less(found: Mapping[str, str], before: Mapping[str, str], key: str) -> bool:
    now, then = found.get(key, ""), before[key]
    return key not in found or (now.isdecimal() and then.isdecimal() and int(now) < int(then))
