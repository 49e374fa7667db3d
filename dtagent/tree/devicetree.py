"""A devicetree as nodes, from the kernel's live tree or from a DTB file.

The live tree is a folder a node and a file a property (Linux, Documentation/ABI/testing/sysfs-
firmware-ofw). It changes under our feet when an overlay comes or goes and tells nobody. So a scan
lists each node's folder once, opens only the properties it is asked for, and starts again when one
has vanished. Whatever the folder turns out to hold, a scan ends, and takes no more than SCAN_MAX.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from dtagent.errors import TreeError
from dtagent.names import one_line, quoted

PROPERTY_MAX = 2 << 20  # bytes; the largest of Debian's boards has 3 KiB
SCAN_MAX = 64 << 20  # bytes of names and of values read; the largest of Debian's boards has 2 MiB
ENTRY = 256  # bytes that a node, a property or a string of one takes in memory, beside its text
BLOB_MAX = 16 << 20  # bytes; the boot protocol of arm64 allows 2 MiB
TWINS_MAX = 16  # siblings of one name beside the first; the kernel gives up there, too
ATTEMPTS = 5
# What was a file when it was listed may be a pipe by now: opening one would wait.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ESTALE)
_NO_TREE = "this host has none, or [devicetree] root and --root name another place"
T = TypeVar("T")


class Node:
    """One node; `properties` are names alone, and the bytes are read when `get` asks."""

    def __init__(
        self, tree: "LiveTree", path: str, parent: "Node | None", properties: list[str]
    ) -> None:
        self.path, self.name, self.properties = path, path.rpartition("/")[2], properties
        self._tree, self._parent = tree, parent

    def get(self, name: str) -> bytes | None:
        """The property's bytes as in the blob, or None where the node does not have it."""
        return self._tree.read(self.path, name) if name in self.properties else None

    def strings(self, name: str) -> list[str]:
        """A `<stringlist>` property; bytes that are not UTF-8 stay, as surrogates."""
        value = self.get(name) or b""
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
        if self.path == f"/cpus/{self.name}" and (
            self.name.partition("@")[0] == "cpu" or self.strings("device_type") == ["cpu"]
        ):
            return status.partition("-")[0] != "fail"
        return status in ("okay", "ok")


