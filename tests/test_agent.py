"""The loop's decisions on a clock that the test holds."""

from __future__ import annotations

import itertools
import queue
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo.tree import Tree, add_node, strings, write_tree
from dtagent import agent
from dtagent.agent import Agent
from dtagent.cluster import backoff, credentials, patch
from dtagent.cluster.connection import Connection
from dtagent.config.settings import DevicetreeTable, LabelsTable, NodeTable, OverlaysTable, Settings
from dtagent.errors import NodeError, NodeMissingError, UnreachableError
from dtagent.events import Event, Happening
from dtagent.host.log import Systemd
from dtagent.host.status import Status
from dtagent.overlays import configfs, settle
from dtagent.publish.reconcile import Outcome, Publisher
from tests.process import DEADLINE


class World(Publisher):
    """A clock that jumps to the agent's next deadline, a tree, and a Node that may be away.

    `script` is what happens at which second; the agent stops when there is no more of it.
    """

    def __init__(self, base: Path) -> None:
        self.now = 0.0
        self.base = base
        self.away = False
        self.published: list[tuple[float, dict[str, str]]] = []
        self.told: list[str] = []
        self.attempts: list[float] = []
        self.script: list[tuple[float, Callable[[], Event | None]]] = []
        self.connection = Connection(self.settings().node)
        write_tree({"compatible": strings("acme,board")}, base)

    def settings(self) -> Settings:
        return Settings(
            devicetree=DevicetreeTable(root=self.base, nodes=("/", "compatible:acme,*")),
            node=NodeTable(kubeconfig=str(self.base.parent / "kubeconfig")),
        )

    def get(self, timeout: float) -> Event:
        """The queue's place: the next line of the script, or the deadline if that is sooner."""
        if not self.script:
            return Event.STOP
        at, act = self.script[0]
        if at > self.now + timeout:
            self.now += timeout
            raise queue.Empty
        self.now = max(self.now, at)
        del self.script[0]
        event = act()
        if event is None:
            raise queue.Empty
        return event

    def empty(self) -> bool:
        return True

    def put(self, event: Event) -> None:
        raise AssertionError("nobody else is here")

    def publish(self, labels: Mapping[str, str]) -> Outcome:
        self.attempts.append(self.now)
        with suppress(NodeError):
            self.connection.api()
        if self.away:
            raise UnreachableError("away")
        before = self.published[-1][1] if self.published else {}
        self.published.append((self.now, dict(labels)))
        return Outcome("the Node", patch.changed(before, labels))

    def tell(self, reason: str, message: str) -> None:
        self.told.append(message)

    def outdated(self) -> bool:
        """As the publisher of a Node answers, which connects by this kubeconfig."""
        return self.connection.files.changed()

    def run(self) -> None:
        events: queue.SimpleQueue[Happening] = self  # type: ignore[assignment]
        status, settings = Status(Systemd({})), self.settings
        Agent(settings(), settings, lambda *_: self, status, events, lambda: self.now).run()

    def at(self, second: float, act: Callable[[], object], event: Event | None = None) -> None:
        def then() -> Event | None:
            act()
            return event

        self.script.append((second, then))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "base")


def nothing() -> None:
    """For a line of a script that only waits."""


def test_it_publishes_at_once_and_then_at_each_resync(world: World) -> None:
    world.at(1000, nothing)
    world.run()
    times = [at for at, _ in world.published]
    assert times[0] == 0
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert len(gaps) >= 3
    assert all(270 <= gap <= 330 for gap in gaps)
    assert len(set(gaps)) > 1, "jitter: a fleet must not ask its server all at once"


def test_waits_between_attempts_grow_to_about_a_minute(world: World) -> None:
    world.away = True
    world.at(3600, nothing)
    world.run()
    gaps = [b - a for a, b in itertools.pairwise(world.attempts)]
    assert all(gap <= limit for gap, limit in zip(gaps, (1, 2, 4, 8, 16, 32), strict=False))
    assert max(gaps) <= backoff.MAX
    assert 60 <= len(world.attempts) <= 600


