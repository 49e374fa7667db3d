"""A devicetree as nodes, from the kernel's live tree or from a DTB file.

The live tree is a folder a node and a file a property (Linux, Documentation/ABI/testing/sysfs-
firmware-ofw). It changes under our feet when an overlay comes or goes and tells nobody. So a scan
lists each node's folder once, opens only the properties it is asked for, and starts again when one
has vanished. Whatever the folder turns out to hold, a scan ends, and takes no more than SCAN_MAX.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar

from dtagent.errors import TreeError
from dtagent.names import Selector, one_line

PROPERTY_MAX = 2 << 20  # bytes; the largest of Debian's boards has 3 KiB
SCAN_MAX = 64 << 20  # bytes of names and of values read; the largest of Debian's boards has 2 MiB
ENTRY = 256  # bytes that a node's or a property's name takes in memory, beside its path
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


class Tree(ABC):
    """Where nodes come from."""

    def nodes(self) -> Iterator[Node]:
        """Every node, the root first and a parent before its children, siblings sorted."""
        room = SCAN_MAX

        def take(size: int) -> None:
            nonlocal room
            room -= size
            if room < 0:
                raise TreeError(f"{self}: more than {SCAN_MAX} bytes; no devicetree is so large")

        def read(path: str, name: str) -> bytes:
            value = self.read(path, name)
            take(len(value))
            return value

        pending: list[tuple[str, Node | None]] = [("/", None)]
        while pending:
            path, parent = pending.pop()
            properties, children = self.listing(path)
            take((len(path) + ENTRY) * (len(properties) + len(children)))
            node = Node(path, parent, frozenset(properties), read)
            yield node
            base = path if path == "/" else path + "/"
            pending.extend((base + name, node) for name in sorted(children, reverse=True))

    @abstractmethod
    def listing(self, path: str) -> tuple[list[str], list[str]]:
        """The names of a node's properties, and those of its children."""

    @abstractmethod
    def read(self, path: str, name: str) -> bytes:
        """The bytes of one property."""


@dataclass(frozen=True)
class LiveTree(Tree):
    """The folder in which the kernel shows its tree, or one written like it."""

    root: Path

    def __str__(self) -> str:
        return one_line(str(self.root))

    def listing(self, path: str) -> tuple[list[str], list[str]]:
        properties, children = [], []
        try:
            with os.scandir(self._place(path)) as entries:
                for entry in islice(entries, SCAN_MAX // ENTRY + 1):
                    # Links are left out: the kernel makes none here, and one could lead anywhere.
                    if entry.is_file(follow_symlinks=False):
                        properties.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        children.append(entry.name)
        except OSError as error:
            if path == "/" and error.errno in (errno.ENOENT, errno.ENODEV):
                raise TreeError(
                    f"no devicetree at {self}: this host has none, or [devicetree] root and "
                    "--root name another place"
                ) from error
            if path == "/" and error.errno == errno.ENOTDIR:
                raise TreeError(
                    f"{self}: not a folder; --root wants a live tree (a DTB is --dtb)"
                ) from error
            raise _failure(self._place(path), error) from error
        if path == "/" and not properties:
            # The kernel gives each node a `name`: this is a mount point, or the folder above.
            raise TreeError(f"no devicetree at {self}: a folder without one property")
        return properties, children

    def read(self, path: str, name: str) -> bytes:
        value = b""
        try:
            # What was a file when it was listed may be a pipe by now: opening one would wait.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            fd = os.open(self._place(path, name), flags)
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
            place = one_line(self._place(path, name))
            raise TreeError(f"{place}: larger than {PROPERTY_MAX} bytes")
        return value

    def _place(self, path: str, name: str = "") -> str:
        place = f"{self.root}{path}" if path != "/" else f"{self.root}"
        return f"{place}/{name}" if name else place


def _failure(place: str, error: OSError) -> Exception:
    if error.errno in _GONE:
        return Vanished(place)
    # ENAMETOOLONG among them: a path ends at PATH_MAX, 4096 bytes, and a kernel's tree at 64 nodes
    # down (FDT_MAX_DEPTH, drivers/of/fdt.c).
    return TreeError(f"{one_line(place)}: {error.strerror}; the devicetree cannot be read")


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
            gone = one_line(str(vanished))
    raise TreeError(f"{gone}: gone in mid-scan, {ATTEMPTS} times in a row; the tree keeps changing")
