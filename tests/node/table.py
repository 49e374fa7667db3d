"""What `make test-node` prints: each scenario, what was asserted, its time and its requests."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .host import Host

HEADER = ("scenario", "asserted", "cause to label", "requests")


@dataclass
class Cause:
    """The moment something is done to a host, and what the agent asks of the server after it."""

    host: Host
    wall: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.monotonic)
    mark: int = 0

    def __post_init__(self) -> None:
        self.mark = self.host.cluster.audit_mark()

    @property
    def requests(self) -> list[dict[str, Any]]:
        return self.host.asked(self.mark)

    @property
    def patches(self) -> list[dict[str, Any]]:
        """Those that changed something."""
        return [each for each in self.requests if each["verb"] == "patch"]

    @property
    def label(self) -> str:
        """When the server had answered the last patch, as the table has it."""
        patches = self.patches
        if not patches:
            return "none sent"
        answered = datetime.datetime.fromisoformat(
            patches[-1]["stageTimestamp"].replace("Z", "+00:00")
        )
        return seconds(answered.timestamp() - self.wall)

    @property
    def elapsed(self) -> str:
        return seconds(time.monotonic() - self.clock)


def seconds(value: float) -> str:
    return f"{value:.2f} s"


class Table:
    """The rows, in the order in which scenarios ended."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = []

    def add(self, scenario: str, asserted: str, cause: Cause, took: str = "") -> None:
        """One scenario; `took` where it is not the time to the last patch."""
        self.rows.append((scenario, asserted, took or cause.label, str(len(cause.requests))))

    def lines(self) -> Sequence[str]:
        """A Markdown table that reads well on a terminal too."""
        cells = [HEADER, *self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
        return [
            f"| {' | '.join(text.ljust(w) for text, w in zip(row, widths, strict=True))} |"
            for row in cells
        ]
