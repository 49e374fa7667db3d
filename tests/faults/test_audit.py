"""The check of the audit log lets pass what an agent may ask, and nothing else."""

from __future__ import annotations

import pytest

from .audit import NODES, REVIEW, USER, allowed

WATCH = f"{NODES}?watch=1&fieldSelector=metadata.name%3D"


@pytest.mark.parametrize(
    ("verb", "uri"),
    [
        ("create", REVIEW),
        ("get", f"{NODES}/own"),
        ("patch", f"{NODES}/own?fieldManager=dtagent&force=true"),
        ("watch", f"{WATCH}own&timeoutSeconds=1800"),
    ],
)
def test_what_an_agent_may_ask_of_its_own_node(verb: str, uri: str) -> None:
    assert allowed(f"{USER}own", verb, uri)


@pytest.mark.parametrize(
    ("verb", "uri"),
    [
        ("create", NODES),
        ("get", f"{NODES}/other"),
        ("get", f"{NODES}/own/status"),
        ("list", f"{NODES}?fieldSelector=metadata.name%3Down"),
        ("patch", f"{NODES}/other?fieldManager=dtagent"),
        ("patch", f"{NODES}/own/status"),
        ("update", f"{NODES}/own"),
        ("delete", f"{NODES}/own"),
        ("watch", f"{NODES}?watch=1"),
        ("watch", f"{WATCH}other"),
        ("get", "/api/v1/namespaces/default/secrets"),
    ],
)
def test_what_no_agent_may_ask(verb: str, uri: str) -> None:
    assert not allowed(f"{USER}own", verb, uri)
