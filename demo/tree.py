"""A devicetree as nested dicts, and the folder the kernel would show for it.

Tests, the demo and the bench stand such a folder in for /sys/firmware/devicetree/base. How the
kernel lays it out: Documentation/ABI/testing/sysfs-firmware-ofw, drivers/of/kobj.c and fdt.c.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

Tree: TypeAlias = "dict[str, Tree | bytes]"
"""One node: its properties (bytes, as in the blob) and its child nodes, by name."""


def strings(*values: str) -> bytes:
    """A string list: each string with a NUL after it (Devicetree Specification 2.2.4)."""
    return b"".join(value.encode() + b"\0" for value in values)


def cells(*values: int) -> bytes:
    """An array of unsigned 32-bit cells, big-endian (Devicetree Specification 2.2.4)."""
    return struct.pack(f">{len(values)}I", *values)


def nodes(tree: Tree, path: str = "/") -> Iterator[tuple[str, Tree]]:
    """Each node with its path, a parent before its children."""
    yield path, tree
    for name, child in tree.items():
        if isinstance(child, dict):
            yield from nodes(child, f"{path.rstrip('/')}/{name}")


def write_tree(tree: Tree, directory: Path, name: str = "") -> None:
    """Make `directory`, which must not exist yet, and in it the node `tree` as the kernel shows it.

    A node without a `name` property gets one, its name up to the `@`, as the kernel makes it for
    any blob since version 16 (drivers/of/fdt.c); `name` is empty for the root, as in a blob.
    `security-*` properties are for root's eyes (drivers/of/kobj.c).
    """
    directory.mkdir()
    for key, value in ({"name": strings(name.partition("@")[0])} | tree).items():
        if isinstance(value, dict):
            write_tree(value, directory / key, key)
            continue
        mode = 0o400 if key.startswith("security-") else 0o444
        with open(os.open(directory / key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as f:
            f.write(value)


def add_node(base: Path, path: str, node: Tree) -> None:
    """Put `node` at `path` (`/soc/fpga@0`) under the folder `base`, all of it at one moment.

    The parent must be there and the node must not. Where `base` is a mount point no place aside
    can be renamed from, and the node grows in place, as seen by whoever looks meanwhile.
    """
    target = _folder(base, path)
    with _aside(base) as aside:
        write_tree(node, aside / "node", target.name)
        if not _renamed(aside / "node", target):
            write_tree(node, target, target.name)


def remove_node(base: Path, path: str) -> None:
    """Take the node at `path` with all below it out of the folder `base`, all at one moment.

    Where `base` is a mount point, see `add_node`.
    """
    target = _folder(base, path)
    with _aside(base) as aside:
        if not _renamed(target, aside / "node"):
            shutil.rmtree(target)


def _folder(base: Path, path: str) -> Path:
    """The folder of the node at `path`; the root itself comes and goes with `base` alone."""
    if not path.strip("/"):
        raise ValueError("the root of a tree cannot be added or removed")
    return base / path.strip("/")


@contextmanager
def _aside(base: Path) -> Iterator[Path]:
    """A folder out of the readers' sight, on the file system of `base` where that can be."""
    with tempfile.TemporaryDirectory(dir=base.parent, prefix=f".{base.name}-") as aside:
        yield Path(aside)


def _renamed(source: Path, target: Path) -> bool:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True
