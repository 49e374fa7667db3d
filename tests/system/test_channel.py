"""apt install dtagent, typed as it stands: from the first apt update to apt purge."""

from __future__ import annotations

import pytest

from .channel import Channel
from .packages import Package
from .paths import paths
from .site import BOARD, CONFIG, EDITED, FAN, Site

UPGRADE = "apt update && apt -y upgrade"


@pytest.fixture(scope="module")
def next_(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The version after the built one."""
    return package.newer(tmp_path_factory.mktemp("next"))


@pytest.fixture(scope="module")
def last(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The version after that, with another configuration file."""
    folder = tmp_path_factory.mktemp("last")
    return package.newer(folder, "+next2", "# a line more than before\n")


@pytest.fixture(scope="module")
def place(subscribed: Site, untouched: object) -> Site:
    subscribed.machine.run("apt update && apt install dtagent", 300, check=True, stdin="y\n")
    return subscribed


def version(site: Site) -> str:
    command = "dpkg-query -W -f '${db:Status-Status} ${Version}' dtagent"
    return site.machine.run(command, check=True).stdout.removeprefix("installed ")


def state(site: Site) -> tuple[str, str]:
    """Whether the unit is enabled, and whether it runs."""
    enabled, active = (
        site.machine.run(f"systemctl {question} dtagent").stdout.strip()
        for question in ("is-enabled", "is-active")
    )
    return enabled, active


def test_apt_install_dtagent_takes_the_releases_own_package_and_it_runs(site: Site) -> None:
    assert version(site) == site.package.version
    assert state(site) == ("enabled", "active")
    site.wait_labels(BOARD)


def test_the_key_comes_as_a_package_too_so_that_it_can_be_renewed(
    site: Site, archive: Channel
) -> None:
    keyring = "/usr/share/keyrings/dtagent-archive-keyring.pgp"
    owner = site.machine.run(f"dpkg -S {keyring}", check=True).stdout
    assert owner == f"dtagent-archive-keyring: {keyring}\n"
    assert site.machine.path(keyring).read_bytes() == archive.keyring
    site.machine.run("apt update", check=True)


def test_a_pin_and_unattended_upgrades_can_name_it(site: Site) -> None:
    said = site.machine.run("apt-cache policy", check=True).stdout
    assert f"release o=dtagent,a={site.package.suite},n={site.package.suite},l=dtagent" in said


def test_apt_upgrade_brings_the_next_version_and_no_label_is_missing(
    site: Site, archive: Channel, next_: Package
) -> None:
    site.edit()
    pid, requests = site.pid, site.cluster.audit_mark()
    archive.publish(next_)
    site.machine.run(UPGRADE, 300, check=True)
    assert version(site) == next_.version
    assert state(site) == ("enabled", "active")
    assert site.pid != pid
    assert site.machine.path(CONFIG).read_text().endswith(EDITED)
    assert site.labels == BOARD | FAN
    assert all((BOARD | FAN).items() <= labels.items() for labels in site.applied(requests))


def test_an_agent_that_was_stopped_stays_stopped_and_dpkgs_question_keeps_the_edits(
    site: Site, archive: Channel, last: Package
) -> None:
    site.machine.run("systemctl stop dtagent", check=True)
    archive.publish(last)
    said = site.machine.run(UPGRADE, 300, check=True, stdin="N\n").stdout
    assert f"Configuration file '{CONFIG}'" in said
    assert version(site) == last.version
    assert state(site) == ("enabled", "inactive")
    assert site.machine.path(CONFIG).read_text().endswith(EDITED)
    assert site.machine.path(f"{CONFIG}.dpkg-dist").exists()
    assert site.labels == BOARD | FAN


def test_a_downgrade_keeps_what_is_disabled_disabled(site: Site, next_: Package) -> None:
    site.machine.run("systemctl disable dtagent", check=True)
    downgrade = f"apt -y --allow-downgrades install dtagent={next_.version}"
    site.machine.run(downgrade, 300, check=True, stdin="N\n")
    assert version(site) == next_.version
    assert state(site) == ("disabled", "inactive")
    assert site.machine.path(CONFIG).read_text().endswith(EDITED)


def test_a_masked_unit_stays_masked_and_the_other_answer_takes_the_packages_file(
    site: Site, last: Package
) -> None:
    site.machine.run("systemctl mask dtagent", check=True)
    site.machine.run(UPGRADE, 300, check=True, stdin="Y\n")
    assert version(site) == last.version
    assert state(site)[0] == "masked"
    assert not site.machine.path(CONFIG).read_text().endswith(EDITED)
    assert site.machine.path(f"{CONFIG}.dpkg-old").read_text().endswith(EDITED)
    site.machine.run("systemctl unmask dtagent && systemctl enable --now dtagent", check=True)
    site.wait_labels(BOARD)


def test_purge_leaves_nothing_but_the_key_and_the_sources(
    site: Site, untouched: dict[str, tuple[int, str]]
) -> None:
    site.machine.run("apt -y purge dtagent", 300, check=True)
    now = paths(site.machine)
    differ = {path for path in untouched | now if untouched.get(path) != now.get(path)}
    assert {path for path in differ if "dtagent-archive-keyring" not in path} == set()
    assert "dtagent" not in site.machine.run("systemctl list-unit-files").stdout


def test_a_package_that_came_as_a_file_is_upgraded_by_the_channel(
    site: Site, package: Package, last: Package
) -> None:
    site.install(package)
    assert version(site) == package.version
    site.machine.run(UPGRADE, 300, check=True)
    assert version(site) == last.version
    assert state(site) == ("enabled", "active")
    site.wait_labels(BOARD)
