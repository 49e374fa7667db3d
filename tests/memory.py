"""A devicetree in memory, for tests of what is decided about it."""

from __future__ import annotations

from collections.abc import Iterable

from demo.tree import Tree
from dtagent.tree.devicetree import Blob, Node


class Memory(Blob):
    """A nested dict as a blob would hold it."""

    def __init__(self, tree: Tree) -> None:
        self._place, self._tables = "memory", {"/": tree}


def nodes(tree: Tree) -> Iterable[Node]:
    """The nodes of a nested dict, as a live tree or a blob would give them."""
    return Memory(tree)
