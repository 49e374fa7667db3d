"""How a root of a Debian release is made: debootstrap, then apt-get inside with what was fetched.

A change in this file makes every root anew. Packages are fetched out here, with this machine's own
apt, so that a root neither needs a network nor keeps this machine's settings (debootstrap(8)).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from deb import apt, host, nspawn

HOST_PACKAGES = ("debian-archive-keyring", "debootstrap", "systemd-container", "util-linux")
ARCHIVES = "var/cache/apt/archives"

RECIPE = (Path(__file__), Path(apt.__file__), Path(nspawn.__file__))
"""The files that say how a root is made."""


def bootstrap(suite: str, made: Path) -> None:
    options = ("--variant=minbase", f"--keyring={apt.KEYRING}")
    host.run("debootstrap", *options, suite, made, apt.mirror())
    _forget_downloads(made)
    (made / "etc/apt/sources.list").write_text(apt.source_line(suite))
    # What debootstrap took from this machine, and a boot or a tool would write for itself.
    for name in ("etc/hostname", "etc/resolv.conf"):
        (made / name).unlink(missing_ok=True)


def extend(
    suite: str,
    base: Path,
    packages: Sequence[str],
    archives: Sequence[str],
    made: Path,
    scratch: Path,
) -> None:
    host.run("cp", "-a", "--reflink=auto", f"{base}/.", made)
    architecture = host.run("dpkg", "--print-architecture").strip()
    private = apt.Apt(scratch / "apt", suite, architecture, made / "var/lib/dpkg/status")
    host.run("cp", "-a", f"{private.lists}/.", made / "var/lib/apt/lists")
    if packages:
        _place(private.fetch(*packages), made)
        nspawn.inside(made, "apt-get", "-qy", "--no-install-recommends", "install", *packages)
        _forget_downloads(made)
        shutil.rmtree(private.archives)
        (private.archives / "partial").mkdir(parents=True)
    if archives:
        _place(private.fetch(*archives), made)


def _place(debs: Sequence[Path], made: Path) -> None:
    for deb in debs:
        shutil.copy(deb, made / ARCHIVES)


def _forget_downloads(made: Path) -> None:
    for deb in (made / ARCHIVES).glob("*.deb"):
        deb.unlink()
