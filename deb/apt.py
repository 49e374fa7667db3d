"""Packages of a Debian suite, for any architecture, without touching this machine's own apt state.

The mirror is the one this machine's apt already uses for Debian, with the suite exchanged; proxies
and the like come along, since apt reads its usual configuration beside the options given here.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path

from .host import HostError, run

# Shipped by debian-archive-keyring; trixie's archive key is in it since bookworm's 2023.3+deb12u2.
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ALIASES = {"stable", "oldstable", "oldoldstable", "testing"}


def mirror() -> str:
    """The address of the Debian archive in this machine's apt configuration."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    # What apt would fetch is known before it has fetched anything, and needs no root.
    listing = run("apt-get", "update", "--print-uris")
    for address, suite in re.findall(r"^'(.+)/dists/([^/]+)/InRelease'", listing, re.MULTILINE):
        if suite == codename or suite in ALIASES:
            return str(address)
    raise HostError(f"apt is not configured with a Debian archive for {codename or 'this host'}")


def source_line(suite: str, options: str = "") -> str:
    """The line of a sources.list(5) for a suite's `main`; options in their brackets."""
    return f"deb {options and f'[{options}] '}{mirror()} {suite} main\n"


class Apt:
    """A private apt for one suite and architecture, in a folder of its own.

    `status` is the dpkg status file of the system that packages are fetched for; without one
    nothing is installed there, so every dependency is fetched.
    """

    def __init__(
        self, folder: Path, suite: str, architecture: str, status: Path | None = None
    ) -> None:
        self.lists = folder / "lists"
        self.archives = folder / "archives"
        for part in ("lists/partial", "archives/partial", "empty"):
            (folder / part).mkdir(parents=True)
        (folder / "status").touch()
        sources = folder / "sources.list"
        signed_by = f"signed-by={KEYRING} " if KEYRING.exists() else ""
        sources.write_text(source_line(suite, f"{signed_by}arch={architecture}"))
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "root",  # the user _apt may not be able to enter this folder
            "Acquire::Retries": "3",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Dir::State": str(folder),
            "Dir::State::lists": str(self.lists),
            "Dir::State::status": str(status or folder / "status"),
            "Dir::Cache": str(folder),
            "Dir::Cache::archives": str(self.archives),
            "Dir::Etc::sourcelist": str(sources),
            "Dir::Etc::sourceparts": str(folder / "empty"),
            "Dir::Etc::preferences": str(folder / "empty/preferences"),
            "Dir::Etc::preferencesparts": str(folder / "empty"),
        }
        self._apt = ["apt-get", "-qy"]
        for name, value in settings.items():
            self._apt += ["-o", f"{name}={value}"]
        run(*self._apt, "update")

    def fetch(self, *packages: str) -> list[Path]:
        """The .deb files of these packages and of all that they depend on.

        apt's own patterns work too, "?essential" for one.
        """
        run(*self._apt, "--no-install-recommends", "--download-only", "install", *packages)
        return sorted(self.archives.glob("*.deb"))

    def fetch_alone(self, package: str) -> Path:
        """The .deb file of one package, without its dependencies."""
        run(*self._apt, "download", package, cwd=self.archives)
        (deb,) = self.archives.glob(f"{package}_*.deb")
        return deb


def unpack(deb: Path, folder: Path, *, without: tuple[str, ...] = ()) -> None:
    """Lay a package's files under a folder, owned by whoever runs this."""
    script = 'deb=$1 folder=$2; shift 2; dpkg-deb --fsys-tarfile "$deb" | tar -xp "$@" -C "$folder"'
    exclude = [f"--exclude=./{pattern}" for pattern in without]
    options = ["--no-same-owner", "--anchored", *exclude]
    run("bash", "-o", "pipefail", "-c", script, "unpack", deb, folder, *options)
