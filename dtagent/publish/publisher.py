"""What labels can be published to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from dtagent.cluster.connection import Connection


@dataclass(frozen=True)
class Outcome:
    """What is true where now, and what had to change for it: `+key=value`, `-key`."""

    place: str
    changes: list[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    left_alone: tuple[str, ...] = ()


class Publisher(ABC):
    """Something that labels can be made true on. Every failure is a DtagentError."""

    _connection: Connection | None = None
    """What it goes through, if that is kept."""

    @abstractmethod
    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        """Make exactly these our labels there.

        With `resync` what is there is read first; without, it is taken to be as we left it.
        """

    def drifted(self, labels: Mapping[str, str]) -> bool:
        """Whether these may not be our labels there any more; true where only publishing tells."""
        return True

    def outdated(self) -> bool:
        """Whether what the connection was made of has changed since; it is closed then."""
        return self._connection is not None and self._connection.outdated()

    def close(self) -> None:
        """Let go of every connection."""
        if self._connection:
            self._connection.close()
