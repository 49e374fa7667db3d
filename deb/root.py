"""Root file systems of Debian releases, made by mmdebstrap(1) and kept unchanged in the cache.

mmdebstrap fetches with this machine's own apt, so a root needs no network and keeps none of this
machine's settings. What is to be changed is a throw-away copy of one: container.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from deb import apt, cache, host

HOST_PACKAGES = ("debian-archive-keyring", "mmdebstrap")
ARCHIVES = "var/cache/apt/archives"
RECIPE = (Path(__file__), Path(apt.__file__))
"""The files that say how a root is made: a change in them makes every root anew."""

MMDEBSTRAP = (
    *("mmdebstrap", "--aptopt=Acquire::Retries 3"),
    # Else /etc/machine-id would be emptied, and each boot of a copy would be a first boot.
    "--skip=cleanup/reproducible",
)
FETCH = (
    "export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG; apt-get clean"
    " && apt-get -qy --no-install-recommends --download-only install "
)
"""A hook: with the root's own lists and status file, from outside (mmdebstrap(1), HOOKS)."""


def architecture() -> str:
    """This machine's, as Debian calls it."""
    return host.run("dpkg", "--print-architecture").strip()


def root(suite: str, packages: Sequence[str] = (), archives: Sequence[str] = ()) -> Path:
    """The folder of a Debian `suite` (`trixie`, `bookworm`) with `packages` installed.

    It is minbase and they, with all that they depend on and no Recommends; every maintainer script
    has run. The .deb files of `archives`, again with all that they depend on and that is not
    installed, lie in its /var/cache/apt/archives, and apt's lists are those of that hour:
    `apt-get install` of them, or of a .deb file that depends on them, needs no network. The
    architecture is this machine's.

    The first time takes half a minute, root and the network; afterwards the folder comes from the
    cache. It is shared by all who ask for the same, now and later, so never write to it, not even
    by booting it: take a `container.writable` copy. HostError if it cannot be made.
    """
    asked = ["packages", *sorted(set(packages)), "archives", *sorted(set(archives))]
    return cache.cached(
        f"root-{suite}",
        [*RECIPE, suite, " ".join(asked)],
        lambda made, _: _install(suite, packages, archives, made),
    )


def _install(suite: str, packages: Sequence[str], archives: Sequence[str], made: Path) -> None:
    options = ["--mode=root", "--variant=minbase", "--skip=cleanup/apt/lists"]
    # Debian 12 gets the links of a merged /usr, and not the package that makes them.
    options.append("--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr")
    if archives:
        options += ["--skip=cleanup/apt/cache", f"--customize-hook={FETCH}{' '.join(archives)}"]
    _mmdebstrap(options, suite, architecture(), packages, made)


def unpacked(suite: str, architecture: str, packages: Sequence[str], made: Path) -> list[Path]:
    """Lay packages of any architecture, with all that they depend on, into the empty folder `made`.

    No maintainer script runs, dpkg has no record of them, and /dev is empty. Needs no root: the
    files are then whose who runs this. Returns the .deb files, in a folder beside `made`; apt's own
    patterns work too, "?essential" for one.
    """
    options = ["--mode=chrootless", "--variant=extract", "--skip=cleanup/apt/cache"]
    _mmdebstrap(options, suite, architecture, packages, made)
    shutil.rmtree(made / "dev")
    (made / "dev").mkdir()
    archives = (made / ARCHIVES).rename(made.with_name(f"{made.name}-archives"))
    return sorted(archives.glob("*.deb"))


def _mmdebstrap(
    options: Sequence[str], suite: str, architecture: str, packages: Sequence[str], made: Path
) -> None:
    host.ensure(HOST_PACKAGES)
    options = [*options, f"--architectures={architecture}", *(f"--include={p}" for p in packages)]
    host.run(*MMDEBSTRAP, *options, suite, made, apt.source_line(suite, architecture))
    # What it took from this machine, and a boot or a tool would write for itself.
    for name in ("etc/hostname", "etc/resolv.conf"):
        (made / name).unlink(missing_ok=True)
