"""When to scan after an overlay event, and when to believe that a label has gone. Pure.

In the vendor dialect the last inotify event comes before the overlay is applied, and nothing comes
after it (fs/configfs/file.c notifies on close, then the driver applies in release). So an event
starts a series of scans; and since dtoverlay takes overlays down and up again to remove one below
them, what is gone is not believed at once.
"""

from __future__ import annotations

from collections.abc import Mapping

FIRST, GROWTH, LAST = 0.020, 1.25, 10.0  # seconds, a factor, seconds
REST = 5.0  # a scan follows another after this many times what that took
HOLD = 0.3  # seconds that something must be gone
HOLD_MAX = 10.0  # seconds that a storm of events can put that off


def _points() -> tuple[float, ...]:
    points, point = [0.0], FIRST
    while point < LAST:
        points.append(point)
        point *= GROWTH
    return (*points, LAST)


POINTS = _points()
"""Seconds after an event at which to scan: at once, 20 ms, each a quarter as far again, 10 s.

What takes the time T to apply is seen by T and a quarter of it, so that its label has another
quarter to come within half of T.
"""


class Settle:
    """The series of scans after the newest event."""

    def __init__(self) -> None:
        self._origin = 0.0
        self._step = len(POINTS)
        self._rested = 0.0

    def begin(self, now: float) -> None:
        """An event: start from the first point."""
        self._origin, self._step = now, 0

    def scanned(self, start: float, end: float, changed: bool) -> None:
        """A scan took from `start` to `end`; a change starts the points again from there."""
        self._rested = end + REST * (end - start)
        if changed and not self.over:
            self._origin, self._step = start, 0
        while self._step < len(POINTS) and self._origin + POINTS[self._step] <= start:
            self._step += 1

    @property
    def over(self) -> bool:
        return self._step >= len(POINTS)

    @property
    def last(self) -> bool:
        """Whether the next scan is the last one."""
        return self._step == len(POINTS) - 1

    @property
    def due(self) -> float | None:
        """When to scan next; None when it is over."""
        return None if self.over else max(self._origin + POINTS[self._step], self._rested)


class Hold:
    """What to publish: gains at once, losses only when they last."""

    def __init__(self) -> None:
        self._shown: dict[str, str] | None = None
        self._lost: dict[str, float] = {}
        self._event = -HOLD_MAX

    def event(self, now: float) -> None:
        """Something happened to an overlay: what is gone may be on its way back."""
        self._event = now

    def decide(
        self, found: Mapping[str, str], now: float, unsettled: frozenset[str] = frozenset()
    ) -> dict[str, str]:
        """The labels to publish for a scan that found `found`.

        New labels in `unsettled` wait; a lost or lowered one stays as it was shown until it has
        been so for HOLD since the last event, or for HOLD_MAX.
        """
        if self._shown is None:
            self._shown = dict(found)
            return dict(found)
        wanted = {k: v for k, v in found.items() if k in self._shown or k not in unsettled}
        lost = {k: now for k, v in self._shown.items() if _less(found.get(k), v)}
        self._lost = {key: self._lost.get(key, now) for key in lost}
        for key, since in self._lost.items():
            if now < self._release(since):
                wanted[key] = self._shown[key]
        self._lost = {key: since for key, since in self._lost.items() if key in wanted}
        self._shown = wanted
        return dict(wanted)

    def _release(self, since: float) -> float:
        return min(max(since, self._event) + HOLD, since + HOLD_MAX)

    @property
    def due(self) -> float | None:
        """When the next loss may be believed, if a scan still shows it; None without any."""
        return min((self._release(since) for since in self._lost.values()), default=None)


def _less(found: str | None, shown: str) -> bool:
    if found is None:
        return True
    return found.isdecimal() and shown.isdecimal() and int(found) < int(shown)
