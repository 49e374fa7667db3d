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
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar

from dtagent.errors import TreeError
from dtagent.names import Selector, one_line

PROPERTY_MAX = 2 << 20  # bytes; the largest of Debian's boards has 3 KiB
SCAN_MAX = 64 << 20  # bytes of names and of values read; the largest of Debian's boards has 2 MiB
ENTRY = 256  # bytes that a node, a property or a string of one takes in memory, beside its text
PAGE, READ_SIZE = 4096, 64 << 10  # bytes; the smallest page of any kernel divides each larger one
ATTEMPTS = 5
# What was a file when it was listed may be a pipe by now: opening one would wait.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ESTALE)
_NO_TREE = "this host has none, or [devicetree] root and --root name another place"
T = TypeVar("T")


class Vanished(Exception):
    """A node or property went away between its folder's listing and its reading."""


class Node:
    """One node; `properties` are names alone, and the bytes are read when `get` asks."""

    def __init__(self, tree: Tree, path: str, parent: Node | None, properties: list[str]) -> None:
        self.path, self.name, self.properties = path, path.rpartition("/")[2], properties
        self._tree, self._parent = tree, parent

    def get(self, name: str) -> bytes | None:
        """The property's bytes as in the blob, or None where the node does not have it."""
        if name not in self.properties:
            return None
        value = self._tree.read(self.path, name)
        self._tree.take(len(value))
        return value

    def strings(self, name: str) -> list[str]:
        """A `<stringlist>` property; bytes that are not UTF-8 stay, as surrogates."""
        value = self.get(name)
        if not value:
            return []
        self._tree.take(ENTRY * value.count(b"\0"))
        return [text for text in value.decode("utf-8", "surrogateescape").split("\0") if text]

    def available(self) -> bool:
        """Whether the kernel would populate it: its own status and that of each ancestor."""
        node: Node | None = self
        while node and node._enabled:
            node = node._parent
        return node is None

    @cached_property
    def _enabled(self) -> bool:
        """A cpu that is `disabled` is quiescent and still there; only `fail` takes it out.

        Devicetree Specification 2.3.4 and 3.8.1, the kernel's of_get_next_cpu_node.
        """
        status = (self.strings("status") or ["okay"])[0]
        if (self._parent and self._parent.path == "/cpus") and (
            self.name.partition("@")[0] == "cpu" or self.strings("device_type") == ["cpu"]
        ):
            return status.partition("-")[0] != "fail"
        return status in ("okay", "ok")


class Tree(ABC):
    """Where nodes come from."""

    def nodes(self) -> Iterator[Node]:
        """Every node, the root first and a parent before its children, siblings sorted."""
        self._room = SCAN_MAX
        pending: list[tuple[str, Node | None]] = [("/", None)]
        while pending:
            path, parent = pending.pop()
            properties, children = self.listing(path)
            self.take((len(path) + ENTRY) * (len(properties) + len(children)))
            node = Node(self, path, parent, properties)
            yield node
            base = path.rstrip("/")
            pending += [(f"{base}/{name}", node) for name in sorted(children, reverse=True)]

    def take(self, size: int) -> None:
        """Count what a scan holds in memory."""
        self._room -= size
        if self._room < 0:
            raise TreeError(f"{self}: more than {SCAN_MAX} bytes; no devicetree is so large")

    @abstractmethod
    def listing(self, path: str) -> tuple[list[str], list[str]]:
        """The names of a node's properties, and those of its children."""

    @abstractmethod
    def read(self, path: str, name: str) -> bytes:
        """The bytes of one property."""


class LiveTree(Tree):
    """The folder in which the kernel shows its tree, or one written like it."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)

    def __str__(self) -> str:
        return one_line(self._root)

    def listing(self, path: str) -> tuple[list[str], list[str]]:
        properties, children = [], []
        place = self._root + path.rstrip("/")
        try:
            with os.scandir(place) as entries:
                for entry in islice(entries, SCAN_MAX // ENTRY + 1):
                    # Links are left out: the kernel makes none here, and one could lead anywhere.
                    if entry.is_file(follow_symlinks=False):
                        properties.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        children.append(entry.name)
        except OSError as error:
            if path == "/" and error.errno == errno.ENOTDIR:
                text = f"{self}: not a folder; --root wants a live tree (a DTB is --dtb)"
                raise TreeError(text) from error
            if path == "/" and error.errno in _GONE:
                raise TreeError(f"no devicetree at {self}: {_NO_TREE}") from error
            raise _failure(place, error) from error
        if path == "/" and not properties:
            # The kernel gives each node a `name`: this is a mount point, or the folder above.
            raise TreeError(f"no devicetree at {self}: a folder without one property")
        return properties, children

    def read(self, path: str, name: str) -> bytes:
        place = f"{self._root}{path.rstrip('/')}/{name}"
        try:
            fd = os.open(place, _FLAGS)
            try:
                value = more = os.read(fd, READ_SIZE)
                # sysfs hands out a page a read at most (kernfs_file_read_iter), less at the end.
                while more and len(value) % PAGE == 0 and len(value) <= PROPERTY_MAX:
                    more = os.read(fd, READ_SIZE)
                    value += more
            finally:
                os.close(fd)
        except OSError as error:
            raise _failure(place, error) from error
        if len(value) > PROPERTY_MAX:
            raise TreeError(f"{one_line(place)}: larger than {PROPERTY_MAX} bytes")
        return value


def _failure(place: str, error: OSError) -> Exception:
    if error.errno in _GONE:
        return Vanished(place)
    # ENAMETOOLONG among them: a path ends at PATH_MAX, 4096 bytes, and a kernel's tree at 64 nodes
    # down (FDT_MAX_DEPTH, drivers/of/fdt.c).
    return TreeError(f"{one_line(place)}: {error.strerror}; the devicetree cannot be read")


def select(
    nodes: Iterable[Node], selectors: Iterable[str]
) -> tuple[dict[str, list[Node]], dict[str, set[str]]]:
    """For each selector the nodes that it chooses, in one walk and in the tree's order.

    And for each kind of selector that there is, all that one could have chosen.
    """
    parsed = [Selector.parse(text) for text in dict.fromkeys(selectors)]
    chosen: dict[str, list[Node]] = {selector.text: [] for selector in parsed}
    there: dict[str, set[str]] = {selector.kind: set() for selector in parsed}
    for node in nodes:
        texts = {"path": [node.path], "name": [node.name]}
        if "compatible" in there:
            texts["compatible"] = node.strings("compatible")
        for kind, several in there.items():
            several.update(texts[kind])
        for selector in parsed:
            if any(map(selector.pattern.match, texts[selector.kind])):
                chosen[selector.text].append(node)
        if all(text == "/" for text in chosen):
            break
    return chosen, there


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
