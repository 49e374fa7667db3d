"""An agent that is killed at any moment: as it starts, as it sends, or as it rests.

SIGKILL leaves no chance to tidy up, as a power cut or the kernel's out-of-memory killer does not
(signal(7)). The Node keeps what it had; the next agent has to find out what is ours.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from tests.host import PREFIX

from .scene import THEIRS, Scene

STARTING = 1.0
"""Seconds at most from a start to the kill: its first patch is sent in about half of that."""
SENDING = 0.15
"""Seconds at most from a change to the kill: its patch is answered in about a third of that."""


class Kills:
    """One kill after another, each at a moment drawn from `seed`."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self._scene, self._random = scene, random.Random(seed)
        self._number = 0
        self.kills = 0

    def go(self, rounds: int) -> Iterator[float]:
        """The seconds from each restart to right labels."""
        self._scene.start()
        self._scene.right()
        for _ in range(rounds):
            self._exchange_device()
            self._kill_within(SENDING)
            if self._sometimes():
                self._scene.start()
                self._kill_within(STARTING)
            if self._sometimes():
                self._exchange_device()  # which nobody sees but who starts next
            begun = time.monotonic()
            self._scene.start()
            yield self._scene.right() - begun

    def _sometimes(self) -> bool:
        return self._random.random() < 0.5

    def _kill_within(self, seconds: float) -> None:
        time.sleep(self._random.uniform(0, seconds))
        self._scene.kill()
        self.kills += 1

    def _exchange_device(self) -> None:
        """A device goes and another comes, so that there is a label to set and one to remove."""
        if self._number:
            self._scene.remove(f"device-{self._number}")
        self._number += 1
        self._scene.change(f"device-{self._number}")


def foreign_kept(scene: Scene) -> bool:
    """Whether the Node always bore everybody else's labels, and none but ours besides."""
    return all(
        THEIRS.items() <= labels.items()
        and all(key in THEIRS or key.startswith(PREFIX) for key in labels)
        for labels in scene.nodes.history(scene.name)
    )
