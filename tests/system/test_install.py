"""apt install on a host with a running cluster, its dependencies resolved and installed by apt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dtagent.host import log
from tests.apiserver import ApiServer
from tests.machine import Result
from tests.process import wait_for

from .journal import INFO
from .packages import Package
from .site import BOARD, PREFIX, Site, site

INSTALLED = "dpkg-query -W -f '${db:Status-Status}' "


@pytest.fixture(scope="module")
def before(package: Package, cluster: ApiServer) -> Iterator[Site]:
    """A host of the cluster that has neither the package nor what it depends on."""
    with site(package, cluster, bare=True) as host:
        host.join()
        assert any(host.machine.run(INSTALLED + name).status for name in package.depends)
        yield host


@pytest.fixture(scope="module")
def apt(before: Site) -> Result:
    """What apt-get install said."""
    return before.install()


@pytest.fixture(scope="module")
def place(before: Site, apt: Result) -> Site:
    return before


def test_apt_installs_it_with_its_real_dependencies(site: Site) -> None:
    for name in ("dtagent", *site.package.depends):
        said = site.machine.run(INSTALLED + name, check=True).stdout
        assert set(said.split()) == {"installed"}, name
    assert site.machine.run("dpkg --audit", check=True).stdout == ""


def test_every_module_of_ours_has_byte_code_for_the_releases_python(site: Site) -> None:
    """The unit may not write it, so that without it each start would compile the whole."""
    program = (
        "import importlib.util, pathlib; print(*(p for p in "
        "pathlib.Path('/usr/lib/dtagent/dtagent').rglob('*.py') "
        "if not pathlib.Path(importlib.util.cache_from_source(str(p))).exists()))"
    )
    assert site.machine.run(f'python3 -c "{program}"', check=True).stdout.strip() == ""


def test_the_unit_is_enabled_and_active_when_apt_returns(site: Site, apt: Result) -> None:
    assert site.machine.run("systemctl is-enabled dtagent").stdout.strip() == "enabled"
    assert site.show("Type", "ActiveState", "SubState", "NRestarts") == {
        "Type": "notify",
        "ActiveState": "active",
        "SubState": "running",
        "NRestarts": "0",
    }


def test_the_postinst_enables_and_starts_it_as_debhelper_does(site: Site) -> None:
    scripts = site.machine.path("/var/lib/dpkg/info")
    postinst = (scripts / "dtagent.postinst").read_text()
    assert "deb-systemd-helper" in postinst and "enable" in postinst
    assert "deb-systemd-invoke" in postinst


def test_the_labels_are_on_the_node(site: Site) -> None:
    site.wait_labels(BOARD)


def test_systemctl_status_says_what_is_true_and_where(site: Site) -> None:
    wait_for(lambda: f"2 labels true on Node {site.node}" in site.status, "the status line")
    assert f'Status: "2 labels true on Node {site.node}' in (
        site.machine.run("systemctl status dtagent", check=True).stdout
    )


def test_the_change_is_one_entry_with_the_node_and_each_label(site: Site) -> None:
    entry = site.wait_entry(log.LABELS_CHANGED, "")
    assert entry["DTAGENT_NODE"] == [site.node]
    assert sorted(entry["DTAGENT_LABEL"]) == sorted(f"+{k}={v}" for k, v in BOARD.items())
    assert entry["SYSLOG_IDENTIFIER"] == ["dtagent"]
    assert entry.priority == INFO


def test_journalctl_finds_an_entry_by_a_label(site: Site) -> None:
    label = f"+{PREFIX}nvidia-tegra210=1"
    found = site.machine.run(f"journalctl -o cat DTAGENT_LABEL={label}", check=True).stdout
    assert label in found


def test_it_is_started_at_boot_and_the_labels_stay_meanwhile(site: Site) -> None:
    mark = site.cluster.audit_mark()
    site.machine.shut_down()
    assert site.labels == BOARD
    site.machine.boot()
    site.wait_active()
    wait_for(lambda: f"true on Node {site.node}" in site.status, "the labels, found true")
    assert site.labels == BOARD
    assert all(BOARD.items() <= labels.items() for labels in site.applied(mark))
