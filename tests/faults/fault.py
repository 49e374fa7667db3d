"""One fault as data, and what it is to have one: before, during and after, measured.

Nothing here asserts on speed. What a fault must never do is in `Outcome.broken`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.process import wait_for

from .measure import Asked, memory
from .scene import Scene

REQUESTS = 30
"""At most, in a fault of seconds: the waits between attempts double from one second on, and an
attempt is up to four requests (who am I, get, patch, watch)."""
LINES = 8
"""At most: it begins, it is of another kind, it ends, and what has changed."""
GROWTH = 24.0
"""MB at most that a fault may cost at its worst moment; an answer may be 4 MB."""
DEADLINE = 240.0
"""Seconds at most to heal in: a request's own 20, and a wait of up to 60 between attempts."""


def nothing(_scene: Scene) -> object:
    return None


@dataclass(frozen=True)
class Fault:
    """What is done to a scene, and what the agent has to make of it."""

    name: str
    begin: Callable[[Scene], object]
    end: Callable[[Scene], object] = nothing
    says: str = ""
    """What the journal then warns of, a pattern; nothing where nothing need be noticed."""
    prepare: Callable[[Scene], object] = nothing
    """Before the agent starts."""
    token: bool = False
    """Whether it takes the HTTPS proxy, and so a token."""
    changes: bool = True
    """Whether the tree changes meanwhile."""
    blocks: bool = True
    """Whether nothing can be published meanwhile."""
    sticks: bool = False
    """Whether the agent notices only by a deadline of its own, however short the fault was."""
    impossible: Callable[[], str] = str
    """Why it cannot be had on this machine; nothing where it can."""
    own_server: bool = False
    """Whether the server itself is the victim."""
    seconds: float = 3.0
    requests: int = REQUESTS
    lines: int = LINES
    deadline: float = DEADLINE


@dataclass(frozen=True)
class Outcome:
    """What came of a fault. Seconds, and MB."""

    fault: Fault
    blocked: bool
    healed: float
    requests: int
    lines: list[str]
    before: float
    after: float
    peak: float
    alive: bool
    told: bool
    strayed: bool
    hasty: list[str]

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept."""
        promises = {
            "the agent lives on": self.alive,
            f"who is told to wait waits: {self.hasty}": not self.hasty,
            "no other server is asked": not self.strayed,
            "the fault was one": self.blocked or not self.fault.blocks,
            f"the journal says {self.fault.says!r}: {self.lines}": self.told,
            f"at most {self.fault.lines} lines: {self.lines}": len(self.lines) <= self.fault.lines,
            f"at most {self.fault.requests} requests: {self.requests}": (
                self.requests <= self.fault.requests
            ),
            f"at most {GROWTH} MB more than {self.before}: {self.peak}": (
                self.peak - self.before <= GROWTH
            ),
        }
        return [promise for promise, kept in promises.items() if not kept]


def run(fault: Fault, scene: Scene) -> Outcome:
    """A content agent, the fault, a change meanwhile, the end of the fault, and right labels."""
    fault.prepare(scene)
    mark = scene.cluster.audit_mark()
    scene.start()
    scene.right()
    wait_for(lambda: scene.watched(mark), "a watch, which is to suffer too")
    before, _ = memory(scene.agent.popen.pid)
    asked, lines, successes = Asked(scene), len(scene.journal), scene.successes
    begun = time.monotonic()
    fault.begin(scene)
    if fault.changes:
        scene.change("meanwhile")
    if fault.says and not fault.sticks:
        wait_for(lambda: len(scene.journal) > lines, "a word of the fault in the journal")
    time.sleep(max(0.0, begun + fault.seconds - time.monotonic()))
    blocked = not scene.is_right
    fault.end(scene)
    ended = time.monotonic()
    healed = scene.right(fault.deadline) - ended
    wait_for(lambda: scene.successes > successes, "the publication's end, which the journal tells")
    after, peak = memory(scene.agent.popen.pid)
    return Outcome(
        fault=fault,
        blocked=blocked,
        healed=healed,
        requests=asked.count,
        lines=scene.journal[lines:],
        before=before,
        after=after,
        peak=peak,
        alive=scene.agent.popen.poll() is None,
        told=any(re.search(fault.says, line) for line in scene.warnings(lines) or [""]),
        strayed=scene.strayed,
        hasty=scene.https.hasty if scene.https else [],
    )
