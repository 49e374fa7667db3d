"""A devicetree from a DTB file, by pylibfdt (the extra `dtagent[dtb]`).

The format is the Devicetree Specification's chapter 5; libfdt checks the whole blob's structure
before any of it is believed. Files and folders are named as the kernel would name them in sysfs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dtagent.errors import TreeError
from dtagent.names import one_line, quoted
from dtagent.tree.devicetree import Tree

BLOB_MAX = 16 << 20  # bytes; the boot protocol of arm64 allows 2 MiB
TWINS_MAX = 16  # siblings of one name beside the first; the kernel gives up there, too
_HEADER = 40  # bytes of struct fdt_header, version 17


class Blob(Tree):
    """One DTB, wholly in memory."""

    def __init__(self, file: Path) -> None:
        try:
            import libfdt
        except ImportError as error:
            raise TreeError(
                "reading a DTB needs pylibfdt: pip install 'dtagent[dtb]', "
                "or apt install python3-libfdt"
            ) from error
        self._file = file
        try:
            with file.open("rb") as stream:
                data = stream.read(BLOB_MAX + 1)
        except OSError as error:
            raise TreeError(f"{self}: {error.strerror}") from error
        if len(data) > BLOB_MAX:
            raise TreeError(f"{self}: larger than {BLOB_MAX} bytes; no DTB is")
        # libfdt wants the header whole before it can say that it is none.
        if len(data) < _HEADER or libfdt.fdt_check_full(bytearray(data), len(data)) != 0:
            raise TreeError(f"{self}: not a whole DTB (a live tree's folder is --root)")
        try:
            self._tables = {"/": self._table(libfdt.FdtRo(data), libfdt.QUIET_NOTFOUND)}
        except (libfdt.FdtException, SystemError, UnicodeError) as error:
            # The check lets pass a blob without a node, and names that pylibfdt cannot decode.
            raise TreeError(f"{self}: not a DTB that libfdt can read") from error

    def __str__(self) -> str:
        return one_line(str(self._file))

    def listing(self, path: str) -> tuple[list[str], list[str]]:
        table, base = self._tables[path], path.rstrip("/")
        children = {name: value for name, value in table.items() if isinstance(value, dict)}
        self._tables.update((f"{base}/{name}", child) for name, child in children.items())
        return [name for name in table if name not in children], [*children]

    def read(self, path: str, name: str) -> bytes:
        value: bytes = self._tables[path][name]
        return value

    def _table(self, fdt: Any, quiet: Any) -> dict[str, Any]:
        """The root's properties' bytes and its children by name, and so on down.

        In one pass: libfdt goes through all below a node to find its next sibling.
        """
        ancestors: list[dict[str, Any]] = []
        node, depth = 0, 0
        while node >= 0 and depth >= 0:
            table: dict[str, Any] = {}
            if depth:
                self._add(ancestors[depth - 1], fdt.get_name(node), table)
            ancestors[depth:] = [table]
            offset = fdt.first_property_offset(node, quiet)
            while offset >= 0:
                item = fdt.get_property_by_offset(offset)
                self._add(table, item.name, bytes(item))
                offset = fdt.next_property_offset(offset, quiet)
            node, depth = fdt.next_node(node, depth, quiet)
        return ancestors[0]

    def _add(self, table: dict[str, Any], name: str, item: object) -> None:
        """Put it under the name of its file (kobject_set_name_vargs, safe_name)."""
        plain = name.replace("/", "!")
        for file in (plain, *(f"{plain}#{number}" for number in range(1, TWINS_MAX + 1))):
            if file and file not in table:
                table[file] = item
                return
        raise TreeError(f"{self}: {quoted(name)}: {TWINS_MAX + 2} of that name in one node")
