"""When to scan after an event and when to believe a loss: pure, and in the loop on a held clock."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from demo.tree import add_node, remove_node, strings
from dtagent.events import Event
from dtagent.overlays.settle import (
    DEBOUNCE,
    DEBOUNCE_MAX,
    POINTS,
    REST,
    REST_SOON,
    SOON,
    Settle,
)
from dtagent.publish.reconcile import BURST, BURST_TIME
from dtagent.tree import devicetree
from tests.test_agent import World, nothing

A = "beta.devicetree.org/acme-a"


def scans(settle: Settle, start: float, cost: float = 0.0) -> list[float]:
    """The times of the scans of a series, each taking `cost`, none showing a change."""
    times = []
    now = start
    while settle.due < math.inf:
        now = max(now, settle.due)
        times.append(round(now - start, 6))
        settle.scanned(now, now + cost, {})
        now += cost
    return times


def look(settle: Settle, now: float, found: Mapping[str, str], *late: str) -> dict[str, str]:
    """What is to be published after a scan that took no time."""
    return settle.scanned(now, now, found, late)


def quiet() -> Settle:
    """One whose first series is over, long ago."""
    settle = Settle(-100.0)
    settle.scanned(-50.0, -50.0, {})
    assert not settle.series
    return settle


def test_points_are_at_once_then_each_a_quarter_as_far_again_to_ten_seconds() -> None:
    for settle in (Settle(100.0), quiet()):
        settle.begin(100.0)
        times = scans(settle, 100.0)
        assert not settle.series
        assert times == pytest.approx(POINTS, abs=1e-5)
        assert times[:4] == pytest.approx([0, 0.020, 0.025, 0.03125], abs=1e-5)
        assert times[-1] == 10.0
        assert len(times) <= 30


def test_the_last_scan_is_known_before_it_is_made() -> None:
    settle = Settle(0.0)
    seen = []
    while settle.due < math.inf:
        seen.append(len(settle.series) == 1)
        look(settle, settle.due, {})
    assert seen == [False] * (len(POINTS) - 1) + [True]


def test_a_scan_rests_as_long_as_it_took_and_five_times_as_long_after_a_second() -> None:
    times = scans(Settle(0.0), 0.0, cost=0.1)
    gaps = [(sooner, later - sooner) for sooner, later in itertools.pairwise(times)]
    assert min(gap for _, gap in gaps) >= 0.1 + REST_SOON * 0.1 - 1e-9
    assert min(gap for start, gap in gaps if start >= SOON) >= 0.1 + REST * 0.1 - 1e-9
    assert times[-1] >= 10.0, "the last point is scanned all the same"


def test_a_change_starts_the_points_again() -> None:
    settle = Settle(0.0)
    while (due := settle.due) < 1.0:
        look(settle, due, {})
    look(settle, due, {"a": "1"})
    assert settle.due == pytest.approx(due + 0.020)
    settle.begin(50.0)
    assert settle.due == 50.0


def test_gains_go_out_at_once_and_losses_only_when_they_last() -> None:
    settle = Settle(0.0)
    assert look(settle, 0.0, {"a": "2", "b": "x"}) == {"a": "2", "b": "x"}
    assert look(settle, 20.0, {"a": "2", "b": "x"}) == {"a": "2", "b": "x"}
    assert look(settle, 21.0, {"a": "1", "c": "1"}) == {"a": "2", "b": "x", "c": "1"}
    assert settle.due == 21.0 + DEBOUNCE
    assert look(settle, 21.1, {"a": "3", "b": "y", "c": "1"}) == {"a": "3", "b": "y", "c": "1"}
    assert settle.due == math.inf
    assert look(settle, 22.0, {"a": "2"}) == {"a": "3", "b": "y", "c": "1"}
    assert look(settle, 22.0 + DEBOUNCE, {"a": "2"}) == {"a": "2"}
    assert settle.due == math.inf


def test_an_event_puts_a_loss_off_and_a_storm_does_so_for_ten_seconds_at_most() -> None:
    settle = Settle(0.0)
    look(settle, 0.0, {"a": "1"})
    now = 1.0
    while look(settle, now, {}):
        now += 0.1
        settle.begin(now)
    assert now == pytest.approx(1.0 + DEBOUNCE_MAX, abs=0.15)


def test_a_label_that_comes_back_begins_its_loss_anew() -> None:
    settle = Settle(-100.0)
    look(settle, 0.0, {"a": "1"})
    look(settle, 1.0, {})
    look(settle, 1.2, {"a": "1"})
    assert look(settle, 1.35, {}) == {"a": "1"}
    assert look(settle, 1.35 + DEBOUNCE, {}) == {}


def test_a_scan_that_fails_begins_a_loss_anew() -> None:
    settle = Settle(-100.0)
    look(settle, 0.0, {"a": "1"})
    look(settle, 1.0, {})
    settle.failed(1.2, 1.2)
    assert settle.due == math.inf, "it is not scanned for until the tree can be read again"
    assert look(settle, 9.0, {}) == {"a": "1"}
    assert look(settle, 9.0 + DEBOUNCE, {}) == {}


def test_what_comes_late_waits_for_the_end_of_the_series_if_it_is_new() -> None:
    settle = Settle(0.0)
    assert look(settle, 0.0, {"a": "1"}) == {"a": "1"}
    assert look(settle, 1.0, {"a": "1", "o": "applied"}, "o") == {"a": "1"}
    assert look(settle, 11.0, {"a": "1", "o": "applied"}, "o") == {"a": "1", "o": "applied"}
    settle.begin(12.0)
    assert look(settle, 12.0, {"a": "1", "o": "applied"}, "o") == {"a": "1", "o": "applied"}
    assert look(Settle(0.0), 0.0, {"o": "applied"}, "o") == {"o": "applied"}, "there from the start"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "base")


def put(world: World) -> None:
    add_node(world.base, "/a@0", {"compatible": strings("acme,a")})


def take(world: World) -> None:
    remove_node(world.base, "/a@0")


def appearances(world: World) -> list[tuple[float, bool]]:
    """When the label came and went on the Node."""
    changes: list[tuple[float, bool]] = []
    for at, labels in world.published:
        if (A in labels) != (changes[-1][1] if changes else False):
            changes.append((at, A in labels))
    return changes


@pytest.mark.parametrize("late", [0.0, 0.005, 0.021, 0.3, 1.0, 2.5, 5.0])
def test_a_node_that_appears_late_is_published_by_a_quarter_of_that_later(
    world: World, late: float
) -> None:
    """The vendor dialect: the last event comes first, and the kernel applies after it."""
    world.at(100, nothing, Event.OVERLAY)
    world.at(100 + late, lambda: put(world))
    world.at(120, nothing)
    world.run()
    ((at, there),) = appearances(world)
    assert there
    assert 100 + late <= at <= 100 + late + max(late / 4, 0.020) + 1e-6


@pytest.mark.parametrize("late", [0.0, 0.005, 0.3, 2.5])
def test_a_node_that_goes_late_goes_from_the_node_after_the_debounce(
    world: World, late: float
) -> None:
    put(world)
    world.at(100, nothing, Event.OVERLAY)
    world.at(100 + late, lambda: take(world))
    world.at(120, nothing)
    world.run()
    (_, gone) = appearances(world)
    seen = 100 + late + max(late / 4, 0.020)
    assert 100 + late + DEBOUNCE <= gone[0] <= seen + DEBOUNCE + 0.1


def test_an_overlay_whose_events_a_reload_swallowed_is_published_soon_after_it(
    world: World,
) -> None:
    """While one watch is closed and the next one made, nobody is told of anything."""
    world.at(100, nothing, Event.RELOAD)
    world.at(100.3, lambda: put(world))
    world.at(120, nothing)
    world.run()
    ((at, there),) = appearances(world)
    assert there
    assert 100.3 <= at <= 100 + 0.3 * 1.25 + 1e-6


def test_a_tree_that_cannot_be_read_while_a_label_goes_is_not_scanned_on_and_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = world.base.with_name("away")
    scans: list[float] = []
    scan = devicetree.scan

    def counted(*args: Any) -> Any:
        scans.append(world.now)
        return scan(*args)

    monkeypatch.setattr(devicetree, "scan", counted)
    put(world)
    world.at(100, lambda: take(world), Event.OVERLAY)
    world.at(100.1, lambda: world.base.rename(away))
    world.at(200, lambda: away.rename(world.base))
    world.at(300, nothing)
    world.run()
    assert len([at for at in scans if 100.1 <= at < 200]) <= len(POINTS) + 2
    assert [there for _, there in appearances(world)] == [True, False]


def test_a_flap_takes_no_label_off(world: World) -> None:
    """dtoverlay removes one overlay by taking down the later ones and putting them up again."""
    put(world)
    for step in range(5):
        start = 100 + step * 0.4
        world.at(start, lambda: take(world), Event.OVERLAY)
        world.at(start + 0.25, lambda: put(world), Event.OVERLAY)
    world.at(120, nothing)
    world.run()
    assert [there for _, there in appearances(world)] == [True]


def test_a_storm_costs_bounded_scans_and_publications(world: World) -> None:
    for step in range(600):  # ten a second, for a minute
        act = partial(take if step % 2 else put, world)
        world.at(100 + step / 10, act, Event.OVERLAY)
    world.at(200, nothing)
    world.run()
    times = [at for at, _ in world.published]
    for at in times:
        assert len([other for other in times if at <= other < at + BURST_TIME]) <= BURST + 1


def test_without_events_no_scan_follows_a_resync(world: World) -> None:
    """The agent's own scan never causes another."""
    world.at(3600, nothing)
    world.run()
    resyncs = [at for at in world.attempts if at > 10]
    assert len(resyncs) >= 10
    assert all(b - a >= 270 for a, b in itertools.pairwise(resyncs))
