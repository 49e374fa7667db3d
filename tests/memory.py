"""A devicetree in memory, for tests of what is decided about it."""

from __future__ import annotations

from collections.abc import Iterator

from demo.tree import Tree
from dtagent.tree.devicetree import Node


def nodes(tree: Tree) -> Iterator[Node]:
    """The nodes of a nested dict, as a live tree or a blob would give them."""
    tables: dict[str, Tree] = {}

    def read(path: str, name: str) -> bytes:
        value = tables[path][name]
        assert isinstance(value, bytes)
        return value

    def walk(path: str, table: Tree, parent: Node | None) -> Iterator[Node]:
        tables[path] = table
        properties = frozenset(name for name, value in table.items() if isinstance(value, bytes))
        node = Node(path, parent, properties, read)
        yield node
        for name, child in sorted(table.items()):
            if isinstance(child, dict):
                yield from walk(f"{path.rstrip('/')}/{name}", child, node)

    return walk("/", tree, None)
