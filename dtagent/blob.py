"""A devicetree from a DTB file, by pylibfdt (the extra `dtagent[dtb]`).

The format is the Devicetree Specification's chapter 5; libfdt checks the whole blob's structure
before any of it is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dtagent.devicetree import Node
from dtagent.errors import TreeError

_HEADER = 40  # bytes of struct fdt_header, version 17


class Blob:
    """One DTB, wholly in memory."""

    def __init__(self, file: Path) -> None:
        try:
            import libfdt
        except ImportError as error:
            raise TreeError(
                "reading a DTB needs pylibfdt: pip install 'dtagent[dtb]', "
                "or apt install python3-libfdt"
            ) from error
        try:
            data = file.read_bytes()
        except OSError as error:
            raise TreeError(f"{file}: {error.strerror}") from error
        # libfdt wants the header whole before it can say that it is none.
        if len(data) < _HEADER or libfdt.fdt_check_full(bytearray(data), len(data)) != 0:
            raise TreeError(f"{file}: not a whole DTB (a live tree's folder is --root)")
        self._fdt: Any = libfdt.FdtRo(data)
        self._offsets: dict[str, dict[str, int]] = {}
        self._quiet = libfdt.QUIET_NOTFOUND

    def nodes(self) -> Iterator[Node]:
        pending: list[tuple[int, str, Node | None]] = [(0, "/", None)]
        while pending:
            offset, path, parent = pending.pop()
            properties = dict(self._properties(offset))
            self._offsets[path] = properties
            node = Node(path, parent, frozenset(properties), self._read)
            yield node
            base = path if path == "/" else path + "/"
            children = sorted(self._children(offset), key=lambda child: child[1], reverse=True)
            pending.extend((child, base + name, node) for child, name in children)

    def _properties(self, node: int) -> Iterator[tuple[str, int]]:
        offset = self._fdt.first_property_offset(node, self._quiet)
        while offset >= 0:
            yield self._fdt.get_property_by_offset(offset).name, offset
            offset = self._fdt.next_property_offset(offset, self._quiet)

    def _children(self, node: int) -> Iterator[tuple[int, str]]:
        offset = self._fdt.first_subnode(node, self._quiet)
        while offset >= 0:
            yield offset, self._fdt.get_name(offset)
            offset = self._fdt.next_subnode(offset, self._quiet)

    def _read(self, path: str, name: str) -> bytes:
        return bytes(self._fdt.get_property_by_offset(self._offsets[path][name]))
