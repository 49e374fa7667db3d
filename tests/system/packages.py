"""The packages under test as `make deb` builds them, each with the Debian release it is for.

What they depend on is read from themselves, and lies in the containers' own apt archives: nothing
is fetched from inside. A newer build is the same one repacked (deb(5), dpkg-deb(1)).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from deb import build
from deb.build import FLAVOURS
from deb.host import run
from deb.package import depends, field
from deb.root import root

SUITES = ("trixie", "bookworm")
SYSTEM = ("dbus", "systemd", "systemd-sysv")
"""What makes a minimal Debian one that boots."""


@dataclass(frozen=True)
class Package:
    """A dtagent_*.deb, and the release that it is to be installed on."""

    suite: str
    deb: Path

    @property
    def version(self) -> str:
        return field(self.deb, "Version")

    @functools.cached_property
    def depends(self) -> tuple[str, ...]:
        return tuple(depends(self.deb))

    def bare(self) -> Path:
        """A root that boots, without one of the dependencies installed but with their .debs."""
        return root(self.suite, SYSTEM, self.depends)

    def prepared(self, *more: str) -> Path:
        """A root that boots and has them, and `more` packages of the release."""
        return root(self.suite, (*SYSTEM, *self.depends, *more))

    def newer(self, folder: Path, suffix: str = "+next", config: str = "") -> Package:
        """The same package as its next version, with `config` at the conffile's end."""
        files = folder / suffix / "files"
        files.parent.mkdir()
        run("dpkg-deb", "--raw-extract", self.deb, files)
        with (files / "etc/dtagent.toml").open("a") as conffile:
            conffile.write(config)
        control = files / "DEBIAN" / "control"
        version = f"{self.version}{suffix}"
        control.write_text(
            re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text(), count=1)
        )
        deb = folder / f"dtagent_{version}_{field(self.deb, 'Architecture')}.deb"
        run("dpkg-deb", "--build", "--root-owner-group", "-Zgzip", "-z1", files, deb)
        return Package(self.suite, deb)


@functools.cache
def built(suite: str) -> Package:
    """The package for a release and this machine, from the builder's cache or built now."""
    (flavour,) = [each for each in FLAVOURS if each.suite == suite and each.runs_here]
    return Package(suite, build.built(flavour))
