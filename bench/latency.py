"""From an overlay to its device's label, by stage: `python -m bench.latency [ROUNDS]`.

Each round writes an overlay's files, and some milliseconds later, as a kernel in the vendor dialect
does, its node appears in the tree. The stages follow each other, from the last write on: `event`
until the agent has heard of it, `settle` until the scan begins that finds the node, `scan`,
`difference` until the request is sent, `request` until the server has answered. `tree to label` is
from the node's appearance to the same end.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from bench.report import section, table
from bench.site import NAME, Site, site
from tests.host import PREFIX
from tests.process import wait_for

ROUNDS = 200
APPLY = (0.005, 0.025)  # seconds from the blob's write to the node in the tree (docs/overlays.md)
REST = 0.8  # seconds between two rounds, of two publications each: a minute has 120 at the most
STAGES = ("event", "settle", "scan", "difference", "request")
Mark = tuple[int, str]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with site() as place:
        trace = place.folder / "trace"
        program = ("-m", "bench.inside", "staged")
        with place.agent(program, BENCH_TRACE=str(trace)):
            found = [one(place, trace, f"hat{number}") for number in range(rounds)]
    stages = {name: [each[at] for each in found] for at, name in enumerate(STAGES)}
    stages["tree to label"] = [each[-1] for each in found]
    rows = [
        (name, *(f"{value:.1f}" for value in spread(values))) for name, values in stages.items()
    ]
    text = table((f"ms, {rounds} rounds", "median", "95 of 100", "worst"), rows)
    section("latency", text)


def one(place: Site, trace: Path, name: str) -> tuple[float, ...]:
    """Milliseconds of each stage, and from the node's appearance to its label."""
    seen = trace.stat().st_size
    place.write_overlay(name)
    written = time.monotonic_ns()
    time.sleep(random.uniform(*APPLY))
    place.add_device(name)
    appeared = time.monotonic_ns()
    key = f"{PREFIX}acme-{name}"
    wait_for(lambda: key in place.cluster.labels(NAME), key)
    wait_for(lambda: answered(marks(trace, seen)), "the agent's own word of it")
    stages = split(written, appeared, marks(trace, seen))
    place.remove_device(name)
    place.remove_overlay(name)
    wait_for(lambda: key not in place.cluster.labels(NAME), f"no {key}")
    time.sleep(REST)
    return stages


def marks(trace: Path, since: int) -> list[Mark]:
    with trace.open() as file:
        file.seek(since)
        lines = [line.split(" ", 1) for line in file.read().splitlines()]
    return [(int(moment), what) for moment, what in lines]


def answered(found: Sequence[Mark]) -> bool:
    return any(what == "request ends" for _, what in found)


def split(written: int, appeared: int, found: Sequence[Mark]) -> tuple[float, ...]:
    """The moments between which the stages are, as milliseconds of each."""
    sent = next(moment for moment, what in found if what == "request begins")
    done = next(moment for moment, what in found if what == "request ends")
    event = max(
        (moment for moment, what in found if what == "event begins" and moment < appeared),
        default=written,
    )
    begun = max(moment for moment, what in found if what == "scan begins" and moment < sent)
    ended = max(moment for moment, what in found if what == "scan ends" and moment < sent)
    moments = (written, max(event, written), begun, ended, sent, done)
    steps = [(b - a) / 1e6 for a, b in pairwise(moments)]
    return (*steps, (done - appeared) / 1e6)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, 95th percentile and maximum."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))], ordered[-1]


if __name__ == "__main__":
    main()
