"""What the agent costs, by counts: modules, threads, descriptors, requests. Never by time.

A count is the same on a slow machine, so what grows here has grown on every board. Memory and time
are measured by `make bench` (docs/performance.md); test_devicetree.py has a scan's system calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.tree import add_node, strings
from tests.host import PREFIX, Host
from tests.process import Process, wait_for

MODULES_MAX = 350
"""309 of the newest packages on CPython 3.11; pydantic is 70 more, the client's models are 800."""
THREADS = 6
"""The loop, `overlays` and watchdog's three, `node`."""
DESCRIPTORS_MAX = 20
"""Standard streams, the lock, systemd's socket, two connections; the rest are the watch's."""


MODULES_AT_EXIT = """
import atexit, os, sys
def tell(pid=os.getpid()):
    if os.getpid() == pid:  # and not a child that the agent forked
        print(*sys.modules)
atexit.register(tell)
from dtagent.cli import main
sys.exit(main())
"""


@pytest.fixture
def overlays(host: Host, tmp_path: Path) -> Path:
    """The folder in which overlays come and go."""
    folder = tmp_path / "overlays"
    folder.mkdir()
    host.configure(f'overlays.path = "{folder}"')
    return folder


@pytest.fixture
def agent(host: Host, overlays: Path, tmp_path: Path) -> Iterator[Process]:
    """An agent that has published, with its watches up."""
    with Process(tmp_path, "--config", str(host.config)) as process:
        process.wait_said("STATUS=1 label true")
        wait_for(lambda: threads(process) == THREADS, f"{THREADS} threads")
        yield process


def threads(agent: Process) -> int:
    return len(list(Path(f"/proc/{agent.popen.pid}/task").iterdir()))


def descriptors(agent: Process) -> int:
    return len(list(Path(f"/proc/{agent.popen.pid}/fd").iterdir()))


def bring(host: Host, overlays: Path, name: str) -> None:
    """An overlay with one device, up to the device's label on the Node."""
    add_node(host.base, f"/{name}", {"compatible": strings(f"acme,{name}")})
    (overlays / name).mkdir()
    wait_for(lambda: f"{PREFIX}acme-{name}" in host.labels, f"the label of {name}")


def modules(host: Host, directory: Path) -> set[str]:
    """All that an agent has imported which became ready and was told to stop."""
    program = ("-c", MODULES_AT_EXIT)
    with Process(directory, "--config", str(host.config), program=program) as process:
        process.wait_said("STATUS=1 label true")
        assert process.stop() == 0
    return set(process.output[-1].split())


def test_a_running_agent_holds_a_bounded_number_of_threads_and_descriptors(agent: Process) -> None:
    wait_for(lambda: descriptors(agent) <= DESCRIPTORS_MAX, f"{DESCRIPTORS_MAX} descriptors")


def test_a_hundred_overlay_events_leave_no_thread_and_no_descriptor_behind(
    host: Host, agent: Process, overlays: Path
) -> None:
    bring(host, overlays, "first")  # for which there is a connection beside the watch's
    before = descriptors(agent)
    for number in range(50):
        (overlays / f"hat{number}").mkdir()
        (overlays / f"hat{number}").rmdir()
    bring(host, overlays, "last")
    # The watch is made anew at the end of a series: two of them for a moment.
    wait_for(
        lambda: threads(agent) == THREADS and descriptors(agent) <= before,
        f"{THREADS} threads and {before} descriptors",
    )


def test_a_change_is_one_request_and_one_more_for_the_event_later(
    host: Host, agent: Process, overlays: Path
) -> None:
    mark = host.cluster.audit_mark()
    bring(host, overlays, "sensor")
    wait_for(lambda: len(host.requests(mark)) > 1, "the Event")
    assert [verb for verb, _ in host.requests(mark)] == ["patch", "create"]


def test_a_running_agent_has_imported_a_bounded_number_of_modules_and_no_pydantic(
    host: Host, overlays: Path, tmp_path: Path
) -> None:
    """What judges the configuration has ended, and the client's API models were never there."""
    found = modules(host, tmp_path)
    assert "kubernetes.client.rest" in found
    for name in ("pydantic", "pydantic_core", "pydantic_settings", "kubernetes.client.models"):
        assert name not in found
    assert len(found) <= MODULES_MAX, sorted(found)
