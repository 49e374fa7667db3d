"""A long walk through faults and overlays, drawn from a seed: the same seed, the same steps.

What the Node has to bear is known from the steps alone, and not by asking any part of dtagent. At
each quiet point nothing is wrong any more, and the labels must become the expected ones.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable

from demo.tree import add_node, remove_node, strings
from tests.host import PREFIX
from tests.test_overlays import OVERLAY, apply

from . import answers
from .by_answer import RETRY_AFTER
from .scene import THEIRS, Scene
from .tcp import Treatment

QUIET_EVERY = 20  # steps
PAUSE = 0.5  # seconds at most between two steps
EDITS = 2  # of one label: from a third on, the agent leaves it to whoever contends for it
DEADLINE = 300.0
"""Seconds: a request's 20, a wait of up to 60, ten until an overlay counts as applied, and room."""

TREATMENTS = (
    Treatment(hold=True),
    Treatment(reset=True),
    Treatment(delay=0.2),
    Treatment(delay=0.25, piece=1),
    Treatment(limit=1500),
)
ANSWERS = (
    answers.status(401),
    answers.of_patches(answers.status(403)),
    answers.of_nodes(answers.status(404)),
    answers.of_patches(answers.status(409)),
    answers.of_patches(answers.status(422)),
    answers.status(429, headers=RETRY_AFTER),
    answers.status(500),
    answers.whole(b"\0nonsense"),
    answers.truncated,
    answers.silent,
    answers.dripping_body,
    answers.dripping_headers,
    answers.ended_watch,
    answers.watch_error(410),
)


class Walk:
    """One agent's way, and what the Node has to bear after it."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self._scene, self._random = scene, random.Random(seed)
        self._number = 0
        self._devices: list[str] = []
        self._overlays: list[str] = []
        self._edited: dict[str, int] = {}
        self.taken: list[str] = []
        self._steps: tuple[Callable[[], str], ...] = (
            *(self._add_device, self._apply_overlay, self._remove) * 3,
            *(self._treat, self._answer, self._recover) * 2,
            self._cut,
            self._freeze,
            self._refuse,
            self._edit_label,
            self._recreate_node,
            self._reload,
            self._rewrite_kubeconfig,
            self._kill,
        )

    @property
    def expected(self) -> dict[str, str]:
        labels = {**THEIRS, PREFIX + "acme-board": "1"}
        labels |= {PREFIX + f"acme-{name}": "1" for name in (*self._devices, *self._overlays)}
        return labels | {OVERLAY + name: "applied" for name in self._overlays}

    def go(self, steps: int) -> list[float]:
        """So many steps, with quiet points; the seconds that each of those took to come."""
        waits = []
        for number in range(1, steps + 1):
            step = self._random.choice(self._steps)
            self.taken.append(f"{number}: {step.__name__[1:]} {step()}")
            time.sleep(self._random.uniform(0, PAUSE))
            if number % QUIET_EVERY == 0 or number == steps:
                waits.append(self._come_to_rest())
        return waits

    def _come_to_rest(self) -> float:
        begun = time.monotonic()
        self._recover()
        self._scene.expected = self.expected
        self._scene.right(DEADLINE)
        return time.monotonic() - begun

    def _new(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._number}"

    def _add(self, name: str) -> None:
        add_node(self._scene.host.base, f"/{name}@0", {"compatible": strings(f"acme,{name}")})

    def _add_device(self) -> str:
        """A device that comes without an overlay, and a sign that has the agent look."""
        self._devices.append(self._new("device"))
        self._add(self._devices[-1])
        self._scene.look()
        return self._devices[-1]

    def _apply_overlay(self) -> str:
        """As in the vendor dialect: the event first, and then the node."""
        self._overlays.append(self._new("overlay"))
        apply(self._scene.overlays, self._overlays[-1])
        self._add(self._overlays[-1])
        return self._overlays[-1]

    def _remove(self) -> str:
        """A device or an overlay, with the node that it brought."""
        if not self._devices + self._overlays:
            return "nothing"
        name = self._random.choice(self._devices + self._overlays)
        remove_node(self._scene.host.base, f"/{name}@0")
        if name in self._overlays:
            self._overlays.remove(name)
            shutil.rmtree(self._scene.overlays / name)
        else:
            self._devices.remove(name)
            self._scene.look()
        return name

    def _treat(self) -> str:
        treatment = self._random.choice(TREATMENTS)
        self._scene.tcp.treat(treatment)
        self._scene.tcp.cut()
        return repr(treatment)

    def _answer(self) -> str:
        assert self._scene.https
        number = self._random.randrange(len(ANSWERS))
        self._scene.https.behave(ANSWERS[number])
        return f"number {number}"

    def _recover(self) -> str:
        assert self._scene.https
        self._scene.tcp.treat()
        self._scene.tcp.accept()
        self._scene.https.behave(cut=False)
        return ""

    def _cut(self) -> str:
        reset = self._random.random() < 0.5
        self._scene.tcp.cut(reset)
        return "by a reset" if reset else "by an end of file"

    def _freeze(self) -> str:
        self._scene.tcp.freeze()
        return ""

    def _refuse(self) -> str:
        self._scene.tcp.refuse()
        self._scene.tcp.cut()
        return ""

    def _edit_label(self) -> str:
        """Somebody else's hand on a label of ours, where it has come to the Node by now."""
        ours = [key for key in self.expected if key.startswith(PREFIX)]
        key = self._random.choice(ours)
        value = self._random.choice((None, "edited"))
        there = self._scene.nodes.labels(self._scene.name) or {}
        if key not in there or self._edited.get(key, 0) >= EDITS:
            return "nothing"
        self._edited[key] = self._edited.get(key, 0) + 1
        self._scene.cluster.patch_labels(self._scene.name, {key: value}, manager="someone")
        return f"{key} to {value}"

    def _recreate_node(self) -> str:
        self._scene.cluster.delete_node(self._scene.name)
        time.sleep(self._random.uniform(0, PAUSE))
        self._scene.cluster.create_node(self._scene.name, THEIRS)
        return ""

    def _reload(self) -> str:
        self._scene.agent.wait_said("READY=1")  # as systemd does: SIGHUP ends what still starts
        self._scene.agent.reload()
        return ""

    def _rewrite_kubeconfig(self) -> str:
        """The same in another file, as at a restart of k3s."""
        file = self._scene.host.kubeconfig
        file.write_text(file.read_text())
        return ""

    def _kill(self) -> str:
        self._scene.kill()
        self._scene.start()
        return ""
