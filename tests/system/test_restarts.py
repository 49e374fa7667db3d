"""An agent that dies or hangs is started again, and no label is missing meanwhile."""

from __future__ import annotations

import pytest

from tests.process import wait_for

from .journal import about, mark
from .site import BOARD, Site

DROP_IN = "/run/systemd/system/dtagent.service.d/watchdog.conf"
WATCHDOG = 5  # seconds


def restarts(site: Site) -> int:
    return int(site.show("NRestarts")["NRestarts"])


def wait_new_process(site: Site, old: int) -> None:
    """Until another process than `old` runs and has said that it is ready."""
    wait_for(lambda: site.pid not in (0, old), "a new process")
    site.wait_active()
    wait_for(lambda: f"true on Node {site.node}" in site.status, "the labels, found true")


def test_a_killed_agent_is_started_again(site: Site) -> None:
    site.wait_labels(BOARD)
    pid, count, requests = site.pid, restarts(site), site.cluster.audit_mark()
    site.machine.run(f"kill -KILL {pid}", check=True)
    wait_new_process(site, pid)
    assert restarts(site) == count + 1
    assert site.labels == BOARD
    assert all(BOARD.items() <= labels.items() for labels in site.applied(requests))


def test_what_changed_while_it_was_dead_is_published(site: Site) -> None:
    file = site.machine.devicetree / "compatible"
    before = file.read_bytes()
    pid = site.pid
    site.machine.run(f"kill -KILL {pid}", check=True)
    file.unlink()
    file.write_bytes(before + b"acme,carrier\0")
    site.wait_labels({**BOARD, "beta.devicetree.org/acme-carrier": "1"})
    file.unlink()
    file.write_bytes(before)
    site.machine.run("systemctl reload dtagent", check=True)
    site.wait_labels(BOARD)


@pytest.fixture
def watched(site: Site) -> Site:
    """With a shorter time than the unit's, by a drop-in, as an administrator would set it."""
    site.machine.put(DROP_IN, f"[Service]\nWatchdogSec={WATCHDOG}s\nRestartSec=1s\n")
    site.machine.run("systemctl daemon-reload && systemctl restart dtagent", check=True)
    wait_for(lambda: f"true on Node {site.node}" in site.status, "the labels, found true")
    return site


def test_the_watchdog_ends_a_hanging_agent_and_it_is_started_again(watched: Site) -> None:
    before, pid, requests = mark(watched.machine), watched.pid, watched.cluster.audit_mark()
    watched.machine.run(f"kill -STOP {pid}", check=True)
    wait_new_process(watched, pid)
    assert any("Watchdog timeout" in each.message for each in about(watched.machine, before))
    assert watched.show("Result", "NRestarts") == {"Result": "success", "NRestarts": "1"}
    assert watched.labels == BOARD
    assert all(BOARD.items() <= labels.items() for labels in watched.applied(requests))


def test_an_agent_that_works_feeds_its_watchdog(watched: Site) -> None:
    """For twice the watchdog's time, by what systemd says of when it was fed."""
    pid = watched.pid
    assert watched.show("WatchdogUSec") == {"WatchdogUSec": f"{WATCHDOG}s"}

    def fed() -> int:
        return int(watched.show("WatchdogTimestampMonotonic")["WatchdogTimestampMonotonic"])

    start = fed()
    wait_for(lambda: fed() - start > 2e6 * WATCHDOG, "being fed")
    assert watched.pid == pid
