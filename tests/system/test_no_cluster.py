"""apt install on a host whose cluster is not there, or not there yet, or never comes up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.jetson_nano import JETSON_NANO
from demo.tree import write_tree
from dtagent.host import log
from tests.apiserver import ApiServer
from tests.process import wait_for

from .journal import WARNING
from .packages import Package
from .site import BOARD, Site, site

K3S = b"""\
[Unit]
After=network.target
[Service]
Type=notify
TimeoutStartSec=0
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def place(package: Package, cluster: ApiServer) -> Iterator[Site]:
    """A host where k3s is starting, and never says that it has."""
    with site(package, cluster, files={"/etc/systemd/system/k3s.service": K3S}) as host:
        host.machine.run("systemctl enable k3s && systemctl start --no-block k3s", check=True)
        host.install()
        yield host


def test_apt_returns_with_the_agent_active_while_k3s_is_still_starting(site: Site) -> None:
    assert site.show("ActiveState", "SubState") == {
        "ActiveState": "active",
        "SubState": "running",
    }
    assert site.machine.run("systemctl is-active k3s").stdout.strip() == "activating"


def test_it_says_what_it_waits_for(site: Site) -> None:
    wait_for(lambda: site.status.startswith("waiting since "), "the status line")
    assert "kubeconfig" in site.status
    entry = site.wait_entry(log.OUTAGE_BEGAN, "")
    assert entry.priority == WARNING
    assert "kubeconfig" in entry.message


def test_it_publishes_when_the_kubeconfig_appears_and_the_server_comes_up(site: Site) -> None:
    """The last of this machine's tests: the cluster is there after it."""
    site.cluster.stop_server()
    try:
        site.join()
        wait_for(lambda: site.cluster.url in site.status, "the server that it waits for")
    finally:
        site.cluster.start_server()
    site.wait_labels(BOARD)
    assert site.show("NRestarts") == {"NRestarts": "0"}


def test_a_host_without_a_devicetree_shows_a_skipped_unit_and_no_failed_one(
    package: Package, cluster: ApiServer
) -> None:
    with site(package, cluster, tree=None) as pc:
        pc.join()
        pc.install()
        assert pc.show("ActiveState", "ConditionResult", "Result") == {
            "ActiveState": "inactive",
            "ConditionResult": "no",
            "Result": "success",
        }
        write_tree(JETSON_NANO, pc.machine.devicetree)
        pc.machine.run("systemctl start dtagent", check=True)
        pc.wait_labels(BOARD)


def test_apt_returns_fine_over_a_wrong_configuration_which_the_unit_names(
    package: Package, cluster: ApiServer
) -> None:
    wrong = {"/etc/dtagent.toml.d/left.toml": b"resync = '5m'\n"}
    with site(package, cluster, files=wrong) as host:
        host.install()
        assert host.show("ActiveState", "ExecMainStatus") == {
            "ActiveState": "failed",
            "ExecMainStatus": "2",
        }
        assert "left.toml" in host.status