class LiveTree:
    """The folder in which the kernel shows its tree, or one written like it, as nodes.

    The root is first, a parent before its children, siblings are sorted. Each iteration reads it
    anew; what fails is a TreeError, or an OSError with the file's name.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._shown = str(place), one_line(str(place))

    def __iter__(self) -> Iterator[Node]:
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
            raise TreeError(f"{self._shown}: more than {SCAN_MAX} bytes; no devicetree is so large")

    def listing(self, path: str) -> tuple[list[str], list[str]]:
        """The names of a node's properties, and those of its children."""
        properties, children = [], []
        try:
            with os.scandir(self._place + path.rstrip("/")) as entries:
                for entry in islice(entries, SCAN_MAX // ENTRY + 1):
                    # Links are left out: the kernel makes none here, and one could lead anywhere.
                    if entry.is_file(follow_symlinks=False):
                        properties.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        children.append(entry.name)
        except OSError as error:
            if path != "/" or error.errno not in _GONE:
                raise
            text = f"no devicetree at {self._shown}: {_NO_TREE}"
            if error.errno == errno.ENOTDIR:
                text = f"{self._shown}: not a folder; --root wants a live tree (a DTB is --dtb)"
            raise TreeError(text) from error
        if path == "/" and not properties:
            # The kernel gives each node a `name`: this is a mount point, or the folder above.
            raise TreeError(f"no devicetree at {self._shown}: a folder without one property")
        return properties, children

    def read(self, path: str, name: str) -> bytes:
        place, value = f"{self._place}{path.rstrip('/')}/{name}", b""
        fd = os.open(place, _FLAGS)
        try:
            # sysfs hands out a page a read at most (kernfs_file_read_iter).
            while len(value) <= PROPERTY_MAX and (more := os.read(fd, 1 << 16)):
                value += more
        except OSError as error:
            raise OSError(error.errno, error.strerror, place) from error
        finally:
            os.close(fd)
        if len(value) > PROPERTY_MAX:
            raise TreeError(f"{one_line(place)}: larger than {PROPERTY_MAX} bytes")
        self.take(len(value))
        return value


class Blob(LiveTree):
    """One DTB, wholly in memory, as the live tree that a kernel would make of it.

    By pylibfdt (the extra `dtagent[dtb]`); the format is the Devicetree Specification's chapter 5.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        try:
            import libfdt

            with file.open("rb") as stream:
                data = stream.read(BLOB_MAX + 1)
        except ImportError as error:
            what = "pip install 'dtagent[dtb]', or apt install python3-libfdt"
            raise TreeError(f"reading a DTB needs pylibfdt: {what}") from error
        except OSError as error:
            raise TreeError(f"{self._shown}: {error.strerror}") from error
        if len(data) > BLOB_MAX:
            raise TreeError(f"{self._shown}: larger than {BLOB_MAX} bytes; no DTB is")
        # libfdt wants the 40 bytes of a header before it can say that they are none.
        if len(data) < 40 or libfdt.fdt_check_full(bytearray(data), len(data)) != 0:
            raise TreeError(f"{self._shown}: not a whole DTB (a live tree's folder is --root)")
        try:
            self._tables = {"/": self._table(libfdt.FdtRo(data), libfdt.QUIET_NOTFOUND)}
        except (libfdt.FdtException, SystemError, UnicodeError) as error:
            # The check lets pass a blob without a node, and names that pylibfdt cannot decode.
            raise TreeError(f"{self._shown}: not a DTB that libfdt can read") from error

    def listing(self, path: str) -> tuple[list[str], list[str]]:
        table, base = self._tables[path], path.rstrip("/")
        children = {name: value for name, value in table.items() if isinstance(value, dict)}
        self._tables.update((f"{base}/{name}", child) for name, child in children.items())
        return [name for name in table if name not in children], [*children]

    def read(self, path: str, name: str) -> bytes:
        return bytes(self._tables[path][name])

    def _table(self, fdt: Any, quiet: Any) -> dict[str, Any]:
        """The root's properties' bytes and its children by name, and so on down.

        In one pass: libfdt goes through all below a node to find its next sibling.
        """
        ancestors: list[dict[str, Any]] = []
        node, depth = 0, 0
        while node >= 0 and depth >= 0:
            ancestors[depth:] = [{}]
            if depth:
                self._add(ancestors[depth - 1], fdt.get_name(node), ancestors[depth])
            offset = fdt.first_property_offset(node, quiet)
            while offset >= 0:
                item = fdt.get_property_by_offset(offset)
                self._add(ancestors[depth], item.name, bytes(item))
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
        raise TreeError(f"{self._shown}: {quoted(name)}: {TWINS_MAX + 2} of that name in one node")


def scan(tree: LiveTree, decide: Callable[[Iterable[Node]], T]) -> T:
    """Hand the tree's nodes to `decide`, again from the start if one vanished meanwhile.

    Raises TreeError when the tree cannot be read, or has not held still for ATTEMPTS scans.
    """
    for _ in range(ATTEMPTS):
        try:
            return decide(tree)
        except OSError as error:
            place, what = one_line(str(error.filename)), error.strerror
            if error.errno not in _GONE:
                # ENAMETOOLONG among them: a kernel's tree ends 64 nodes down (FDT_MAX_DEPTH).
                raise TreeError(f"{place}: {what}; the devicetree cannot be read") from error
    what = f"gone in mid-scan, {ATTEMPTS} times in a row; the tree keeps changing"
    raise TreeError(f"{place}: {what}")
