"""Whatever goes wrong, labels are right in the end, and it cost little until then.

Several agents have their faults at once, each on a Node of its own: most of a fault is waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.apiserver import ApiServer

from . import fault, report
from .audit import outside
from .conftest import FAULT, token
from .fault import Fault, Outcome
from .nodes import Nodes
from .scene import Scene
from .table import FAULTS

AT_ONCE = 6


def suffer(each: Fault, cluster: ApiServer, nodes: Nodes, place: Path) -> Outcome:
    """One fault from its begin to right labels, with all that it takes."""
    with ExitStack() as own:
        if each.own_server:
            (place / f"{each.name}-server").mkdir()
            cluster = own.enter_context(ApiServer(place / f"{each.name}-server"))
            nodes = own.enter_context(Nodes(cluster))
        scene = own.enter_context(Scene(cluster, nodes, each.name, place / each.name))
        scene.connect(token(each.name) if each.token else "")
        scene.configure()
        outcome = fault.run(each, scene)
        if each.own_server:
            assert outside(cluster) == []
    return outcome


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, cluster: ApiServer, nodes: Nodes, place: Path
) -> Iterator[dict[str, Future[Outcome]]]:
    """What came of each fault that is asked for."""
    names = [name for name in FAULTS if any(f"[{name}]" in i.name for i in request.session.items)]
    asked = [name for name in names if not FAULTS[name].impossible()]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {n: pool.submit(suffer, FAULTS[n], cluster, nodes, place) for n in asked}
        wait(futures.values())  # before any test changes the environment that agents start with
    yield futures


@pytest.mark.parametrize("name", FAULTS)
def test_labels_are_right_after(
    name: str,
    outcomes: dict[str, Future[Outcome]],
    record_property: Callable[[str, object], None],
) -> None:
    if reason := FAULTS[name].impossible():
        pytest.skip(reason)
    outcome = outcomes[name].result()
    record_property(FAULT, report.row(outcome))
    assert outcome.broken == []
