"""When to scan after an event and when to believe a loss: pure, and in the loop on a held clock."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import pytest

from demo.tree import add_node, remove_node, strings
from dtagent.agent import Event
from dtagent.overlays.settle import HOLD, HOLD_MAX, POINTS, REST, Hold, Settle
from dtagent.publish.reconcile import BURST, BURST_TIME
from tests.test_agent import World, nothing

A = "beta.devicetree.org/acme-a"


def scans(settle: Settle, start: float, cost: float = 0.0) -> list[float]:
    """The times of the scans of a series, each taking `cost`, none showing a change."""
    times = []
    now = start
    while settle.due is not None:
        now = max(now, settle.due)
        times.append(round(now - start, 6))
        settle.scanned(now, now + cost, changed=False)
        now += cost
    return times


def test_points_are_at_once_then_each_a_quarter_as_far_again_to_ten_seconds() -> None:
    settle = Settle()
    assert settle.over
    settle.begin(100.0)
    times = scans(settle, 100.0)
    assert times == pytest.approx(POINTS, abs=1e-5)
    assert times[:4] == pytest.approx([0, 0.020, 0.025, 0.03125], abs=1e-5)
    assert times[-1] == 10.0
    assert len(times) <= 30


def test_the_last_scan_is_known_before_it_is_made() -> None:
    settle = Settle()
    settle.begin(0.0)
    seen = []
    while settle.due is not None:
        seen.append(settle.last)
        settle.scanned(settle.due, settle.due, changed=False)
    assert seen == [False] * (len(POINTS) - 1) + [True]


def test_a_scan_rests_five_times_as_long_as_it_took() -> None:
    settle = Settle()
    settle.begin(0.0)
    times = scans(settle, 0.0, cost=0.1)
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert min(gaps) >= 0.1 + REST * 0.1 - 1e-9
    assert times[-1] >= 10.0, "the last point is scanned all the same"


def test_a_change_starts_the_points_again() -> None:
    settle = Settle()
    settle.begin(0.0)
    while (due := settle.due or 0.0) < 1.0:
        settle.scanned(due, due, changed=False)
    settle.scanned(due, due, changed=True)
    assert settle.due == pytest.approx(due + 0.020)
    settle.begin(50.0)
    assert settle.due == 50.0


def test_gains_go_out_at_once_and_losses_only_when_they_last() -> None:
    hold = Hold()
    assert hold.decide({"a": "2", "b": "x"}, 0.0) == {"a": "2", "b": "x"}
    hold.event(1.0)
    assert hold.decide({"a": "1", "c": "1"}, 1.0) == {"a": "2", "b": "x", "c": "1"}
    assert hold.due == 1.0 + HOLD
    assert hold.decide({"a": "3", "b": "y", "c": "1"}, 1.1) == {"a": "3", "b": "y", "c": "1"}
    assert hold.due is None
    assert hold.decide({}, 2.0) == {"a": "3", "b": "y", "c": "1"}
    assert hold.decide({}, 2.0 + HOLD) == {}


def test_an_event_puts_a_loss_off_and_a_storm_does_so_for_ten_seconds_at_most() -> None:
    hold = Hold()
    hold.decide({"a": "1"}, 0.0)
    now = 1.0
    while hold.decide({}, now):
        now += 0.1
        hold.event(now)
    assert now == pytest.approx(1.0 + HOLD_MAX, abs=0.15)


def test_a_label_that_comes_back_begins_its_loss_anew() -> None:
    hold = Hold()
    hold.decide({"a": "1"}, 0.0)
    hold.decide({}, 1.0)
    hold.decide({"a": "1"}, 1.2)
    assert hold.decide({}, 1.35) == {"a": "1"}
    assert hold.decide({}, 1.35 + HOLD) == {}


def test_what_is_unsettled_waits_if_it_is_new() -> None:
    hold = Hold()
    o = frozenset({"o"})
    assert hold.decide({"a": "1"}, 0.0) == {"a": "1"}
    assert hold.decide({"a": "1", "o": "applied"}, 1.0, o) == {"a": "1"}
    assert hold.decide({"a": "1", "o": "applied"}, 9.0) == {"a": "1", "o": "applied"}
    assert hold.decide({"a": "1", "o": "applied"}, 10.0, o) == {"a": "1", "o": "applied"}
    assert Hold().decide({"o": "applied"}, 0.0, o) == {"o": "applied"}, "there from the start"


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
def test_a_node_that_goes_late_goes_from_the_node_after_the_hold(world: World, late: float) -> None:
    put(world)
    world.at(100, nothing, Event.OVERLAY)
    world.at(100 + late, lambda: take(world))
    world.at(120, nothing)
    world.run()
    (_, gone) = appearances(world)
    seen = 100 + late + max(late / 4, 0.020)
    assert 100 + late + HOLD <= gone[0] <= seen + HOLD + 0.1


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
