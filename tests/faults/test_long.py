"""What holds for one fault holds for a thousand, in any order and at any moment.

The numbers are options (conftest.py); what is random comes from a seed that is printed, and
`--seed` has it again.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.apiserver import ApiServer

from .conftest import FIGURE, token
from .kills import Kills, foreign_kept
from .nodes import Nodes
from .random_steps import Walk
from .renewal import K3s, Kubeadm
from .rotation import Rotation
from .scene import Renewal, Scene

CONNECTIONS = 2  # of an agent whose certificate lives: one to watch, one for all the rest
Record: TypeAlias = Callable[[str, object], None]
STYLES: dict[str, Callable[[Scene], Renewal]] = {"k3s": K3s, "kubeadm": Kubeadm}


@pytest.fixture
def scene(cluster: ApiServer, nodes: Nodes, place: Path) -> Iterator[Callable[[str], Scene]]:
    """Makes scenes by their names, before any agent has started."""
    with ExitStack() as scenes:

        def make(name: str, by_token: bool = False) -> Scene:
            scene = scenes.enter_context(Scene(cluster, nodes, name, place / name))
            scene.connect(token(name) if by_token else "")
            scene.configure()
            return scene

        yield make


def summary(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} s in the middle, {max(seconds):.2f} s at worst"


def test_labels_are_the_trees_at_every_quiet_point_of_a_random_walk(
    scene: Callable[..., Scene], pytestconfig: pytest.Config, seed: int, record_property: Record
) -> None:
    steps = pytestconfig.getoption("--steps")
    walked = scene("random-steps", by_token=True)
    walked.configure("overlays.labels = true")
    walked.start()
    walked.right()
    walk = Walk(walked, seed)
    print(f"--seed {seed}")
    try:
        waits = walk.go(steps)
    except BaseException:
        print(*walk.taken, *walked.journal, sep="\n")
        raise
    assert walked.agent.popen.poll() is None
    record_property(
        FIGURE,
        f"{steps} random fault and overlay steps (seed {seed}): right labels at all {len(waits)} "
        f"quiet points, {summary(waits)} after the last fault ended",
    )


def test_killed_at_any_moment_labels_are_right_after_the_restart_and_no_others_were_touched(
    scene: Callable[..., Scene], pytestconfig: pytest.Config, seed: int, record_property: Record
) -> None:
    killed = scene("kills")
    print(f"--seed {seed}")
    kills = Kills(killed, seed)
    waits = list(kills.go(pytestconfig.getoption("--kills")))
    assert foreign_kept(killed)
    record_property(
        FIGURE,
        f"{kills.kills} times kill -9 (seed {seed}): right labels after each of {len(waits)} "
        f"restarts, {summary(waits)} after it, and no label of others was touched",
    )


def test_a_renewed_certificate_is_picked_up_with_no_publication_missed_and_no_restart(
    scene: Callable[..., Scene], pytestconfig: pytest.Config, record_property: Record
) -> None:
    life, renewals = (pytestconfig.getoption(name) for name in ("--certificate-life", "--renewals"))

    def rotate(style: str) -> tuple[Scene, list[float]]:
        renewed = scene(f"rotation-{style}")
        rotation = Rotation(renewed, STYLES[style](renewed), life)
        renewed.start()
        renewed.right()
        return renewed, rotation.go(renewals)

    with ThreadPoolExecutor(len(STYLES)) as pool:
        for style, (renewed, taken) in zip(STYLES, pool.map(rotate, STYLES), strict=True):
            assert renewed.tcp.accepted > CONNECTIONS, "no certificate has expired"
            assert len(renewed.agents) == 1
            assert renewed.agent.popen.poll() is None
            assert [line for line in renewed.journal if "trying again" in line] == []
            record_property(
                FIGURE,
                f"certificates of {life} s, renewed {renewals} times at half of that as {style} "
                f"does: all {len(taken)} changes of the tree published, {summary(taken)} after "
                "them, without a restart and without an outage in the journal",
            )
