"""The Debian archive that this machine's own apt uses; nothing of ours names another."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from .host import HostError, run

# Shipped by debian-archive-keyring; trixie's archive key is in it since bookworm's 2023.3+deb12u2.
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ALIASES = {"stable", "oldstable", "oldoldstable", "testing"}


def archives() -> list[tuple[str, str]]:
    """The address and the suite of each source in this machine's apt configuration."""
    # What apt would fetch is known before it has fetched anything, and needs no root.
    listing = run("apt-get", "update", "--print-uris")
    return re.findall(r"^'(.+)/dists/([^/]+)/InRelease'", listing, re.MULTILINE)


def mirror() -> str:
    """The address of the Debian archive among them."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    for address, suite in archives():
        if suite == codename or suite in ALIASES:
            return address
    raise HostError(f"apt is not configured with a Debian archive for {codename or 'this host'}")


def source_line(suite: str, architecture: str) -> str:
    """The line of a sources.list(5) for a suite's `main`, of one architecture alone."""
    return f"deb [signed-by={KEYRING} arch={architecture}] {mirror()} {suite} main"
