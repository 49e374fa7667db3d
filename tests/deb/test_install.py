"""Installed, upgraded, removed and purged with apt and dpkg, where no systemd runs.

What a booted system adds is in tests/system.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deb.build import FLAVOURS, Flavour, built
from deb.container import inside, writable
from deb.host import run
from deb.package import depends
from deb.root import root
from demo.jetson_nano import JETSON_NANO
from demo.tree import write_tree

from .conftest import CHECKOUT, Package, named

INSTALLABLE = [flavour for flavour in FLAVOURS if flavour.runs_here]
EXPECTED = ("nvidia,jetson-nano", "nvidia,tegra210")
# dpkg's and apt's own records, which a removal leaves as it must.
RECORDS = re.compile(
    r"/var/(lib/(dpkg|apt|systemd)|cache/(apt|debconf|ldconfig)|log)(/|$)|/etc/ld\.so"
)


@contextmanager
def debian(suite: str, *debs: Path) -> Iterator[Path]:
    """A release with all that these .deb files depend on, and they themselves under /opt."""
    needed = {name for deb in debs for name in depends(deb)}
    with writable(root(suite, ["init-system-helpers", *sorted(needed)])) as folder:
        for deb in debs:
            run("cp", deb, folder / "opt")
        write_tree(JETSON_NANO, folder / "srv/tree")
        yield folder


def paths(folder: Path) -> set[str]:
    """Every path of a system, but for records."""
    found = {
        Path(at, name).relative_to(folder)
        for at, folders, files in os.walk(folder)
        for name in folders + files
    }
    return {f"/{path}" for path in found if not RECORDS.match(f"/{path}")}


def install(folder: Path, deb: Path) -> None:
    inside(folder, "apt-get", "-qy", "install", f"/opt/{deb.name}")


@pytest.fixture(scope="module", params=INSTALLABLE, ids=named)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    found: Flavour = request.param
    return found


@pytest.fixture(scope="module")
def installed(flavour: Flavour) -> Iterator[Path]:
    deb = built(flavour, CHECKOUT)
    with debian(flavour.suite, deb) as folder:
        install(folder, deb)
        yield folder


def test_the_command_works(installed: Path) -> None:
    scanned = inside(installed, "dtagent", "scan", "--root", "/srv/tree")
    keys = [line.partition(":")[0] for line in scanned.splitlines()]
    assert keys == [f"beta.devicetree.org/{each.replace(',', '-')}" for each in EXPECTED]


def test_the_command_takes_no_module_from_its_caller(installed: Path) -> None:
    (installed / "srv/dtagent.py").write_text("raise SystemExit('a stranger')\n")
    version = inside(installed, "env", "PYTHONPATH=/srv", "dtagent", "--version", cwd="/srv")
    assert version.startswith("dtagent ")


def test_every_module_is_compiled_so_that_a_read_only_start_is_quick(installed: Path) -> None:
    library = installed / "usr/lib/dtagent"
    sources = set(library.rglob("*.py"))
    compiled = {
        path.parent.parent / f"{path.name.partition('.cpython-')[0]}.py"
        for path in library.rglob("__pycache__/*.pyc")
    }
    assert compiled == sources


def test_running_the_command_writes_nothing(installed: Path) -> None:
    before = paths(installed)
    inside(installed, "dtagent", "scan", "--root", "/srv/tree")
    inside(installed, "dtagent", "check-config")
    assert paths(installed) == before


def test_the_unit_is_enabled(installed: Path) -> None:
    assert (installed / "etc/systemd/system/multi-user.target.wants/dtagent.service").is_symlink()


def test_purge_leaves_nothing(flavour: Flavour) -> None:
    deb = built(flavour, CHECKOUT)
    with debian(flavour.suite, deb) as folder:
        before = paths(folder)
        install(folder, deb)
        (folder / "etc/dtagent.toml.d/10-mine.toml").write_text('log_level = "debug"\n')
        inside(folder, "dtagent", "check-config")
        inside(folder, "apt-get", "-qy", "remove", "dtagent")
        assert (folder / "etc/dtagent.toml.d/10-mine.toml").exists()
        inside(folder, "apt-get", "-qy", "purge", "dtagent")
        assert paths(folder) == before


def test_an_upgrade_of_the_release_goes_from_the_bundled_flavour_to_the_other(
    native: Package,
) -> None:
    """A hand-edited configuration, the enabled unit and the moved unit file come through."""
    (all_,) = [flavour for flavour in INSTALLABLE if not flavour.bundled]
    with debian(all_.suite, native.deb, built(all_, CHECKOUT)) as folder:
        install(folder, native.deb)
        (folder / "etc/dtagent.toml").write_text('log_level = "debug"\n')
        install(folder, built(all_, CHECKOUT))
        assert (folder / "etc/dtagent.toml").read_text() == 'log_level = "debug"\n'
        assert (folder / "usr/lib/systemd/system/dtagent.service").is_file()
        assert {path.name for path in (folder / "usr/lib/dtagent").iterdir()} == {"dtagent"}
        assert inside(folder, "dpkg", "--verify", "dtagent") == "??5?????? c /etc/dtagent.toml\n"
        assert "acme" not in inside(folder, "dtagent", "scan", "--root", "/srv/tree")
