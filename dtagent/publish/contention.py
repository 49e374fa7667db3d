"""Which labels somebody else sets again each time: those are left alone for a while. Pure.

Two controllers that each put a label right would fight for ever, and every round moves Pods. So
does a person with kubectl who does not know of us, but a person gives up; hence the second chance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from dtagent.cluster.patch import Observed

TIMES, WINDOW = 2, 600.0  # so often within so many seconds a label is put right
LEAVE = 3600.0  # seconds that it is left alone after that
OURS_MAX = 1024  # keys remembered; of more, as overlays with ever new names would bring, the newest


class Contention:
    """What we made true on a Node, and how often it did not last."""

    def __init__(self) -> None:
        self._ours: dict[str, None] = {}
        self._true: Mapping[str, str | None] = {}
        self._uid: str | None = None
        self._lost: dict[str, list[float]] = {}
        self._left_alone: dict[str, float] = {}

    @property
    def ours(self) -> Collection[str]:
        """The keys that we set or took off here, whatever the Node's managedFields say now."""
        return self._ours.keys()

    def sending(self, keys: Iterable[str]) -> None:
        """These keys are ours from now on. Until `published`, a change is nobody's doing."""
        self._ours |= dict.fromkeys(keys)
        for key in [*self._ours][:-OURS_MAX]:
            del self._ours[key]
        self._true = {}

    def published(self, labels: Mapping[str, str], uid: str | None) -> None:
        """These labels of ours are on the Node now, and no other of ours is."""
        self.sending(labels)
        self._true, self._uid = {**dict.fromkeys(self._ours), **labels}, uid

    def observed(self, observed: Observed, now: float) -> list[str]:
        """What was found there later; the keys that are left alone from now on.

        A Node that was made anew has lost all its labels, and nobody fights over them.
        """
        labels = observed.labels or {}
        lost = [key for key, value in self._true.items() if labels.get(key) != value]
        self._true = {key: value for key, value in self._true.items() if key not in lost}
        if observed.uid != self._uid:
            return []
        for key in lost:
            recent = [at for at in self._lost.get(key, ()) if now - at < WINDOW]
            self._lost[key] = [*recent, now]
        given_up = [key for key in lost if len(self._lost[key]) > TIMES]
        for key in given_up:
            del self._lost[key]
            self._left_alone[key] = now + LEAVE
        return sorted(given_up)

    def left_alone(self, now: float) -> tuple[str, ...]:
        """The keys that are left alone at this moment."""
        self._left_alone = {key: t for key, t in self._left_alone.items() if now < t}
        return tuple(sorted(self._left_alone))
