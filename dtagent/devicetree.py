"""A devicetree as nodes, from the kernel's live tree or from a DTB file.

The live tree is a folder a node and a file a property (Linux, Documentation/ABI/testing/sysfs-
firmware-ofw). It changes under our feet when an overlay comes or goes and tells nobody. So a scan
lists each node's folder once, opens only the properties it is asked for, and starts again when one
has vanished.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

from dtagent.errors import NoTreeError, TreeError
from dtagent.names import Selector

PROPERTY_MAX = 2 << 20  # bytes; the largest of Debian's boards has 64 KiB
PAGE, READ_SIZE = 4096, 64 << 10  # bytes; the smallest page of any kernel divides each larger one
ATTEMPTS = 5
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ESTALE)
T = TypeVar("T")


class Vanished(Exception):
    """A node or property went away between its folder's listing and its reading."""


@dataclass(eq=False)
class Node:
    """One node; `properties` are names alone, and the bytes are read when `get` asks."""

    path: str
    parent: Node | None = field(repr=False)
    properties: frozenset[str] = field(repr=False)
    read: Callable[[str, str], bytes] = field(repr=False)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def get(self, name: str) -> bytes | None:
        """The property's bytes as in the blob, or None where the node does not have it."""
        return self.read(self.path, name) if name in self.properties else None

    def strings(self, name: str) -> list[str]:
        """A `<stringlist>` property; bytes that are not UTF-8 stay, as surrogates."""
        value = (self.get(name) or b"").decode("utf-8", "surrogateescape")
        return [text for text in value.split("\0") if text]

    def available(self) -> bool:
        """Whether the kernel would populate it: its own status and that of each ancestor."""
        node: Node | None = self
        while node and node._enabled:
            node = node.parent
        return node is None

    @cached_property
    def _enabled(self) -> bool:
        """A cpu that is `disabled` is quiescent and still there; only `fail` takes it out.

        Devicetree Specification 2.3.4 and 3.8.1, the kernel's of_get_next_cpu_node.
        """
        status = (self.strings("status") or ["okay"])[0]
        if self.parent and self.parent.path == "/cpus" and self._is_cpu():
            return not (status == "fail" or status.startswith("fail-"))
        return status in ("okay", "ok")

    def _is_cpu(self) -> bool:
        return self.name.partition("@")[0] == "cpu" or self.strings("device_type") == ["cpu"]


class Tree(Protocol):
    """Where nodes come from."""

    def nodes(self) -> Iterator[Node]:
        """Every node, the root first and a parent before its children, siblings sorted."""


@dataclass(frozen=True)
class LiveTree:
    """The folder in which the kernel shows its tree, or one written like it."""

    root: Path

    def nodes(self) -> Iterator[Node]:
        pending: list[tuple[str, Node | None]] = [("/", None)]
        while pending:
            path, parent = pending.pop()
            properties, children = self._list(path)
            node = Node(path, parent, frozenset(properties), self._read)
            yield node
            base = path if path == "/" else path + "/"
            pending.extend((base + name, node) for name in sorted(children, reverse=True))

    def _list(self, path: str) -> tuple[list[str], list[str]]:
        properties, children = [], []
        try:
            with os.scandir(self._place(path)) as entries:
                for entry in entries:
                    # Links are left out: the kernel makes none here, and one could lead anywhere.
                    if entry.is_file(follow_symlinks=False):
                        properties.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        children.append(entry.name)
        except OSError as error:
            if path == "/" and error.errno in (errno.ENOENT, errno.ENODEV):
                raise NoTreeError(
                    f"no devicetree at {self.root}: this host has none, or [devicetree] root and "
                    "--root name another place"
                ) from error
            if path == "/" and error.errno == errno.ENOTDIR:
                raise TreeError(
                    f"{self.root}: not a folder; --root wants a live tree (a DTB is --dtb)"
                ) from error
            raise _failure(self._place(path), error) from error
        return properties, children

    def _read(self, path: str, name: str) -> bytes:
        value = b""
        try:
            fd = os.open(self._place(path, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # sysfs hands out a page a read at most (kernfs_file_read_iter), less at the end.
                while len(value) % PAGE == 0:
                    more = os.read(fd, READ_SIZE)
                    value += more
                    if not more or len(value) > PROPERTY_MAX:
                        break
            finally:
                os.close(fd)
        except OSError as error:
            raise _failure(self._place(path, name), error) from error
        if len(value) > PROPERTY_MAX:
            raise TreeError(f"{self._place(path, name)}: larger than {PROPERTY_MAX} bytes")
        return value

    def _place(self, path: str, name: str = "") -> str:
        place = f"{self.root}{path}" if path != "/" else f"{self.root}"
        return f"{place}/{name}" if name else place


def _failure(place: str, error: OSError) -> Exception:
    if error.errno in _GONE:
        return Vanished(place)
    return TreeError(f"{place[:200]}: {error.strerror}; the devicetree cannot be read")


def select(nodes: Iterable[Node], selectors: Sequence[Selector]) -> list[list[Node]]:
    """For each selector the nodes that it chooses, in one walk and in the tree's order."""
    groups: list[list[Node]] = [[] for _ in selectors]
    tests = [(selector.kind, selector.pattern().match) for selector in selectors]
    root_alone = all(selector.text == "/" for selector in selectors)
    for node in nodes:
        for (kind, match), group in zip(tests, groups, strict=True):
            if kind == "compatible":
                chosen = any(map(match, node.strings("compatible")))
            else:
                chosen = match(node.path if kind == "path" else node.name) is not None
            if chosen:
                group.append(node)
        if root_alone:
            break
    return groups


def scan(tree: Tree, decide: Callable[[Iterable[Node]], T]) -> T:
    """Hand the tree's nodes to `decide`, again from the start if one vanished meanwhile.

    Raises TreeError when the tree cannot be read, or has not held still for ATTEMPTS scans.
    """
    gone = ""
    for _ in range(ATTEMPTS):
        try:
            return decide(tree.nodes())
        except Vanished as vanished:
            gone = str(vanished)
    raise TreeError(f"{gone}: gone in mid-scan, {ATTEMPTS} times in a row; the tree keeps changing")
