"""A scan against the size of the tree: `python -m bench.scan`.

Beside it a bare walk, which lists each folder by scandir(3) and opens nothing, and whoever
`PEER` names: the command of any other labeller, `PEER_ARGS` its arguments, of which `{tree}` is the
folder. Processes are whole ones, so python's start is a row of its own; times are medians.
"""

from __future__ import annotations

import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import inside
from bench.measure import seconds, system_calls
from bench.plot import Line, plot
from bench.report import section, table
from bench.trees import tree_of
from demo.tree import write_tree

SIZES = (100, 300, 1_000, 3_000, 10_000, 20_000)
ROUNDS = 5
BARE = [sys.executable, "-c", "pass"]
WALK = """
import os, sys
def walk(place):
    with os.scandir(place) as entries:
        below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    for each in below:
        walk(each)
walk(sys.argv[1])
"""


def main() -> None:
    peer = os.environ.get("PEER")
    whole = {"dtagent scan": scan_command, "a walk by Python": walk_command}
    if peer:
        whole[Path(peer).name] = peer_command
    times: dict[str, list[float]] = {name: [] for name in (*whole, "a scan in the agent")}
    calls: dict[str, list[int]] = {name: [] for name in whole}
    with tempfile.TemporaryDirectory() as place:
        for size in SIZES:
            tree = Path(place) / str(size)
            write_tree(tree_of(size), tree)
            for name, command in whole.items():
                times[name].append(seconds(command(tree), ROUNDS) * 1000)
                calls[name].append(system_calls(command(tree)))
            times["a scan in the agent"].append(inner(tree))
        bare = seconds(BARE, ROUNDS) * 1000, system_calls(BARE)
        one = Path(place) / str(SIZES[0])
        root = seconds(scan_command(one)[: -1 - len(inside.MORE)], ROUNDS) * 1000
    section("scan", text(times, calls, bare, root))


def scan_command(tree: Path) -> list[str]:
    return [sys.executable, "-m", "dtagent", "scan", "--root", str(tree), "-n", *inside.MORE]


def walk_command(tree: Path) -> list[str]:
    return [sys.executable, "-c", WALK, str(tree)]


def peer_command(tree: Path) -> list[str]:
    arguments = shlex.split(os.environ.get("PEER_ARGS", "{tree}"))
    return [os.environ["PEER"], *(each.replace("{tree}", str(tree)) for each in arguments)]


def inner(tree: Path) -> float:
    """Milliseconds of a scan and its labels in a process that is up."""
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        inside.scan(tree)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[1:])


def text(
    times: Mapping[str, Sequence[float]],
    calls: Mapping[str, Sequence[int]],
    bare: tuple[float, int],
    root: float,
) -> str:
    head = ("nodes", *(f"{name}, ms" for name in times), *(f"{name}, calls" for name in calls))
    rows: list[Sequence[object]] = [
        (
            size,
            *(f"{values[at]:.1f}" for values in times.values()),
            *(values[at] for values in calls.values()),
        )
        for at, size in enumerate(SIZES)
    ]
    sizes = [float(size) for size in SIZES]
    lines: dict[str, Line] = {name: (sizes, values) for name, values in times.items()}
    counts: dict[str, Line] = {name: (sizes, values) for name, values in calls.items()}
    return "\n\n".join(
        (
            f"Nodes chosen: `/`, {', '.join(f'`{name}`' for name in inside.MORE)}. Python that does"
            f" nothing: {bare[0]:.1f} ms, {bare[1]} calls; `dtagent scan` of the root alone:"
            f" {root:.1f} ms, {root / bare[0]:.1f} times that.",
            table(head, rows),
            plot("scan", lines, "nodes", "milliseconds", logarithmic=True),
            plot("calls", counts, "nodes", "system calls", logarithmic=True),
        )
    )


if __name__ == "__main__":
    main()
