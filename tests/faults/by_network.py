"""Faults of the way to the server: what becomes of connections, and of bytes on them.

The agent's certificate and the server's go through unseen, so TLS is between those two alone.
"""

from __future__ import annotations

import threading

from tests.host import PREFIX

from .fault import Fault
from .scene import Scene
from .tcp import Treatment

BOARD = PREFIX + "acme-board"
NOT_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks no TLS.\n"
CUT = "ended|reset|closed|EOF"
"""What is seen of a connection that ends: by one attempt at the most, and that may be the one that
the journal tells of."""
REFUSED = f"refused|{CUT}"
SILENT = f"no .*answer|{CUT}"
FLAPS = 10
LINES_OF_AN_OUTAGE = 4  # it begins, it ends, the server that was found, and what has changed
IDLE_DEADLINE = 480.0
"""Seconds: a watch is given up after 150 in which not even a bookmark came."""


def refuse(scene: Scene) -> None:
    scene.tcp.refuse()
    scene.tcp.cut()


def accept(scene: Scene) -> None:
    scene.tcp.accept()


def flap(scene: Scene) -> None:
    """A load balancer that comes and goes five times a second."""

    def run() -> None:
        for _ in range(FLAPS):
            refuse(scene)
            pause.wait(0.1)
            accept(scene)
            pause.wait(0.1)

    pause, thread = threading.Event(), threading.Thread(target=run)
    thread.start()
    scene.open.callback(thread.join)


def edited_behind_it(scene: Scene) -> None:
    """The agent's connections are dead, it does not know, and its label goes."""
    scene.tcp.freeze()
    scene.edit({BOARD: None})


def half_open(scene: Scene) -> None:
    """The connection that the agent keeps for its requests is dead, and it does not know.

    It is made by the first request after the watch, which has taken the one before.
    """
    scene.change("before")
    scene.right()
    scene.tcp.freeze()


def treated(
    name: str, treatment: Treatment, says: str = "", sticks: bool = False, blocks: bool = True
) -> Fault:
    """Everybody is treated so from the begin of the fault to its end; who is stuck stays stuck."""

    def begin(scene: Scene) -> None:
        scene.tcp.treat(treatment)
        scene.tcp.cut()

    return Fault(
        name, begin, lambda scene: scene.tcp.treat(), says=says, sticks=sticks, blocks=blocks
    )


FAULTS = [
    Fault("idle-half-open", edited_behind_it, changes=False, seconds=0, deadline=IDLE_DEADLINE),
    Fault("refused", refuse, accept, says=REFUSED),
    Fault("flapping", flap, accept, blocks=False, lines=FLAPS * LINES_OF_AN_OUTAGE),
    treated("black-hole", Treatment(hold=True), SILENT, sticks=True),
    treated("reset-on-connect", Treatment(reset=True), CUT),
    treated("slow", Treatment(delay=0.3), blocks=False),
    treated("dripping", Treatment(delay=0.25, piece=1), SILENT, sticks=True),
    treated("cut-in-handshake", Treatment(limit=100), f"TLS|{CUT}"),
    # A patch whose answer is cut has reached the server, where it was the first that was asked.
    treated("cut-in-answer", Treatment(limit=2000), f"TLS|{CUT}", blocks=False),
    treated("not-tls", Treatment(says=NOT_TLS), "TLS"),
    Fault("half-open", half_open, says=SILENT, sticks=True, seconds=1),
    Fault("reset", lambda scene: scene.tcp.cut(), blocks=False),
    Fault("end-of-file", lambda scene: scene.tcp.cut(reset=False), blocks=False),
]
