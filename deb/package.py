"""What a .deb file says of itself (deb-control(5), dpkg-deb(1))."""

from __future__ import annotations

import re
from pathlib import Path

from deb import host


def field(deb: Path, name: str) -> str:
    """One field of its control file."""
    return host.run("dpkg-deb", "--field", deb, name).strip()


def depends(deb: Path) -> list[str]:
    """The names it depends on, sorted; of alternatives the first, which is what apt installs."""
    relations = re.split(r"\s*,\s*", field(deb, "Depends"))
    return sorted({re.split(r"[\s:(|]", relation)[0] for relation in relations})
