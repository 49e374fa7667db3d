"""What a fault costs: requests, counted where they arrive, and memory, as the kernel counts it.

A request that the server answered is in its audit log; one that a proxy answered, or a connection
that came to nothing, is known to the proxy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.apiserver import audit

from .scene import Scene


class Asked:
    """How much a scene's agent asks from here on."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._mark = scene.cluster.audit_mark()
        self._away = scene.tcp.turned_away
        self._requests = len(scene.https.requests) if scene.https else 0
        self._waiting = self._attempts()

    def _attempts(self) -> int:
        """Failures by the agent's own word: who is refused a connection leaves no other trace."""
        return sum("waiting since" in text for each in self._scene.agents for text in each.said)

    @property
    def count(self) -> int:
        """Requests that came to a proxy or the server, and connections that came to nothing."""
        scene = self._scene
        away = scene.tcp.turned_away - self._away
        if scene.https:
            return len(scene.https.requests) - self._requests + away
        asked = {event["auditID"] for event in self._events() if self._is_ours(event)}
        return max(len(asked) + away, self._attempts() - self._waiting)

    def _events(self) -> list[dict[str, object]]:
        cluster = self._scene.cluster
        return audit.read(cluster.directory / audit.LOG, self._mark)

    def _is_ours(self, event: Mapping[str, object]) -> bool:
        user = event["user"]
        assert isinstance(user, dict)
        # Who is not known, after a 401, has no name there.
        return bool(user.get("username") == f"system:node:{self._scene.name}")


def memory(pid: int) -> tuple[float, float]:
    """Resident now, and the most that it ever was: MB (proc(5), /proc/pid/status)."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024
