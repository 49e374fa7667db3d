"""A throw-away copy of a root, and what all containers on one have in common.

Relies on systemd-nspawn(1), which mounts /proc, /sys and /dev inside, and on overlayfs, as root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from deb import cache, host

# There need be no systemd on this machine to register a container with.
NSPAWN = (
    *("systemd-nspawn", "--register=no", "--keep-unit"),
    *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
)
"""What every container here is started with, those that boot too (tests/system/machine.py)."""

ONE_COMMAND = (
    *("--quiet", "--as-pid2", "--pipe", "--private-network"),
    "--hostname=debian",  # a name that could get into what is built must be the same everywhere
    *("--setenv=DEBIAN_FRONTEND=noninteractive", "--setenv=LC_ALL=C.UTF-8", "--setenv=TZ=UTC"),
)


def inside(folder: Path, *command: str | Path, cwd: str = "/") -> str:
    """Run one command in a writable root, with no network but a loopback of its own.

    Returns the command's standard output; HostError with the end of all that it said if it fails.
    No service starts: systemd does not run there.
    """
    # nspawn would name the machine after the folder, and two of one name at a time do not go.
    options = (f"--chdir={cwd}", f"--machine=deb-{uuid.uuid4().hex}", "-D", folder)
    return host.run(*NSPAWN, *ONE_COMMAND, *options, "--", *command, merged=False)


@contextmanager
def writable(lower: Path) -> Iterator[Path]:
    """A throw-away copy of a root: the folder to write in, run in and boot.

    An overlayfs over it, or where this kernel lets none be mounted there, a real copy. All that
    was started in it must have ended before the context does.
    """
    host.ensure(("systemd-container", "util-linux"))
    place, lock = _place_of_our_own()
    merged = place / "root"
    try:
        layers = f"lowerdir={lower},upperdir={place / 'upper'},workdir={place / 'work'}"
        try:
            host.run("mount", "-t", "overlay", "overlay", "-o", layers, merged)
        except host.HostError:
            host.run("cp", "-a", "--reflink=auto", f"{lower}/.", merged)
        yield merged
    finally:
        with lock, _turn():  # else who looks for abandoned ones would meet one half removed
            _remove(place)


def _place_of_our_own() -> tuple[Path, IO[str]]:
    """A folder for one writable copy, and the lock that says that it is in use.

    Those of who was killed are removed by the way: nobody holds their locks.
    """
    with _turn():
        for other in cache.home().glob("writable-*"):
            with (other / "lock").open("w") as lock, contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(other)
        place = Path(tempfile.mkdtemp(prefix="writable-", dir=cache.home()))
        mine = (place / "lock").open("w")
        fcntl.flock(mine, fcntl.LOCK_EX)
    for part in ("upper", "work", "root"):
        (place / part).mkdir()
    return place, mine


@contextmanager
def _turn() -> Iterator[None]:
    """One at a time makes and removes writable copies."""
    with (cache.home() / "writable.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _remove(place: Path) -> None:
    if os.path.ismount(place / "root"):
        host.run("umount", place / "root")
    shutil.rmtree(place)
