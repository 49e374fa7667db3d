"""Every test here that wants a package gets each of the four, unpacked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

import pytest

from deb.build import FLAVOURS, Flavour, built
from deb.host import run
from deb.source import Source

CHECKOUT = Source.of_checkout()
"""What all packages here are built from, though somebody edit meanwhile."""


def source(path: str) -> str:
    """A file of the checkout that the packages are built from."""
    return CHECKOUT.files[Path(path)][1].decode()


@dataclass(frozen=True)
class Package:
    """One built .deb file, its files unpacked under `files`, its control files under `control`."""

    flavour: Flavour
    deb: Path
    files: Path
    control: Path

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields of its control file (deb-control(5))."""
        return dict(HeaderParser().parsestr((self.control / "control").read_text()))

    @property
    def library(self) -> Path:
        """The folder that the launcher puts first on the path."""
        return self.files / "usr/lib/dtagent"

    def listing(self) -> list[str]:
        """Its files as tar(1) lists them: mode, owner, size, time, name."""
        listed = run("dpkg-deb", "--contents", self.deb, env={"TZ": "UTC"})
        return listed.splitlines()


def unpacked(flavour: Flavour, folder: Path) -> Package:
    deb = built(flavour, CHECKOUT)
    run("dpkg-deb", "--extract", deb, folder / "files")
    run("dpkg-deb", "--control", deb, folder / "control")
    return Package(flavour, deb, folder / "files", folder / "control")


def named(flavour: Flavour) -> str:
    return f"{flavour.suite}-{flavour.architecture}"


@pytest.fixture(scope="session", params=FLAVOURS, ids=named)
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Each flavour's package, for each architecture that it is built for."""
    return unpacked(request.param, tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session", params=[f for f in FLAVOURS if f.bundled], ids=named)
def bundled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The bundled flavour's package for each architecture."""
    return unpacked(request.param, tmp_path_factory.mktemp("bundled"))


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The bundled flavour's package for this machine."""
    flavours = [flavour for flavour in FLAVOURS if flavour.bundled and flavour.runs_here]
    if not flavours:
        pytest.skip("the bundled flavour is not built for this machine's architecture")
    return unpacked(flavours[0], tmp_path_factory.mktemp("native"))
