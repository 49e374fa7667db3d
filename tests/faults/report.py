"""The table of faults, for the terminal and for docs/faults.md.

docs/faults.md is written by `make test-long` alone, so that its figures are those of the long run.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

from .fault import Outcome

INTRODUCTION = """\
# What the agent does when things go wrong

Measured on {date}, on {processors} shared processors; `make test-long` writes this page. The agent
as a process, a real kube-apiserver, and between them a proxy that misbehaves (tests/faults). Each
fault finds an agent that has published, lasts for some seconds, and sees a change of the devicetree
meanwhile.

*Healed* is the time from the fault's end to right labels on the Node; where the agent was stuck in
a request, it includes what was left of that request's deadline. *Requests* and *lines* of the
journal are counted from the fault's begin to right labels. *Memory* is resident, in MB: before,
after, and at the worst moment of the agent's life.
"""
HEADER = ("fault", "healed after", "requests", "lines", "memory: before", "after", "worst")


def row(outcome: Outcome) -> list[str]:
    """What the table says of one fault, under HEADER."""
    return [
        outcome.fault.name,
        f"{outcome.healed:.1f} s",
        str(outcome.requests),
        str(len(outcome.lines)),
        f"{outcome.before:.0f}",
        f"{outcome.after:.0f}",
        f"{outcome.peak:.0f}",
    ]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table that reads well on a terminal too."""
    cells = [HEADER, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return lines


def write(file: Path, rows: Sequence[Sequence[str]], figures: Sequence[str]) -> None:
    """The whole of docs/faults.md, as of today."""
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    introduction = INTRODUCTION.format(date=date, processors=os.cpu_count())
    parts = [introduction, *table(rows), ""]
    file.write_text("\n".join([*parts, *(f"- {figure}" for figure in figures)]).rstrip() + "\n")