def test_after_an_outage_the_newest_result_is_published_and_waits_are_short_again(
    world: World,
) -> None:
    new: Tree = {"compatible": strings("acme,new")}
    world.away = True
    world.at(400, lambda: write_tree(new, world.base / "new"), Event.RELOAD)
    world.at(1000, lambda: setattr(world, "away", False))
    world.at(1100, lambda: setattr(world, "away", True), Event.RELOAD)
    world.at(1101.5, nothing)
    world.run()
    (at, labels), *_ = world.published
    assert 1000 <= at <= 1060
    assert set(labels) == {"beta.devicetree.org/acme-board", "beta.devicetree.org/acme-new"}
    assert len([at for at in world.attempts if at >= 1100]) >= 2


def heals_at_once(world: World, act: Callable[[], None]) -> None:
    """Long into an outage `act` is something to hope from, and the next look sees it."""
    world.away = True
    world.at(500, nothing)
    world.at(501, act)
    world.at(504, nothing)
    world.run()
    assert [at for at, _ in world.published if 501 <= at <= 503.1]


def test_a_kubeconfig_that_changes_cuts_the_wait_short(world: World) -> None:
    kubeconfig = world.base.parent / "kubeconfig"

    def arrive() -> None:
        world.away = False
        kubeconfig.write_text("{}")

    heals_at_once(world, arrive)


