"""A board without a clock boots in 1970, where no certificate is valid yet, and is told the time.

The agent's clock is libfaketime's, which reads the time from a file; only the wall clock is moved.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deb.host import ensure, run
from tests.host import PREFIX, Host
from tests.process import Process, wait_for

BOOT, NOW = "@1970-01-01 00:01:00", "+0"


def library() -> str:
    """libfaketime, which Debian keeps beside the loader's own folders."""
    ensure(["libfaketime"])
    files = run("dpkg-query", "-L", "libfaketime").split()
    return next(file for file in files if file.endswith("libfaketime.so.1"))


@pytest.mark.skipif(os.geteuid() != 0, reason="installs libfaketime, if need be")
def test_labels_are_published_when_the_clock_is_set(host: Host, tmp_path: Path) -> None:
    wall = tmp_path / "wall"
    wall.write_text(BOOT)
    environ = {
        "LD_PRELOAD": library(),
        "FAKETIME_TIMESTAMP_FILE": str(wall),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with Process(tmp_path, "--config", str(host.config), **environ) as agent:
        agent.wait_error("certificate is not yet valid")
        wait_for(lambda: "waiting since 1970-" in agent.status, "the status of an outage")
        assert host.labels == {}
        wall.write_text(NOW)
        wait_for(lambda: host.labels == {PREFIX + "acme-board": "1"}, "labels on the Node")
        agent.wait_error("is in reach again")
        agent.stop()
    assert len([line for line in agent.errors if "trying again" in line]) == 1, agent.errors
