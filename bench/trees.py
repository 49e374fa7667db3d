"""Trees of any size, in the proportions of `tree860`: buses with devices, and pin groups."""

from __future__ import annotations

from bench.tree860 import NODES, PROPERTIES, bus, complete, pin_group
from demo.tree import Tree, nodes, strings


def tree_of(size: int) -> Tree:
    """A board of `size` nodes and six properties a node, always the same; 40 nodes at least."""
    soc: Tree = {}
    pins: Tree = {"compatible": strings("example,bench-pinctrl")}
    root: Tree = {
        "compatible": strings("acme,bench-board", "example,bench-board"),
        "model": strings("Example Bench Board"),
        "soc": soc,
        "pinctrl": pins,
    }
    left = size - len(list(nodes(root)))
    while left > size / 2:  # as in tree860, half of all nodes
        one = bus(len(soc))
        soc[f"bus@{len(soc)}"] = one
        left -= len(list(nodes(one)))
    for group in range(left):
        pins[f"group{group}"] = pin_group(group)
    complete(root, size * PROPERTIES // NODES)
    return root
