"""The files of a test, as the tar archive that the board unpacks before its systemd starts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

LEFT_OUT = {"__pycache__", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def write_payload(files: Mapping[str, bytes | Path], archive: Path) -> Path:
    """Paths on the board to bytes (mode 0644) or to files and folders here (modes kept)."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path, content in files.items():
            name = path.lstrip("/")
            if isinstance(content, Path):
                tar.add(content, name, filter=_as_root)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return archive


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if Path(member.name).name in LEFT_OUT:
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
