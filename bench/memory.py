"""What the agent holds, and whether it grows: `python -m bench.memory [EVENTS [RECONNECTS]]`.

At READY=1, settled, after 10,000 overlays that came or went, and after 1,000 reconnects, for which
a proxy cuts every connection. The waits between two watches are shortened in that agent alone: as
they are, a thousand of them take eight hours.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from bench.measure import Usage, usage
from bench.plot import Line, plot
from bench.report import section, table
from bench.site import SETTLED, Site, proxied, site
from tests.faults.tcp import TcpProxy
from tests.process import Process, wait_for

EVENTS, RECONNECTS = 10_000, 1_000
LOOKS = 20  # at memory, on the way
PAUSE = 0.005  # seconds after an event, so that the agent meets each and not a heap of them


def main() -> None:
    events, reconnects = (*map(int, sys.argv[1:]), *(EVENTS, RECONNECTS)[len(sys.argv) - 1 :])
    rows: list[tuple[str, Usage]] = []
    with site() as place:
        with place.agent() as agent:
            rows.append(("at READY=1", usage(agent.popen.pid)))
            time.sleep(SETTLED)
            rows.append(("settled", usage(agent.popen.pid)))
            by_events = course(agent, events, lambda number: overlay(place, number))
            time.sleep(SETTLED)
            rows.append((f"{events} overlay events later", usage(agent.popen.pid)))
        with proxied(place) as tcp, place.agent(("-m", "bench.inside", "hasty")) as agent:
            time.sleep(SETTLED)
            rows.append(("another one, settled", usage(agent.popen.pid)))
            by_cuts = course(agent, reconnects, lambda _: reconnect(tcp))
            time.sleep(SETTLED)
            rows.append((f"{reconnects} reconnects later", usage(agent.popen.pid)))
    shown = [
        (name, f"{u.resident:.1f}", f"{u.anonymous:.1f}", f"{u.peak:.1f}", u.threads, u.descriptors)
        for name, u in rows
    ]
    head = ("", "MB resident", "anonymous", "peak", "threads", "descriptors")
    slopes = (
        f"Growth over the second half, by least squares: {slope(by_events) * 1000:+.1f} KiB of"
        f" anonymous memory a thousand overlay events, {slope(by_cuts) * 1000:+.1f} KiB a thousand"
        " reconnects."
    )
    lines: dict[str, Line] = {
        "overlay events, in percent": percent(by_events),
        "reconnects, in percent": percent(by_cuts),
    }
    picture = plot("memory", lines, "percent of them done", "MB of anonymous memory")
    section("memory", "\n\n".join((table(head, shown), slopes, picture)))


def course(agent: Process, total: int, step: Callable[[int], None]) -> list[tuple[int, float]]:
    """Do `step` so often; how many were done and the anonymous memory in KiB, now and then."""
    looks = []
    for number in range(total):
        if number % max(1, total // LOOKS) == 0:
            looks.append((number, usage(agent.popen.pid).anonymous * 1024))
        step(number)
    return [*looks, (total, usage(agent.popen.pid).anonymous * 1024)]


def overlay(place: Site, number: int) -> None:
    """Every second one takes away what the one before brought."""
    name = f"hat{number // 2 % 16}"
    if number % 2 == 0:
        place.write_overlay(name)
        place.add_device(name)
    else:
        place.remove_device(name)
        place.remove_overlay(name)
    time.sleep(PAUSE)


def reconnect(tcp: TcpProxy) -> None:
    """Cut every connection, and wait for the next one."""
    accepted = tcp.accepted
    tcp.cut()
    wait_for(lambda: tcp.accepted > accepted, "a new connection")


def slope(looks: list[tuple[int, float]]) -> float:
    """KiB each, over the second half: the first fills what is kept for reuse."""
    half = looks[len(looks) // 2 :]
    x, y = sum(a for a, _ in half) / len(half), sum(b for _, b in half) / len(half)
    return sum((a - x) * (b - y) for a, b in half) / sum((a - x) ** 2 for a, _ in half)


def percent(looks: list[tuple[int, float]]) -> Line:
    total = looks[-1][0]
    return [100 * done / total for done, _ in looks], [kib / 1024 for _, kib in looks]


if __name__ == "__main__":
    main()
