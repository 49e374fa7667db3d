"""What was asked of the server, by its own audit log (kubernetes.io, "Auditing")."""

from __future__ import annotations

import json
from pathlib import Path

from tests.apiserver.client import Json

LOG = "audit.jsonl"
POLICY = "audit-policy.json"

RULES: Json = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver"]},  # the server's talk with itself
        {"level": "Request", "resources": [{"resources": ["nodes", "nodes/status"]}]},
        {"level": "Metadata"},
    ],
}
"""Nodes with what was sent, so that a test can see a patch; of the rest that it was."""


def read(log: Path, since: int = 0) -> list[Json]:
    """The events that begin at byte `since` or after; no log yet is no events."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, since - 1))
        if since:
            file.readline()  # what was half written then began before it
        whole = file.read().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.splitlines()]
