"""apt upgrade, remove and purge: what must survive does, and nothing else is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process import wait_for

from .paths import paths
from .site import BOARD, CONFIG, EDITED, FAN, Site


@pytest.fixture(scope="module")
def place(subscribed: Site, untouched: object) -> Site:
    """The package installed as a file, its configuration edited by hand."""
    subscribed.install()
    subscribed.wait_labels(BOARD)
    subscribed.edit()
    return subscribed


def test_the_package_has_one_conffile(site: Site) -> None:
    said = site.machine.run("dpkg-query -W -f '${Conffiles}' dtagent", check=True).stdout
    assert [line.split()[0] for line in said.splitlines() if line.strip()] == [CONFIG]


def test_an_upgrade_restarts_the_agent_and_no_label_is_missing(site: Site, tmp_path: Path) -> None:
    pid, requests, next_version = site.pid, site.cluster.audit_mark(), site.package.newer(tmp_path)
    site.install(next_version)
    said = site.machine.run("dpkg-query -W -f '${Version}' dtagent", check=True).stdout
    assert said == next_version.version
    site.wait_active()
    assert site.pid != pid
    wait_for(lambda: f"3 labels true on Node {site.node}" in site.status, "the labels, found true")
    assert site.labels == BOARD | FAN
    assert all((BOARD | FAN).items() <= labels.items() for labels in site.applied(requests))


def test_a_configuration_edited_by_hand_survives_the_upgrade(site: Site) -> None:
    assert site.machine.path(CONFIG).read_text().endswith(EDITED)
    assert site.machine.run("ls /etc/dtagent.toml*dpkg*").status != 0


def test_removing_it_stops_the_agent_and_keeps_configuration_and_labels(site: Site) -> None:
    requests = site.cluster.audit_mark()
    site.apt("remove dtagent")
    assert site.machine.run("systemctl is-active dtagent").stdout.strip() == "inactive"
    assert site.machine.run("command -v dtagent").status != 0
    assert site.machine.path(CONFIG).read_text().endswith(EDITED)
    assert site.labels == BOARD | FAN
    assert site.applied(requests) == []


def test_purging_it_leaves_nothing_behind(
    site: Site, untouched: dict[str, tuple[int, str]]
) -> None:
    site.apt("purge dtagent")
    assert site.machine.run("journalctl --list-catalog | grep -c dtagent").stdout.strip() == "0"
    now = paths(site.machine)
    differ = {path for path in untouched | now if untouched.get(path) != now.get(path)}
    assert differ == set()


def test_it_can_be_installed_again(site: Site) -> None:
    requests = site.cluster.audit_mark()
    site.install()
    site.wait_labels(BOARD)
    assert site.cluster.audit(user=site.user, since=requests)
