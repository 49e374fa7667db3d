"""What is where in a machine, to see what an installation left behind."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from .machine import Machine

STATE = (
    # dpkg's, apt's, debconf's and the catalog's own, logs, and what systemd keeps of past runs.
    *("/var/lib/dpkg/", "/var/lib/apt/", "/var/cache/", "/var/lib/systemd/catalog/"),
    *("/var/log/", "/run/log/", "/run/systemd/", "/opt/"),
    *("/proc/", "/sys/", "/dev/"),
)
"""Folders whose contents may differ after a purge; /opt is where the tests put the package."""


def paths(machine: Machine) -> dict[str, tuple[int, str]]:
    """Every path inside with its mode and contents, but for STATE and folders' times."""
    root = machine.path("/")
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            inside = f"/{path.relative_to(root)}"
            if not inside.startswith(STATE):
                found[inside] = _state(path)
        folders[:] = [
            name for name in folders if f"/{Path(folder, name).relative_to(root)}/" not in STATE
        ]
    return found


def _state(path: Path) -> tuple[int, str]:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return mode, str(path.readlink())
    return mode, hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(mode) else ""
