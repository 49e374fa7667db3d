"""Root file systems of Debian releases, made once by debootstrap and kept unchanged in the cache.

They are real Debians: every maintainer script has run. What is to be changed is a throw-away copy
of one (`writable`), entered without network (`inside`), so a root stays what it was when made.
Relies on debootstrap(8), systemd-nspawn(1) and overlayfs, as root; installs what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from deb import cache, host
from deb.bootstrap import HOST_PACKAGES, RECIPE, bootstrap, extend
from deb.nspawn import inside

__all__ = ["inside", "root", "writable"]


def root(suite: str, packages: Sequence[str] = (), archives: Sequence[str] = ()) -> Path:
    """The folder of a Debian `suite` (`trixie`, `bookworm`) with `packages` installed.

    It is minbase and they, with all that they depend on and no Recommends. The .deb files of
    `archives`, again with all that they depend on and that is not installed, lie in its
    /var/cache/apt/archives, and apt's lists are those of that hour: `apt-get install` of them, or
    of a .deb file that depends on them, needs no network. The architecture is this machine's.

    The first time takes a minute or two, and the network; afterwards the folder comes from the
    cache. It is shared by all who ask for the same, now and later, so never write to it, not even
    by booting it: take a `writable` copy. HostError if it cannot be made.
    """
    host.ensure(HOST_PACKAGES)
    base = cache.cached(f"root-{suite}", [*RECIPE, suite], lambda made, _: bootstrap(suite, made))
    if not packages and not archives:
        return base
    asked = ["packages", *sorted(set(packages)), "archives", *sorted(set(archives))]
    return cache.cached(
        f"root-{suite}-with",
        [*RECIPE, base.name, " ".join(asked)],
        lambda made, scratch: extend(suite, base, packages, archives, made, scratch),
    )


@contextmanager
def writable(lower: Path) -> Iterator[Path]:
    """A throw-away copy of a root: the folder to write in, run in and boot.

    An overlayfs over it, or where this kernel lets none be mounted there, a real copy. All that
    was started in it must have ended before the context does.
    """
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
