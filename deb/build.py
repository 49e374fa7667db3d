"""Builds the packages: each flavour by its own suite's tools, in a root without network, checked.

dpkg-buildpackage takes the time stamps from the changelog (SOURCE_DATE_EPOCH), so what it makes is
the same byte for byte wherever and whenever it is made; lintian, the suite's own too, must find
neither an error nor a warning. A build is kept in the cache under what it was made from.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deb import cache, container, host, root, source, wheels
from deb.source import Source

TOOLS = (
    "debhelper",
    "dh-python",
    "lintian",
    "pybuild-plugin-pyproject",
    "python3",
    "python3-setuptools",
    "python3-shtab",
)
PLACE = "/build"  # where the source is inside the root
BUILD = ("dpkg-buildpackage", "--build=binary", "--unsigned-changes", "--ignore-builtin-builddeps")
LINTIAN = ("lintian", "--allow-root", "--fail-on=error,warning", "--tag-display-limit=0")


@dataclass(frozen=True)
class Flavour:
    """A suite to build in, and the architecture that the package is for."""

    suite: str
    architecture: str

    @property
    def bundled(self) -> bool:
        return self.architecture != "all"

    @property
    def runs_here(self) -> bool:
        """Whether it can be installed on this machine."""
        return self.architecture in ("all", root.architecture())

    @property
    def file(self) -> str:
        """The name of the .deb file (deb(5), and dpkg-name(1))."""
        revision = source.REVISION if self.bundled else ""
        return f"dtagent_{source.version()}{revision}_{self.architecture}.deb"


FLAVOURS = (
    Flavour("trixie", "all"),
    Flavour("bookworm", "arm64"),
    Flavour("bookworm", "armhf"),
    Flavour("bookworm", "amd64"),
)


def built(flavour: Flavour, checkout: Source | None = None) -> Path:
    """The .deb file, from the cache or built and checked now. Beside it: what lintian said.

    `checkout` is the source, by default as it is now.
    """
    below = root.root(flavour.suite, TOOLS)
    checkout = checkout or Source.of_checkout()
    inputs = [below.name, flavour.architecture, checkout.manifest()]

    def make(made: Path, _: Path) -> None:
        with laid_out(checkout, flavour, below) as folder:
            build(flavour, folder, made)

    return cache.cached(f"deb-{flavour.architecture}", inputs, make) / flavour.file


@contextmanager
def laid_out(checkout: Source, flavour: Flavour, below: Path) -> Iterator[Path]:
    """A throw-away root with the flavour's source, and its wheels, under PLACE."""
    with container.writable(below) as folder:
        place = folder / PLACE.strip("/") / "dtagent"
        place.mkdir(parents=True)
        checkout.export(place, flavour.bundled)
        if flavour.bundled:
            (place / "wheels").mkdir()
            for wheel in wheels.wheels(flavour.architecture):
                shutil.copy(wheel, place / "wheels")
        yield folder


def build(
    flavour: Flavour,
    folder: Path,
    made: Path,
    environment: Mapping[str, str] | None = None,
    umask: str = "022",
) -> None:
    """Build and check what was `laid_out`; the .deb file and lintian's words go to `made`."""
    host_architecture = [f"--host-arch={flavour.architecture}"] if flavour.bundled else []
    variables = {"DEB_BUILD_OPTIONS": "nocheck", **(environment or {})}
    set_variables = [f"{name}={value}" for name, value in variables.items()]
    place = f"{PLACE}/dtagent"
    masked = ("sh", "-c", 'umask "$0" && exec env "$@"', umask, *set_variables)
    container.inside(folder, *masked, *BUILD, *host_architecture, cwd=place)
    try:
        said = container.inside(folder, *LINTIAN, f"{PLACE}/{flavour.file}", cwd=PLACE)
    except host.HostError as error:
        raise host.HostError(f"{flavour.file}: {error}") from error
    shutil.copy(folder / PLACE.strip("/") / flavour.file, made)
    (made / "lintian").write_text(said)
