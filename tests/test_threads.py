"""What becomes of the agent when one of its threads dies of something that nobody foresaw."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo.tree import add_node, strings
from dtagent import agent
from dtagent.agent import Agent
from dtagent.cluster.node import NodeWatch
from dtagent.config.settings import DevicetreeTable, OverlaysTable, Settings
from dtagent.events import Event, Happening, Stopped
from dtagent.host.log import Systemd
from dtagent.host.status import Status
from dtagent.overlays import settle
from dtagent.overlays.watch import OverlayWatch
from dtagent.publish.reconcile import Outcome, Publisher
from tests.host import PREFIX, Host
from tests.process import DEADLINE, wait_for


def dies(*_: object) -> None:
    raise KeyError("unforeseen")


def timer_dies(_: object) -> None:
    if threading.current_thread() is not threading.main_thread():
        dies()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`dtagent run` in this process: with its handlers and its hook put back after it."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    late = threading.Timer(DEADLINE, os.kill, (os.getpid(), signal.SIGTERM))
    late.start()
    yield
    late.cancel()
    late.join()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("thread", "where", "name", "death"),
    [
        ("overlays", OverlayWatch, "_run", dies),
        ("node", NodeWatch, "_watch", dies),
        ("Thread-", Systemd, "ready", timer_dies),
    ],
)
def test_a_thread_that_dies_ends_the_agent_with_one_line_and_status_1(
    host: Host,
    in_process: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    thread: str,
    where: type,
    name: str,
    death: object,
) -> None:
    assert host.run("publish") == 0
    host.configure(f'overlays.path = "{tmp_path}"')
    monkeypatch.setattr(where, name, death)
    monkeypatch.setattr(agent, "READY_AFTER", 0.0)
    capsys.readouterr()
    assert host.run("run") == 1
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if "died" in line or "Traceback" in line]
    start = f"dtagent: internal error, please report it: RuntimeError: thread {thread}"
    assert line.startswith(start)
    assert line.endswith(" died of KeyError: 'unforeseen' (DTAGENT_LOG_LEVEL=debug shows where)")
    assert host.labels == {PREFIX + "acme-board": "1"}


class Nowhere(Publisher):
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.labels: Mapping[str, str] = {}

    def publish(self, labels: Mapping[str, str]) -> Outcome:
        self.labels = labels
        return Outcome("nowhere", [])


@pytest.fixture
def settings(tmp_path: Path, nano: Path) -> Settings:
    folder = tmp_path / "overlays"
    folder.mkdir()
    return Settings(
        devicetree=DevicetreeTable(root=nano, nodes=("/", "compatible:acme,*")),
        overlays=OverlaysTable(path=str(folder)),
    )


@pytest.mark.parametrize("kind", ["InotifyObserver", "InotifyEmitter", "reader"])
def test_a_thread_of_watchdog_that_dies_is_replaced_with_a_warning(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """As its reader does up to 6.x, of a KeyError."""
    monkeypatch.setattr(settle, "POINTS", (0.0,))  # a scan is an event's, and no series' later one
    events: queue.SimpleQueue[Happening] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", events.put)
    publisher, folder = Nowhere(), Path(settings.overlays.path)
    agent = Agent(settings, lambda: settings, lambda *_: publisher, Status(Systemd({})), events)
    run = threading.Thread(target=agent.run)
    run.start()
    try:
        wait_for(lambda: publisher.labels, "the first labels")
        wait_for(events.empty, "a quiet queue")
        threads = {
            type(thread).__name__: thread
            for thread in threading.enumerate()
            if type(thread).__module__.startswith("watchdog.")
        }
        assert len(threads) == 3
        (reader,) = set(threads) - {"InotifyObserver", "InotifyEmitter"}
        dying = threads[reader if kind == "reader" else kind]
        vars(dying)["should_keep_running"] = dies
        (folder / "wakes").mkdir()
        dying.join(DEADLINE)
        wait_for(lambda: "the overlay watch failed" in caplog.text, "the warning")
        wait_for(lambda: not any(each.is_alive() for each in threads.values()), "the old ones' end")
        add_node(settings.devicetree.root, "/sensor@1", {"compatible": strings("acme,sensor")})
        (folder / "event").mkdir()
        wait_for(lambda: PREFIX + "acme-sensor" in publisher.labels, "the device's label")
    finally:
        events.put(Event.STOP)
        run.join(DEADLINE)
    assert not run.is_alive()


def test_a_stop_amid_a_reload_touches_no_descriptor_that_is_another_one_now(
    settings: Settings,
) -> None:
    events: queue.SimpleQueue[Happening] = queue.SimpleQueue()
    events.put(Event.RELOAD)
    seen = SimpleNamespace(agent=None)
    other = os.eventfd(0, os.EFD_NONBLOCK)

    def publisher(*_: object) -> Nowhere:
        if seen.agent:
            os.dup2(other, seen.descriptor)  # the number of the watch that was closed
            raise Stopped
        return Nowhere()

    seen.agent = Agent(settings, lambda: settings, publisher, Status(Systemd({})), events)
    seen.descriptor = seen.agent._watch._wake
    with contextlib.suppress(Stopped):
        seen.agent.run()
    os.close(seen.descriptor)  # it is still open
    with pytest.raises(BlockingIOError):  # and nobody wrote to it
        os.eventfd_read(other)
    os.close(other)
