"""All that the bench knows of the agent's inside; the rest of it sees processes from without.

`python -m bench.inside WHAT run ...` is `dtagent run` with one thing about it changed:
`hasty` connects again at once after each watch that is cut, where the agent waits up to a minute;
`staged` writes what it does to the file `BENCH_TRACE`, one line each: a moment and its name.
"""

from __future__ import annotations

import os
import queue
import sys
import time
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

from dtagent import cli
from dtagent.agent import Agent
from dtagent.config.settings import DevicetreeTable, NodeTable, Settings
from dtagent.events import Event, Happening
from dtagent.host.log import Systemd
from dtagent.host.status import Status
from dtagent.publish.factory import publisher
from dtagent.tree import devicetree
from dtagent.tree.labels import decide

Events = queue.SimpleQueue[Happening]
OVERLAY, STOP = Event.OVERLAY, Event.STOP
MORE = ("gpu", "pwm-fan")
# Printed by the agent alone, and not by a child that it forked.
MODULES_AT_EXIT = """
import atexit, os, sys
def tell(pid=os.getpid()):
    if os.getpid() == pid:
        print(*sys.modules)
atexit.register(tell)
from dtagent.cli import main
sys.exit(main())
"""
SELECTION = ("/", *MORE)


def scan(root: Path, selection: tuple[str, ...] = SELECTION) -> None:
    """Scan a tree and decide its labels, as the agent does."""
    settings = Settings(devicetree=DevicetreeTable(root=root, nodes=selection))
    devicetree.scan(devicetree.LiveTree(root), partial(decide, settings=settings))


def agent(root: Path, name: str, kubeconfig: Path, events: Events) -> Agent:
    """The loop of `dtagent run` in a thread, without an overlay folder: events are put by hand."""
    settings = Settings(
        devicetree=DevicetreeTable(root=root, nodes=("/", "compatible:acme,*")),
        node=NodeTable(name=name, kubeconfig=str(kubeconfig)),
    )
    return Agent(settings, lambda: settings, publisher, Status(Systemd({})), events)


def hasty() -> None:
    from dtagent.cluster import backoff, node

    node.LASTED = -1.0  # every watch has lived long enough
    backoff.FIRST, backoff.MAX = 0.05, 0.2


def staged() -> None:
    from dtagent.cluster.transport import Transport
    from dtagent.overlays.watch import OverlayWatch

    trace = os.open(os.environ["BENCH_TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def mark(what: str) -> None:
        os.write(trace, f"{time.monotonic_ns()} {what}\n".encode())

    def marked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            mark(f"{name} begins")
            try:
                return function(*args, **options)
            finally:
                mark(f"{name} ends")

        return call

    for owner, name, called in (
        (OverlayWatch, "on_any_event", "event"),
        (devicetree, "scan", "scan"),
        (Transport, "request", "request"),
    ):
        setattr(owner, name, marked(called, getattr(owner, name)))


if __name__ == "__main__":
    {"hasty": hasty, "staged": staged}[sys.argv.pop(1)]()
    sys.exit(cli.main())
