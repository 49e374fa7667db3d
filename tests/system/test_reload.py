"""systemctl reload and restart, with a configuration that is right and one that is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dtagent.host import log

from .journal import ERROR, mark
from .site import BOARD, DROP_IN, Site

GPU = {"beta.devicetree.org/nvidia-tegra210-gm20b": "1", "beta.devicetree.org/nvidia-gm20b": "1"}
WITH_GPU = '[devicetree]\nnodes = ["/", "gpu"]\n'
WRONG = '[devicetree]\nnoeds = ["/", "gpu"]\n'


@pytest.fixture
def site(site: Site) -> Iterator[Site]:
    """With no configuration but the defaults, and active, before each test."""
    site.machine.run(f"rm -f {DROP_IN}; systemctl restart dtagent", check=True)
    site.wait_labels(BOARD)
    yield site


def test_a_reload_takes_a_new_configuration_in_the_same_process(site: Site) -> None:
    pid = site.pid
    site.configure(WITH_GPU)
    site.machine.run("systemctl reload dtagent", check=True)
    site.wait_labels(BOARD | GPU)
    assert site.pid == pid


def test_a_reload_with_a_wrong_one_fails_and_names_it_and_the_old_one_stays(site: Site) -> None:
    site.configure(WITH_GPU)
    site.machine.run("systemctl reload dtagent", check=True)
    site.wait_labels(BOARD | GPU)
    before, pid, requests = mark(site.machine), site.pid, site.cluster.audit_mark()
    site.configure(WRONG)
    assert site.machine.run("systemctl reload dtagent").status != 0
    assert site.show("ActiveState", "SubState", "MainPID") == {
        "ActiveState": "active",
        "SubState": "running",
        "MainPID": str(pid),
    }
    entry = site.wait_entry(log.CONFIGURATION_WRONG, before)
    assert entry.priority == ERROR
    assert DROP_IN in entry.message and "noeds" in entry.message
    site.configure(WITH_GPU)
    site.machine.run("systemctl reload dtagent", check=True)
    assert all((BOARD | GPU).items() <= labels.items() for labels in site.applied(requests))
    assert site.labels == BOARD | GPU


def test_a_start_with_a_wrong_one_fails_once_and_names_it(site: Site) -> None:
    before = mark(site.machine)
    site.configure(WRONG)
    assert site.machine.run("systemctl restart dtagent").status != 0
    # One that is to be started again would be "activating", in "auto-restart".
    assert site.show("ActiveState", "SubState", "ExecMainStatus", "NRestarts") == {
        "ActiveState": "failed",
        "SubState": "failed",
        "ExecMainStatus": "2",
        "NRestarts": "0",
    }
    entry = site.wait_entry(log.CONFIGURATION_WRONG, before)
    assert entry.priority == ERROR
    assert DROP_IN in entry.message and "noeds" in entry.message
    assert DROP_IN in site.status
    assert site.labels == BOARD


def test_after_the_correction_it_starts(site: Site) -> None:
    site.configure(WRONG)
    assert site.machine.run("systemctl restart dtagent").status != 0
    site.configure(WITH_GPU)
    site.machine.run("systemctl start dtagent", check=True)
    site.wait_labels(BOARD | GPU)
