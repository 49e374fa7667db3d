"""Trees that nobody should have made: a right result or a clear error, and always an end.

Each is built on a file system, as the kernel or a careless `--root` would show it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.tree import Tree, add_node, remove_node, strings, write_tree
from dtagent.errors import TreeError
from dtagent.tree import devicetree
from dtagent.tree.devicetree import Blob, LiveTree, scan
from tests.dtb import dtb
from tests.hostile import an_end as an_end  # a fixture for every test here
from tests.hostile import labels, refusal, root

P = "beta.devicetree.org/"
NOBODY = 65534


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A small tree in good order, for a test to spoil."""
    base = tmp_path / "base"
    write_tree({"compatible": strings("acme,board"), "gpu@1": root("acme,gpu")}, base)
    return base


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom permissions stop."""
    user = os.geteuid()
    os.seteuid(user or NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def public() -> Iterator[Path]:
    """A place that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place) / "base"


def test_a_property_whose_reading_fails_is_an_error_that_names_it() -> None:
    # The kernel's own failing file: nothing is mapped at address 0 of any process.
    with pytest.raises(TreeError, match=r"^/proc/self/mem: Input/output error; the devicetree"):
        scan(LiveTree(Path("/proc/self")), lambda nodes: next(iter(nodes)).get("mem"))


@pytest.mark.parametrize("unreadable", ["compatible", "gpu@1", "gpu@1/compatible"])
def test_what_may_not_be_read_is_an_error_and_not_an_absence(public: Path, unreadable: str) -> None:
    write_tree({"compatible": strings("acme,board"), "gpu@1": root("acme,gpu")}, public)
    (public / unreadable).chmod(0)
    with unprivileged():
        assert refusal(lambda: LiveTree(public), "gpu") == (
            f"{public}/{unreadable}: Permission denied; the devicetree cannot be read"
        )


def test_a_secret_property_stops_nobody_who_does_not_ask_for_it(public: Path) -> None:
    write_tree({**root("acme,board"), "security-password": b"secret"}, public)
    with unprivileged():
        assert labels(LiveTree(public), "compatible:*").labels == {P + "acme-board": "1"}


def pipe(place: Path) -> None:
    os.mkfifo(place)


def bound(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(place.parent)  # an address has 107 bytes at most
        try:
            listener.bind(place.name)
        finally:
            os.chdir(here)


def dangling(place: Path) -> None:
    place.symlink_to("nowhere")


def loop(place: Path) -> None:
    place.symlink_to(place.name)


def upwards(place: Path) -> None:
    place.symlink_to("..")


@pytest.mark.parametrize("make", [pipe, bound, dangling, loop, upwards])
def test_what_is_no_file_in_a_propertys_place_is_no_property(
    base: Path, make: Callable[[Path], None]
) -> None:
    (base / "gpu@1" / "compatible").unlink()
    make(base / "gpu@1" / "compatible")
    make(base / "status")
    assert labels(LiveTree(base), "gpu").labels == {P + "acme-board": "1"}


def test_a_pipe_that_takes_a_propertys_place_in_mid_scan_keeps_no_scan_waiting(base: Path) -> None:
    node = next(iter(LiveTree(base)))
    (base / "compatible").unlink()
    pipe(base / "compatible")
    assert node.get("compatible") == b""


def test_a_tree_that_is_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    loop(tmp_path / "base")
    assert "Too many levels of symbolic links" in refusal(lambda: LiveTree(tmp_path / "base"))


def test_an_empty_folder_is_no_tree_and_neither_is_the_one_above_a_tree(base: Path) -> None:
    # As after an unmount, or with the /sys/firmware/devicetree that holds `base`.
    (base.parent / "empty").mkdir()
    for place in (base.parent / "empty", base.parent):
        with pytest.raises(TreeError, match="a folder without one property"):
            labels(LiveTree(place))


def test_a_tree_that_changes_all_the_time_is_seen_as_it_was_or_not_at_all(base: Path) -> None:
    stop = threading.Event()
    bus: Tree = {f"gpu@{n}": root("acme,gpu") for n in range(5)}

    def change() -> None:
        while not stop.is_set():
            add_node(base, "/bus", bus)
            remove_node(base, "/bus")

    changing = threading.Thread(target=change)
    changing.start()
    seen = set()
    try:
        for _ in range(300):
            try:
                seen.add(labels(LiveTree(base), "gpu").labels[P + "acme-gpu"])
            except TreeError as error:
                assert "gone in mid-scan" in str(error)
    finally:
        stop.set()
        changing.join()
    assert seen <= {"1", "6"}
    assert seen, "some scans find it at rest"


def test_ten_thousand_nodes_are_counted_in_a_folder_and_in_a_blob(tmp_path: Path) -> None:
    tree: Tree = {"name": strings("")}
    for bus in range(100):
        tree[f"bus@{bus}"] = {f"led@{n}": root("acme,led", f"acme,led{n}") for n in range(99)}
    write_tree(tree, tmp_path / "base")
    (tmp_path / "dtb").write_bytes(dtb(tree))
    live, flat = labels(LiveTree(tmp_path / "base"), "led"), labels(Blob(tmp_path / "dtb"), "led")
    assert live == flat
    assert live.labels == {
        P + "acme-led": "9900", **{f"{P}acme-led{n}": "100" for n in range(99)}
    }  # fmt: skip


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """A chain of nodes of one name, the last with a compatible, as deep as no path can name."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "name").write_bytes(b"\0")

    def build(name: str, depth: int) -> Path:
        folder = os.open(base, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir(name, dir_fd=folder)
            below = os.open(name, os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = below
        with os.fdopen(
            os.open("compatible", os.O_CREAT | os.O_WRONLY, dir_fd=folder), "wb"
        ) as file:
            file.write(strings("acme,deep"))
        os.close(folder)
        return base

    yield build
    subprocess.run(["rm", "-r", base], check=True)  # pytest's own way recurses


def test_a_node_a_thousand_deep_is_found(deep: Callable[[str, int], Path]) -> None:
    base = deep("n", 1000)
    assert labels(LiveTree(base), "compatible:acme,deep").labels == {P + "acme-deep": "1"}


def test_a_node_deeper_than_a_path_can_say_is_an_error(deep: Callable[[str, int], Path]) -> None:
    base = deep("n" * 31, 1000)
    assert "File name too long" in refusal(lambda: LiveTree(base), "n")


def test_twins_count_as_two(base: Path) -> None:
    write_tree(root("acme,gpu"), base / "gpu@1#1")
    assert labels(LiveTree(base), "gpu").labels == {P + "acme-board": "1", P + "acme-gpu": "2"}


def test_a_tree_larger_than_any_is_an_error_and_not_a_full_memory(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dtb").write_bytes(dtb({"a": {"b": b""}}))
    monkeypatch.setattr(devicetree, "SCAN_MAX", devicetree.ENTRY)
    assert "more than 256 bytes" in refusal(lambda: LiveTree(base))
    assert "more than 256 bytes" in refusal(lambda: Blob(tmp_path / "dtb"), "a")


def test_what_is_read_counts_as_part_of_the_tree(base: Path) -> None:
    (base / "big").write_bytes(b"x" * devicetree.PROPERTY_MAX)
    node = next(iter(LiveTree(base)))
    times = devicetree.SCAN_MAX // devicetree.PROPERTY_MAX
    with pytest.raises(TreeError, match="no devicetree is so large"):
        for _ in range(times):
            node.get("big")
