"""The example board, the writers of trees, the bench's tree and the corpus are what they say."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.tree860 import DISABLED, NODES, PROPERTIES, properties, tree860
from demo.jetson_nano import JETSON_NANO
from demo.tree import Tree, add_node, cells, nodes, remove_node, strings, write_tree
from tests.corpus import CorpusUnavailable, corpus
from tests.dtb import dtb, read

NAMES = st.text("abz09,._+-#?", min_size=1, max_size=31).filter(lambda name: name.strip("."))
TREES = st.recursive(
    st.dictionaries(NAMES, st.binary(max_size=40), max_size=6),
    lambda child: st.dictionaries(NAMES, st.binary(max_size=40) | child, max_size=6),
)


def folder(directory: Path) -> Tree:
    """What is under a folder: the dict it was written from, and a `name` in each node."""
    return {
        entry.name: folder(entry) if entry.is_dir() else entry.read_bytes()
        for entry in directory.iterdir()
    }


def named(tree: Tree, name: str = "") -> Tree:
    """The tree with the `name` that the kernel gives each node."""
    own: Tree = {"name": strings(name.partition("@")[0])}
    return own | {
        key: named(value, key) if isinstance(value, dict) else value for key, value in tree.items()
    }


def unavailable(node: Tree) -> bool:
    return node.get("status", strings("okay")) not in (strings("okay"), strings("ok"))


def test_the_board_has_one_gpu_and_one_fan_in_use() -> None:
    paths = dict(nodes(JETSON_NANO))
    assert 40 <= len(paths) <= 60
    selected = [path for path in paths if re.search(r"/(|(gpu|pwm-fan)\d*(@.*)?)$", path)]
    assert selected == ["/", "/gpu@57000000", "/pwm-fan"]
    assert not any(unavailable(paths[path]) for path in selected)
    values = [paths[path]["compatible"] for path in selected]
    compatibles = b"".join(value for value in values if isinstance(value, bytes))
    assert Counter(compatibles.decode().split("\0")[:-1]) == {
        "nvidia,jetson-nano": 1,
        "nvidia,tegra210": 1,
        "nvidia,tegra210-gm20b": 1,
        "nvidia,gm20b": 1,
        "pwm-fan": 1,
    }


def test_the_board_points_only_at_nodes_it_has() -> None:
    paths = dict(nodes(JETSON_NANO))
    for table in ("/aliases", "/__symbols__"):
        for target in paths[table].values():
            assert isinstance(target, bytes)
            assert target.decode().rstrip("\0") in paths
    phandles = Counter(node["phandle"] for node in paths.values() if "phandle" in node)
    assert set(phandles.values()) == {1}


@pytest.mark.parametrize("tree", [JETSON_NANO, tree860()], ids=["board", "tree860"])
def test_a_blob_and_a_folder_hold_the_tree(tree: Tree, tmp_path: Path) -> None:
    write_tree(tree, tmp_path / "base")
    assert read(dtb(tree)) == tree
    assert folder(tmp_path / "base") == named(tree)


@given(TREES)
def test_any_tree_survives_a_blob(tree: Tree) -> None:
    assert read(dtb(tree)) == tree


def test_a_blob_grows_past_any_buffer() -> None:
    tree: Tree = {"firmware": bytes(300_000), "child": {"empty": b""}}
    assert read(dtb(tree)) == tree


def test_security_properties_are_for_their_owner(tmp_path: Path) -> None:
    write_tree(JETSON_NANO, tmp_path / "base")
    key = tmp_path / "base/firmware/security-key"
    assert key.stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("mounted", [False, True], ids=["beside", "mount point"])
def test_a_node_comes_and_goes(
    mounted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def across_file_systems(source: Path, target: Path) -> Path:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source), None, str(target))

    if mounted:
        monkeypatch.setattr(Path, "rename", across_file_systems)
    base = tmp_path / "base"
    fpga: Tree = {"compatible": strings("example,fpga"), "port": {"reg": cells(0)}}
    write_tree(JETSON_NANO, base)
    before = folder(base)
    add_node(base, "/leds/fpga@0", fpga)
    assert folder(base / "leds/fpga@0") == named(fpga, "fpga@0")
    with pytest.raises(OSError, match=r"not empty|exists"):
        add_node(base, "/leds/fpga@0", fpga)
    remove_node(base, "/leds/fpga@0")
    assert folder(base) == before
    assert list(tmp_path.iterdir()) == [base]
    with pytest.raises(FileNotFoundError):
        remove_node(base, "/leds/fpga@0")
    with pytest.raises(ValueError, match="root"):
        remove_node(base, "/")


def test_the_bench_tree_has_the_measured_size(tmp_path: Path) -> None:
    tree = tree860()
    paths = dict(nodes(tree))
    assert (len(paths), properties(tree)) == (NODES, PROPERTIES)
    assert max(path.count("/") for path in paths) == 6
    assert sum(node.get("status") == strings("disabled") for node in paths.values()) == DISABLED
    write_tree(tree, tmp_path / "base")
    assert sum(len(files) for _, _, files in os.walk(tmp_path / "base")) == PROPERTIES


def test_the_corpus_has_a_thousand_boards() -> None:
    try:
        boards = corpus()
    except CorpusUnavailable as reason:
        pytest.skip(str(reason))
    assert len(boards) > 1000
    assert len({board.read_bytes() for board in boards}) == len(boards)
    assert all("compatible" in read(board.read_bytes()) for board in boards)


def test_without_apt_the_corpus_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusUnavailable, match="no apt-get here"):
        corpus()


def test_a_corpus_that_could_not_be_fetched_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        (tools / tool).write_text("#!/bin/sh\necho 'E: no such mirror' >&2\n")
        (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(CorpusUnavailable, match=r"linux-image-arm64:arm64 .* no such mirror"):
        corpus()
    assert [path.name for path in (tmp_path / "cache/dtagent").iterdir()] == ["corpus.lock"]
