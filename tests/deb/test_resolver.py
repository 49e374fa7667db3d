"""What apt takes for each release and architecture, on hosts that are described and not booted.

apt's resolver needs dpkg's status file and no other: each host's has the packages that dtagent
depends on, in the upstream versions of its release. That Ubuntu's own archive gives them is not
shown.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deb.archive import key, tree
from deb.archive.suites import KEYRING, KEYRING_PLACE
from deb.build import FLAVOURS, TOOLS, built
from deb.container import inside, writable
from deb.host import run
from deb.root import root
from deb.source import REVISION, version

from .conftest import CHECKOUT

RELEASES = {
    "trixie": "python3=3.13.5 libc6=2.41 python3-kubernetes=30.1.0 python3-pydantic=2.10.6"
    " python3-pydantic-settings=2.8.1 python3-sdnotify=0.3.2 python3-systemd=235"
    " python3-urllib3=2.3.0 python3-watchdog=6.0.0 python3-yaml=6.0.2",
    "bookworm": "python3=3.11.2 libc6=2.36 python3-certifi=2022.9.24 python3-requests=2.28.1"
    " python3-sdnotify=0.3.2 python3-six=1.16.0 python3-systemd=235 python3-urllib3=1.26.12"
    " python3-yaml=6.0",
    "jammy": "python3=3.10.6 libc6=2.35 python3-certifi=2020.6.20 python3-requests=2.25.1"
    " python3-sdnotify=0.3.2 python3-six=1.16.0 python3-systemd=234 python3-urllib3=1.26.5"
    " python3-yaml=5.4.1",
    "noble": "python3=3.12.3 libc6=2.39 python3-certifi=2023.11.17 python3-requests=2.31.0"
    " python3-sdnotify=0.3.2 python3-six=1.16.0 python3-systemd=235 python3-urllib3=2.0.7"
    " python3-yaml=6.0.1",
}
EVERYWHERE = {"libgcc-s1": "12", "init-system-helpers": "1.60", KEYRING: "20200101"}
BOARDS = ("amd64", "arm64", "armhf")
STANZA = """\
Package: {}
Status: install ok installed
Architecture: {}
Multi-Arch: allowed
Version: {}
Maintainer: nobody <nobody@dtagent.invalid>
Description: described and not installed

"""
APT = """\
cd /srv/hosts
for host in *; do
    arch=${host#*-}
    apt="apt-get -qq -o Dir::State::status=/srv/hosts/$host/status -o Dir::Etc::SourceParts=-
        -o Dir::Etc::SourceList=/srv/hosts/$host/dtagent.sources -o APT::Sandbox::User=root
        -o APT::Architecture=$arch -o APT::Architectures=$arch"
    $apt update > $host/said 2>&1
    $apt --simulate install dtagent >> $host/said 2>&1
done
"""


def status(release: str, architecture: str) -> str:
    """The dpkg status of a host of that release that has what dtagent depends on, and no more."""
    own = dict(word.split("=") for word in RELEASES[release].split())
    installed = {**EVERYWHERE, **own}
    return "".join(STANZA.format(name, architecture, v) for name, v in installed.items())


@pytest.fixture(scope="module")
def said() -> Iterator[Path]:
    """A folder for each host, with what apt said there in the file `said`."""
    wanted = [(suite, each) for suite in RELEASES for each in (*BOARDS, "riscv64")]
    with writable(root("trixie", TOOLS)) as folder, tempfile.TemporaryDirectory() as temporary:
        home, place = Path(temporary), folder / "srv/repo"
        signer = key.generate(home, "resolver under test")
        debs = [built(flavour, CHECKOUT) for flavour in FLAVOURS]
        tree.publish(debs, place, signer, "file:/srv/repo/")
        key.end_agent(home)
        run("cp", place / f"{KEYRING}.pgp", folder / KEYRING_PLACE.lstrip("/"))
        for suite, architecture in wanted:
            host = folder / "srv/hosts" / f"{suite}-{architecture}"
            host.mkdir(parents=True)
            (host / "status").write_text(status(suite, architecture))
            run("cp", place / "dists" / suite / "dtagent.sources", host)
        inside(folder, "sh", "-c", APT)
        yield folder / "srv/hosts"


@pytest.mark.parametrize("architecture", BOARDS)
@pytest.mark.parametrize("suite", RELEASES)
def test_apt_takes_the_package_for_the_release_and_the_architecture(
    said: Path, suite: str, architecture: str
) -> None:
    own = (version(), "all") if suite == "trixie" else (version() + REVISION, architecture)
    words = (said / f"{suite}-{architecture}" / "said").read_text()
    assert f"Inst dtagent ({own[0]} dtagent:{suite} [{own[1]}])" in words


def test_debian_13_has_it_for_any_architecture(said: Path) -> None:
    words = (said / "trixie-riscv64/said").read_text()
    assert f"Inst dtagent ({version()} dtagent:trixie [all])" in words


@pytest.mark.parametrize("suite", [name for name in RELEASES if name != "trixie"])
def test_elsewhere_an_architecture_that_is_not_built_has_none(said: Path, suite: str) -> None:
    words = (said / f"{suite}-riscv64/said").read_text()
    assert words.endswith("E: Unable to locate package dtagent\n")
