"""Certificates that live for seconds, and are renewed at half of that, in one style or another.

As a kubelet's does, only faster: a connection that is kept goes on presenting the certificate that
it began with, and the server refuses that once it has expired, in the middle of a connection.
"""

from __future__ import annotations

import datetime
import time

from .scene import Renewal, Scene

CHANGES = 4  # of the tree for each renewal
HALFWAY = 0.2  # seconds that a renewal is halfway


class Rotation:
    """A scene whose certificate is renewed again and again, while its tree changes."""

    def __init__(self, scene: Scene, renewal: Renewal, life: float) -> None:
        self._scene, self._renewal = scene, renewal
        self._life = datetime.timedelta(seconds=life)
        self._renew()

    def _renew(self) -> None:
        self._renewal.begin(self._life)
        time.sleep(HALFWAY)
        self._renewal.end()

    def go(self, renewals: int) -> list[float]:
        """The seconds from each change of the tree to its label."""
        interval = self._life.total_seconds() / 2
        taken = []
        for renewal in range(renewals):
            next_one = time.monotonic() + interval
            for number in range(CHANGES):
                begun = time.monotonic()
                self._scene.change(f"device-{renewal}-{number}")
                taken.append(self._scene.right() - begun)
                left = next_one - time.monotonic()
                time.sleep(max(0.0, left / (CHANGES - number)))
            self._renew()
        return taken
