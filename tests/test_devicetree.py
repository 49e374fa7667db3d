"""Reading a tree: the same from a folder and a blob, nothing for nothing, and no half truths."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from bench.tree860 import tree860
from demo.jetson_nano import JETSON_NANO
from demo.tree import Tree, strings, write_tree
from dtagent.errors import TreeError
from dtagent.tree import devicetree
from dtagent.tree.devicetree import Blob, LiveTree, Node, scan
from dtagent.tree.labels import select
from tests.dtb import dtb


def chosen(nodes: Iterable[Node], *selectors: str) -> list[list[str]]:
    found = select(nodes, selectors)
    return [[node.path for node in found[text]] for text in selectors]


def everything(nodes: Iterable[Node]) -> dict[str, dict[str, bytes | None]]:
    return {node.path: {name: node.get(name) for name in node.properties} for node in nodes}


def test_a_folder_and_a_blob_of_one_board_hold_the_same(nano: Path, tmp_path: Path) -> None:
    file = tmp_path / "nano.dtb"
    file.write_bytes(dtb(JETSON_NANO))
    live, blob = everything(LiveTree(nano)), everything(Blob(file))
    for properties in live.values():
        del properties["name"]  # the kernel adds it
    assert live == blob
    assert list(live) == list(blob)


def test_a_child_may_bear_a_propertys_name(tmp_path: Path) -> None:
    # /leds/status is a node on several real boards: then /leds has no status, and is available.
    write_tree({"leds": {"status": {"label": strings("status")}}}, tmp_path / "base")
    nodes = {node.path: node for node in LiveTree(tmp_path / "base")}
    assert nodes["/leds"].get("status") is None
    assert nodes["/leds"].available()
    assert nodes["/leds/status"].strings("label") == ["status"]


def test_selectors_choose_in_the_trees_order(nano: Path) -> None:
    assert chosen(LiveTree(nano), "/", "gpu", "compatible:nvidia,gm20*") == [
        ["/"],
        ["/gpu@57000000"],
        ["/gpu@57000000"],
    ]


def test_links_are_not_followed(tmp_path: Path) -> None:
    base = tmp_path / "base"
    write_tree({"a": {}}, base)
    (base / "a" / "loop").symlink_to(base)
    (base / "a" / "compatible").symlink_to("/etc/hostname")
    (node,) = [node for node in LiveTree(base) if node.path == "/a"]
    assert chosen(LiveTree(base), "loop") == [[]]
    assert node.get("compatible") is None


def test_the_tree_itself_may_be_a_link(nano: Path, tmp_path: Path) -> None:
    (tmp_path / "device-tree").symlink_to(nano)
    assert chosen(LiveTree(tmp_path / "device-tree"), "gpu") == [["/gpu@57000000"]]


def test_what_is_neither_folder_nor_file_is_passed_over(nano: Path) -> None:
    os.mkfifo(nano / "compatible.fifo")
    root = next(iter(LiveTree(nano)))
    assert "compatible.fifo" not in root.properties


def test_a_node_that_vanishes_in_mid_scan_starts_the_scan_again(nano: Path) -> None:
    scans = []

    def decide(nodes: Iterable[Node]) -> list[str]:
        scans.append(1)
        paths = []
        for node in nodes:
            paths.append(node.path)
            if node.path == "/" and len(scans) == 1:
                shutil.rmtree(nano / "gpu@57000000")
        return paths

    assert "/gpu@57000000" not in scan(LiveTree(nano), decide)
    assert len(scans) == 2


def test_a_property_that_vanishes_starts_the_scan_again(nano: Path) -> None:
    def decide(nodes: Iterable[Node]) -> bytes | None:
        root = next(iter(nodes))
        (nano / "model").unlink(missing_ok=True)
        return root.get("model")

    assert scan(LiveTree(nano), decide) is None


def test_a_tree_that_never_holds_still_is_an_error(nano: Path) -> None:
    def decide(nodes: Iterable[Node]) -> None:
        root = next(iter(nodes))
        (nano / "flicker").write_bytes(b"")
        root = next(iter(LiveTree(nano)))
        (nano / "flicker").unlink()
        root.get("flicker")

    with pytest.raises(TreeError, match="gone in mid-scan, 5 times in a row"):
        scan(LiveTree(nano), decide)


def test_a_tree_that_goes_away_whole_is_no_tree(nano: Path) -> None:
    shutil.rmtree(nano)
    with pytest.raises(TreeError):
        scan(LiveTree(nano), list)


def test_a_property_without_end_is_refused(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devicetree, "PROPERTY_MAX", 100)
    (nano / "endless").write_bytes(b"x" * 101)
    root = next(iter(LiveTree(nano)))
    with pytest.raises(TreeError, match="/endless: larger than 100 bytes"):
        root.get("endless")


def test_a_deep_tree_is_walked_without_recursion(tmp_path: Path) -> None:
    tree: Tree = {"status": strings("okay")}
    for _ in range(400):
        tree = {"n": tree}
    (tmp_path / "deep.dtb").write_bytes(dtb(tree))
    *_, last = Blob(tmp_path / "deep.dtb")
    assert last.path == "/n" * 400
    assert last.available()


READ_ALL = """
import os, sys
def walk(path):
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.is_dir(): walk(entry.path)
        else:
            with open(entry.path, "rb") as file: file.read()
walk(sys.argv[1])
"""
SCAN = """
import sys
from pathlib import Path
from dtagent.tree.devicetree import LiveTree, scan
from dtagent.tree.labels import decide
from dtagent.config.settings import DevicetreeTable, Settings
settings = Settings(devicetree=DevicetreeTable(nodes=("/", "gpu", "pwm-fan")))
if len(sys.argv) > 1: scan(LiveTree(Path(sys.argv[1])), lambda nodes: decide(nodes, settings))
"""


def system_calls(program: str, *arguments: str | Path) -> int:
    """How many system calls `program` makes, by strace's own count."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    run = subprocess.run(
        ["strace", "-f", "-qq", "-c", "-U", "calls,name", *command],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    return int(run.stderr.split()[-2])


@pytest.mark.skipif(not shutil.which("strace"), reason="strace, which counts, is not installed")
def test_a_scan_makes_a_fifth_of_the_system_calls_of_reading_everything(tmp_path: Path) -> None:
    tree = tmp_path / "base"
    write_tree(tree860(), tree)
    reading = system_calls(READ_ALL, tree) - system_calls("import os, sys")
    scanning = system_calls(SCAN, tree) - system_calls(SCAN)
    assert 860 < scanning < reading / 5


@pytest.mark.skipif(not shutil.which("strace"), reason="strace, which counts, is not installed")
def test_a_scan_for_the_root_alone_opens_one_folder_and_one_file(nano: Path) -> None:
    run = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=openat", "-e", "signal=none", sys.executable]
        + ["-c", SCAN.replace('"gpu", "pwm-fan"', ""), str(nano)],
        stderr=subprocess.PIPE, text=True, check=True, timeout=300,
    )  # fmt: skip
    opened = [line.split('"')[1] for line in run.stderr.splitlines() if str(nano) in line]
    assert opened == [str(nano), f"{nano}/compatible"]