def test_a_clock_that_is_set_cuts_the_wait_short(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = 60.0  # a board that boots in 1970

    def set_clock() -> None:
        nonlocal wall
        world.away, wall = False, 1.8e9

    clock = SimpleNamespace(time=lambda: wall, monotonic=lambda: 0.0)
    monkeypatch.setattr(credentials, "time", clock)
    heals_at_once(world, set_clock)


def test_a_tree_that_fails_publishes_nothing_and_is_tried_again(world: World) -> None:
    away = world.base.with_name("away")
    world.at(10, lambda: world.base.rename(away), Event.RELOAD)
    world.at(200, lambda: away.rename(world.base))
    world.at(261, nothing)
    world.run()
    assert [at for at, _ in world.published if 10 <= at < 200] == []
    assert [at for at, _ in world.published if at >= 200]


def test_a_resync_looks_for_an_overlay_folder_that_no_event_told_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    watch = SimpleNamespace(folder=None, close=nothing, restart=lambda: looks.append(world.now))
    monkeypatch.setattr(agent, "OverlayWatch", lambda *_: watch)
    monkeypatch.setattr(configfs, "concern", lambda _: True)
    world.at(1000, nothing)
    world.run()
    resyncs = {at for at in world.attempts if at > settle.LAST}
    assert len(resyncs) >= 3
    assert resyncs <= set(looks)
    assert len(looks) <= len(resyncs) + 2, "beside them the first scan and the series' last look"


@pytest.mark.parametrize("event", [Event.NODE, Event.RELOAD, Event.OVERLAY])
def test_of_a_storm_of_events_each_is_heeded_once(world: World, event: Event) -> None:
    """What they have to say is asked of the server, and it answers each time that it is asked."""
    events: queue.SimpleQueue[Happening] = queue.SimpleQueue()
    attempts: list[str] = []
    loaded: list[Settings] = []

    def load() -> Settings:
        loaded.append(world.settings())
        return loaded[-1]

    def publish(labels: Mapping[str, str]) -> Outcome:
        attempts.append("publish")
        for happened in [event] * 1000 if len(attempts) == 1 else [Event.STOP]:
            events.put(happened)
        raise NodeMissingError("there is none")

    world.publish = publish  # type: ignore[method-assign]
    Agent(world.settings(), load, lambda *_: world, Status(Systemd({})), events).run()
    assert len(attempts) == 2
    assert len(loaded) == (1 if event is Event.RELOAD else 0)


def test_a_deadline_that_is_a_moment_away_is_not_slept_through(world: World) -> None:
    """A wait of the queue itself would be, on CPython 3.10 to 3.12: within some ten thousand."""
    events: queue.SimpleQueue[Happening] = queue.SimpleQueue()
    status = Status(Systemd({}))
    agent = Agent(world.settings(), world.settings, lambda *_: world, status, events, lambda: 0.0)
    agent._settle.series = []
    agent._resync_due = 1e-6

    def wait() -> None:
        for _ in range(40_000):
            events.put(Event.OVERLAY)
            assert Event.OVERLAY in agent._wait()
            assert not agent._wait()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_nothing_wakes_it_while_all_is_well(world: World) -> None:
    waits: list[float] = []
    get = world.get

    def counted(timeout: float) -> Event:
        waits.extend([world.now] if timeout else [])
        return get(timeout)

    world.get = counted  # type: ignore[method-assign]
    world.at(3600, nothing)
    world.run()
    # Beside the scans that follow a start, whose last comes 10 s after it.
    assert len([at for at in waits if at >= 10]) <= len(world.published) + 1


def test_a_selector_that_chooses_nothing_is_noted_each_time_that_becomes_true(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at each scan in between."""
    caplog.set_level("INFO", "dtagent")
    settings = world.settings()
    table = replace(settings.devicetree, nodes=("/", "hat"))
    monkeypatch.setattr(world, "settings", lambda: replace(settings, devicetree=table))
    noted: list[int] = []

    def count() -> None:
        noted.append(caplog.messages.count("'hat' chooses no node"))

    world.at(1000, count)
    world.at(1001, lambda: add_node(world.base, "/hat", {"compatible": strings("acme,hat")}))
    world.at(2000, count)
    world.at(2001, lambda: shutil.rmtree(world.base / "hat"))
    world.at(3000, count)
    world.run()
    assert noted == [1, 1, 2]


def test_a_reload_that_changes_labels_is_no_event_and_hardware_is_one_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.settings()
    second = replace(first, labels=LabelsTable(prefix="e.org/"))
    monkeypatch.setattr(world, "settings", lambda: first if world.now < 100 else second)
    world.at(100, nothing, Event.RELOAD)
    new: Tree = {"compatible": strings("acme,hat")}
    world.at(500, lambda: add_node(world.base, "/hat", new), Event.OVERLAY)
    world.at(1000, nothing)
    world.run()
    assert {*world.published[-1][1]} == {"e.org/acme-board", "e.org/acme-hat"}
    assert world.told == ["the devicetree changed: +e.org/acme-hat=1"]


def overlays_in(place: Path, *names: str) -> OverlaysTable:
    """A folder as the vendor's configfs has it, in which these are applied."""
    for name in names:
        (place / name).mkdir(parents=True)
        for file, text in (("status", "applied\n"), ("path", f"{name}.dtbo\n"), ("dtbo", "")):
            (place / name / file).write_text(text)
    return OverlaysTable(path=str(place))


def test_overlays_that_a_start_or_a_reload_finds_are_no_event(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = replace(world.settings(), overlays=overlays_in(tmp_path / "one", "hat"))
    second = replace(first, overlays=overlays_in(tmp_path / "two", "cape"))
    monkeypatch.setattr(world, "settings", lambda: first if world.now < 500 else second)

    def watch(path: str, _: object) -> SimpleNamespace:
        return SimpleNamespace(folder=Path(path), close=nothing, restart=nothing)

    monkeypatch.setattr(agent, "OverlayWatch", watch)
    world.at(500, nothing, Event.RELOAD)
    world.at(1000, lambda: overlays_in(tmp_path / "two", "late"), Event.OVERLAY)
    world.at(1500, nothing)
    world.run()
    overlays = {key for key in world.published[-1][1] if key.startswith("overlay.")}
    assert overlays == {"overlay.devicetree.org/cape", "overlay.devicetree.org/late"}
    assert world.told == ["overlay late applied: +overlay.devicetree.org/late=applied"]
