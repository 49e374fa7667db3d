"""Debian 12 becomes Debian 13, by apt full-upgrade, with the agent there before and after.

Debian 13 is an archive of its own packages in a folder, of what such a host has installed: as from
a mirror, and without one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deb import cache, host
from deb import root as roots
from tests.process import wait_for

from .channel import SOURCES, Channel
from .packages import SYSTEM, built
from .site import BOARD, CONFIG, EDITED, FAN, Site

pytestmark = pytest.mark.parametrize("package", ["bookworm"], indirect=True, scope="module")
DEBIAN_13 = "deb [trusted=yes] file:/srv/trixie ./\n"


def debian_13() -> Path:
    """A folder with Debian 13's packages and their index."""
    packages = ("?essential", "apt", *SYSTEM, *built("trixie").depends)

    def make(made: Path, scratch: Path) -> None:
        host.ensure(("apt-utils",))
        for deb in roots.unpacked("trixie", roots.architecture(), packages, scratch / "files"):
            deb.rename(made / deb.name)
        (made / "Packages").write_text(
            host.run("apt-ftparchive", "packages", ".", cwd=made, merged=False)
        )

    return cache.cached("debian-13", [*roots.RECIPE, " ".join(packages)], make)


@pytest.fixture(scope="module")
def place(subscribed: Site) -> Site:
    """A host of Debian 12 with the agent of its channel, its configuration edited."""
    for file in debian_13().iterdir():
        subscribed.machine.put(f"/srv/trixie/{file.name}", file.read_bytes())
    subscribed.apt("update")
    subscribed.apt("install dtagent")
    subscribed.wait_labels(BOARD)
    subscribed.edit()
    return subscribed


def version(site: Site) -> str:
    return site.machine.run("dpkg-query -W -f '${Version}' dtagent", check=True).stdout


def test_full_upgrade_replaces_the_bundled_flavour_and_no_label_is_missing(
    site: Site, archive: Channel
) -> None:
    assert "~bundled" in version(site)
    requests = site.cluster.audit_mark()
    site.machine.put("/etc/apt/sources.list", DEBIAN_13)
    site.machine.put(SOURCES, archive.sources().replace("Suites: bookworm", "Suites: trixie"))
    site.apt("update")
    site.machine.run("apt-get -y full-upgrade", 900, check=True)
    assert version(site) == built("trixie").version
    assert site.machine.run("dpkg --audit", check=True).stdout == ""
    assert site.machine.path("/etc/debian_version").read_text().startswith("13")
    site.wait_active()
    assert site.labels == BOARD | FAN
    assert all((BOARD | FAN).items() <= labels.items() for labels in site.applied(requests))


def test_the_agent_went_on_while_its_python_was_replaced(site: Site) -> None:
    said = site.machine.run("journalctl -u dtagent -o cat", check=True).stdout
    assert said.count("Stopping dtagent.service") == 1
    assert "Main process exited" not in said
    assert "Scheduled restart job" not in said


def test_it_runs_on_the_new_releases_python_and_libraries_alone(site: Site) -> None:
    interpreter = site.machine.path(f"/proc/{site.pid}/exe").readlink()
    assert str(interpreter) == "/usr/bin/python3.13"
    library = site.machine.path("/usr/lib/dtagent")
    assert {path.name for path in library.iterdir()} == {"dtagent"}


def test_its_configuration_and_its_place_in_the_boot_stay(site: Site) -> None:
    assert site.machine.path(CONFIG).read_text().endswith(EDITED)
    assert site.machine.run("systemctl is-enabled dtagent").stdout == "enabled\n"
    site.machine.shut_down()
    site.machine.boot()
    site.wait_active()
    wait_for(lambda: f"3 labels true on Node {site.node}" in site.status, "the labels, found true")
