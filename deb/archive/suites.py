"""Which package is for which release, and what the repository says of itself. All of it is pure.

Formats: deb-control(5) for the entries, sources.list(5) for the stanza that a host gets, and
wiki.debian.org, "DebianRepository/Format", for suites and their Release files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser

NAME = "dtagent"
"""Origin and Label: what a pin or unattended-upgrades names the repository by."""

KEYRING = "dtagent-archive-keyring"
KEYRING_PLACE = f"/usr/share/keyrings/{KEYRING}.pgp"
ARCHITECTURES = ("all", "amd64", "arm64", "armhf")
EXAMPLE = "https://apt.example.org/"
"""Where the repository is served from, until somebody says where (RFC 2606)."""

BUNDLED = re.compile(r"~bundled\d")


@dataclass(frozen=True)
class Suite:
    """One release by its codename (os-release(5), VERSION_CODENAME), and the flavour it needs."""

    name: str
    release: str
    bundled: bool


SUITES = (
    Suite("trixie", "Debian 13", bundled=False),
    Suite("bookworm", "Debian 12", bundled=True),
    Suite("jammy", "Ubuntu 22.04", bundled=True),
    Suite("noble", "Ubuntu 24.04", bundled=True),
    Suite("resolute", "Ubuntu 26.04", bundled=False),
)


@dataclass(frozen=True)
class Entry:
    """What an index says of one package: its fields, and their text as apt-ftparchive wrote it."""

    fields: Mapping[str, str]
    text: str

    def belongs_to(self, suite: Suite, architecture: str) -> bool:
        """Whether it is for hosts of this architecture ("all": of any) in this suite.

        What fits every architecture is in every index, as Debian has it, and in that of "all" for
        hosts of an architecture that has no index.
        """
        if self.fields["Architecture"] not in ("all", architecture):
            return False
        bundled = bool(BUNDLED.search(self.fields["Version"]))
        return self.fields["Package"] != NAME or bundled == suite.bundled


def entries(packages: str) -> list[Entry]:
    """The entries of what `apt-ftparchive packages` printed, sorted."""
    texts = [text.strip("\n") for text in packages.split("\n\n") if text.strip()]
    found = [Entry(dict(HeaderParser().parsestr(text)), text) for text in texts]
    return sorted(found, key=lambda entry: entry.fields["Filename"])


def index(all_: Iterable[Entry], suite: Suite, architecture: str) -> str:
    """The Packages file of a suite and an architecture."""
    return "".join(f"{e.text}\n\n" for e in all_ if e.belongs_to(suite, architecture))


def release_fields(suite: Suite, date: str) -> dict[str, str]:
    """The fields of a suite's Release file above its hashes.

    There is no Valid-Until: releases are rare and nobody signs every week, so that it would turn
    each host's `apt update` into an error one day. What it guards against, somebody on the way who
    keeps a newer release from a host, https keeps from doing so.
    """
    return {
        "Origin": NAME,
        "Label": NAME,
        "Suite": suite.name,
        "Codename": suite.name,
        "Date": date,
        "Architectures": " ".join(ARCHITECTURES),
        "Components": "main",
        "Description": f"dtagent for {suite.release}",
        "Acquire-By-Hash": "yes",
    }


def sources(suite: Suite, address: str) -> str:
    """The file for a host's /etc/apt/sources.list.d."""
    return f"""\
# dtagent for {suite.release}. Suites is the release's codename, VERSION_CODENAME in
# /etc/os-release: {", ".join(each.name for each in SUITES)}.
Types: deb
URIs: {address}
Suites: {suite.name}
Components: main
Signed-By: {KEYRING_PLACE}
"""
