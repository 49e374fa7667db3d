"""What tests of hostile trees and blobs share."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from demo.tree import Tree, strings
from dtagent.config.settings import DevicetreeTable, Rule, Settings
from dtagent.errors import TreeError
from dtagent.names import LINE_MAX
from dtagent.tree import devicetree
from dtagent.tree.devicetree import scan
from dtagent.tree.labels import Labels, decide

PATIENCE = 60  # seconds that say "for ever"


@pytest.fixture(autouse=True)
def an_end() -> Iterator[None]:
    """What waits for ever is interrupted and fails."""

    def late(*_: object) -> None:
        raise AssertionError(f"no end after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def root(*compatible: str) -> Tree:
    return {"compatible": strings(*compatible)}


def labels(tree: devicetree.LiveTree, *nodes: str, rules: tuple[Rule, ...] = ()) -> Labels:
    table = DevicetreeTable(nodes=("/", *nodes))
    return scan(tree, partial(decide, settings=Settings(devicetree=table, rules=rules)))


def refusal(tree: Callable[[], devicetree.LiveTree], *nodes: str) -> str:
    with pytest.raises(TreeError) as caught:
        labels(tree(), *nodes)
    message = str(caught.value)
    assert message.isprintable(), "it is one line"
    assert len(message) < 2 * LINE_MAX
    return message
