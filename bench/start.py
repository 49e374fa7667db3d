"""A start: `python -m bench.start`. From the process's start to READY=1, and what it has imported.

Byte-code is there, as after an installation, and the server answers at once.
"""

from __future__ import annotations

import statistics
import sys
import time

from bench import inside
from bench.measure import seconds
from bench.report import section, table
from bench.site import Site, site

ROUNDS = 10
BARE = [sys.executable, "-c", "pass"]


def main() -> None:
    with site() as place:
        times = [ready(place) for _ in range(ROUNDS)]
        names = modules(place)
        scan = [sys.executable, "-m", "dtagent", "scan", "--config", str(place.host.config)]
        bare, scanning = seconds(BARE, ROUNDS) * 1000, seconds(scan, ROUNDS) * 1000
    packages: dict[str, int] = {}
    for name in names:
        top = name.partition(".")[0]
        top = "the standard library" if top in sys.stdlib_module_names else top
        packages[top] = packages.get(top, 0) + 1
    rows = [
        ("process start to READY=1, median", f"{statistics.median(times):.0f} ms"),
        ("the same, worst", f"{max(times):.0f} ms"),
        ("`dtagent scan`, whole process", f"{scanning:.0f} ms, {scanning / bare:.1f} times Python"),
        ("Python that does nothing", f"{bare:.0f} ms"),
        ("modules of a running agent", len(names)),
        *((f"... of {package}", count) for package, count in sorted(packages.items())),
    ]
    section("start", table(("", f"of {ROUNDS}"), rows))


def ready(place: Site) -> float:
    """Milliseconds from fork to READY=1."""
    start = time.perf_counter()
    with place.agent():
        return (time.perf_counter() - start) * 1000


def modules(place: Site) -> list[str]:
    """What an agent had imported that was ready and then stopped."""
    with place.agent(("-c", inside.MODULES_AT_EXIT)) as agent:
        pass
    return agent.output[-1].split()


if __name__ == "__main__":
    main()
