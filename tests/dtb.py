"""Trees as flattened devicetree blobs and back, by libfdt, so that the parser has a second opinion.

The format: Devicetree Specification chapter 5. The same dict makes a folder by demo.tree.
"""

from __future__ import annotations

import libfdt  # pylibfdt carries neither stubs nor py.typed

from demo.tree import Tree

GROWTH = 1 << 16
"""Bytes by which the buffer grows when it is full; libfdt's own 1 KiB copies it at each step."""


def dtb(tree: Tree) -> bytes:
    """The blob of `tree`: properties before child nodes (Devicetree Specification 5.4.1).

    The order inside each of the two is the dict's.
    """
    writer = libfdt.FdtSw(size_hint=GROWTH)
    writer.INC_SIZE = GROWTH
    writer.finish_reservemap()
    _write(writer, "", tree)
    blob = writer.as_fdt()
    return bytes(blob.as_bytearray()[: blob.totalsize()])


def read(blob: bytes) -> Tree:
    """The tree in `blob`; a node that bears the name of a property is `NAME#1`, as in sysfs.

    FdtException where libfdt refuses the blob; the kernel's way with twins is safe_name in
    drivers/of/kobj.c.
    """
    fdt = libfdt.FdtRo(blob)
    return _read(fdt, 0)


def _write(writer: libfdt.FdtSw, name: str, node: Tree) -> None:
    with writer.add_node(name):
        for key, value in node.items():
            if isinstance(value, bytes):
                writer.property(key, value)
        for key, value in node.items():
            if isinstance(value, dict):
                _write(writer, key, value)


def _read(fdt: libfdt.FdtRo, offset: int) -> Tree:
    node: Tree = {}
    at = fdt.first_property_offset(offset, libfdt.QUIET_NOTFOUND)
    while at >= 0:
        item = fdt.get_property_by_offset(at)
        node[item.name] = bytes(item)
        at = fdt.next_property_offset(at, libfdt.QUIET_NOTFOUND)
    at = fdt.first_subnode(offset, libfdt.QUIET_NOTFOUND)
    while at >= 0:
        name = twin = fdt.get_name(at)
        count = 0
        while twin in node:
            count += 1
            twin = f"{name}#{count}"
        node[twin] = _read(fdt, at)
        at = fdt.next_subnode(at, libfdt.QUIET_NOTFOUND)
    return node
