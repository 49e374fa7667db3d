"""A cgroup for each container, since two that share their parent's would share their payload's.

systemd-nspawn makes `supervisor` and `payload` below the cgroup it is started in, and leaves them
there (--keep-unit, systemd-nspawn(1)). Layout: cgroups(7), proc(5) on mountinfo and cgroup.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GONE = 120.0
"""Seconds that what was killed gets to be gone."""


@contextmanager
def group(name: str) -> Iterator[Path]:
    """The folder of a new cgroup below our own. What still runs in it at the end is killed."""
    folders = [mount / name for mount in _parents()]
    unified = folders[0]
    unified.mkdir()
    try:
        yield unified
    finally:
        (unified / "cgroup.kill").write_text("1")
        _remove(folders)


def _parents() -> list[Path]:
    """Our own cgroup as a folder: in version 2, and in systemd's own hierarchy of version 1.

    Where a machine still has that one, systemd-nspawn makes the same groups in it too.
    """
    own = dict(_own())
    version2, version1 = [], []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = line.split(" - ")
        root, place = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup2":
            version2.append(_below(root, place, own.get("", "/")))
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            version1.append(_below(root, place, own.get("name=systemd", "/")))
    if not version2:
        raise RuntimeError("a booted container needs a cgroup2 file system, and none is mounted")
    return version2[:1] + version1[:1]


def _own() -> Iterator[tuple[str, str]]:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        yield controllers, path


def _below(root: str, place: str, path: str) -> Path:
    inside = path.removeprefix(root.rstrip("/")) if path.startswith(root) else ""
    return Path(place + inside)


def _remove(folders: list[Path]) -> None:
    """rmdir(2) them, the deepest first, as soon as the last process is gone."""
    deadline = time.monotonic() + GONE
    while left := [folder for folder in folders if folder.exists()]:
        for folder in left:
            for each in sorted(folder.glob("**/"), reverse=True):
                with contextlib.suppress(OSError):  # busy, for a moment more
                    each.rmdir()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{left}: somebody is still in there")
        time.sleep(0.01)
