"""docs/performance.md: each part of the bench keeps a section of it, and its plots beside it.

A section stands between two comments that name its part, and whatever is around them is written by
hand; so each part can be run by itself, and none throws away what another measured.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"
PACKAGES = ("kubernetes", "urllib3", "watchdog", "PyYAML", "pydantic-settings")


def section(part: str, text: str, command: str = "") -> None:
    """Print what `bench.<part>` measured, and put it in its place in the page."""
    print(text)
    by = command or f".venv/bin/python -m bench.{part}"
    written = f"`{by}` on {circumstances()}\n\n{text.strip()}"
    page = PAGE.read_text()
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not place.search(page):
        raise SystemExit(f"{PAGE.name}: no place for {part}; it is between {begin} and {end}")
    PAGE.write_text(place.sub(lambda _: f"{begin}\n{written}\n{end}", page))


def circumstances() -> str:
    """The day, the machine and its load, and the versions that matter."""
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{day}: {platform.machine()}, {os.cpu_count()} processors, load "
        f"{os.getloadavg()[0]:.1f}, Linux {'.'.join(platform.release().split('.')[:2])}, "
        f"CPython {platform.python_version()}, {versions}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; numbers come as they are to be read."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
