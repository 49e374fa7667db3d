"""What labels can be published to."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field


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

    @abstractmethod
    def publish(self, labels: Mapping[str, str]) -> Outcome:
        """Make exactly these our labels there."""

    def drifted(self, labels: Mapping[str, str]) -> bool:
        """Whether these may not be our labels there any more; true where only publishing tells."""
        return True

    def tell(self, reason: str, message: str) -> None:  # noqa: B027 (most have nobody to tell)
        """Tell those who look at the Node what happened; that it fails is no matter."""

    def outdated(self) -> bool:
        """Whether what a kept connection was made of has changed since; it is closed then."""
        return False

    def close(self) -> None:  # noqa: B027 (most keep nothing)
        """Let go of every connection."""
