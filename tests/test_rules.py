"""Rules as dtagent.toml(5) shows them, on a real board, and what they say of wrong ones."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.tree import Tree, cells, strings
from dtagent.config.settings import DevicetreeTable, Rule, Settings
from dtagent.config.sources import load
from dtagent.errors import ConfigError
from dtagent.tree.labels import Labels, decide
from tests.corpus import CorpusUnavailable, corpus
from tests.dtb import read
from tests.memory import nodes
from tests.test_labels import assert_valid

PAGE = Path(__file__).parents[1] / "packaging/man/dtagent.toml.5"
KEY = "e.org/x"


def decided(tree: Tree, **keys: object) -> Labels:
    """What one rule about the property `x` makes of a tree; `keys` are its other keys."""
    rule = Rule(**{"label": KEY, "property": "x", **keys})  # type: ignore[arg-type]
    return decide(nodes(tree), Settings(rules=(rule,)))


def examples(*having: str) -> str:
    """The page's examples of rules that have all of these texts."""
    blocks = re.findall(r"(?s)\.Bd -literal.*?\n(.*?)\.Ed", PAGE.read_text())
    rules = (text.replace("\\-", "-") for text in blocks if text.startswith("[[rules]]"))
    return "".join(text for text in rules if all(each in text for each in having))


def test_the_man_pages_rules_run_on_a_real_pi(tmp_path: Path) -> None:
    try:
        blob = next(board for board in corpus() if board.name == "bcm2711-rpi-4-b.dtb")
    except CorpusUnavailable as unavailable:
        pytest.skip(f"no boards of Debian's: {unavailable}")
    (tmp_path / "rules.toml").write_text(examples())
    tree: Tree = read(blob.read_bytes())
    # Debian's file holds none of these: they stand for what a Pi's firmware adds at boot.
    tree["serial-number"] = strings("10000000abcdef01")
    tree["system"] = {"linux,revision": cells(0xC03114)}
    tree["hat"] = {"vendor": strings("Acme"), "product": strings("Sense")}
    memory = tree["memory@0"]
    assert isinstance(memory, dict)
    memory["reg"] = cells(0, 0, 0x3B400000)
    found = dict(decide(nodes(tree), load(tmp_path / "rules.toml")).labels)
    buses = found.pop("example.org/i2c-buses")
    assert int(buses) > 0
    prefix = "devicetree.org/"
    assert {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)} == {
        "model": "Raspberry-Pi-4-Model-B", "serial-number": "10000000abcdef01",
        "revision": "c03114", "hat-vendor": "Acme", "hat-product": "Sense",
        "memory": str(0x3B400000), "pcie": "true",
    }  # fmt: skip


@pytest.mark.parametrize("which", [["u64"], []])
def test_the_man_pages_memory_is_right_with_two_size_cells(
    tmp_path: Path, which: list[str]
) -> None:
    """By its own example, and with all of the page's in one file."""
    (tmp_path / "rules.toml").write_text(examples(*which))
    address, size = (0, 0x80000000), (1, 0x80000000)
    tree: Tree = {"memory@80000000": {"reg": cells(*address, *size)}}
    found = decide(nodes(tree), load(tmp_path / "rules.toml"))
    assert found.labels == {"devicetree.org/memory": str(6 << 30)}


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ({"type": "u32"}, "4294967295"),
        ({"type": "u32-hex"}, "ffffffff"),
        ({"type": "u64"}, "18446744073709551614"),
        ({"type": "u64-hex"}, "fffffffffffffffe"),
    ],
)
def test_a_number_is_unsigned_and_big_endian(keys: dict[str, str], value: str) -> None:
    raw = b"\xff" * 4 if "32" in keys["type"] else b"\xff" * 7 + b"\xfe"
    assert decided({"x": raw}, **keys) == Labels({KEY: value})
    assert decided({"x": bytes(8) + raw}, **keys, index=8 // (len(raw))) == Labels({KEY: value})


@pytest.mark.parametrize(
    ("raw", "keys", "what"),
    [
        (b"abc", {"type": "u32"}, "3 bytes, not just one u32"),
        (cells(1), {"type": "u64"}, "4 bytes, not just one u64"),
        (cells(1, 2), {"type": "u32"}, "8 bytes, not just one u32"),
        (b"", {"type": "u64-hex"}, "0 bytes, not just one u64-hex"),
        (cells(1, 2), {"type": "u32", "index": 2}, "8 bytes, at index 2 there is no u32"),
        (cells(1, 2, 3), {"type": "u64", "index": 0}, "12 bytes, at index 0 there is no u64"),
        (b"abcdef", {"type": "u32-hex", "index": 0}, "6 bytes, at index 0 there is no u32-hex"),
        (strings("a", "b"), {"index": 2}, "4 bytes, at index 2 there is no text"),
        (cells(1), {"index": 0}, "4 bytes, at index 0 there is no text"),
    ],
)
def test_a_value_of_another_length_and_an_element_that_is_not_there_are_a_note_and_no_label(
    raw: bytes, keys: dict[str, object], what: str
) -> None:
    assert decided({"x": raw}, **keys) == Labels({}, (f"{KEY}: dropped, x has {what}",))


def test_a_long_string_of_several_is_cut_and_ends_in_a_hash_of_itself() -> None:
    one, other = ("x" * 70 + end for end in "ab")
    for index, text in enumerate((one, other)):
        found = decided({"x": strings(one, other)}, index=index)
        value = f"{'x' * 54}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        assert found == Labels({KEY: value}, (f"{KEY}: {value} stands for {text!r}",))


def test_an_empty_value_is_a_label() -> None:
    assert decided({}, property=None, value="") == Labels({KEY: ""})


def test_a_constant_is_there_with_its_property_and_not_without() -> None:
    assert decided({"x": b""}, value="yes") == Labels({KEY: "yes"})
    assert decided({"y": b""}, value="yes") == Labels({})


def test_a_disabled_node_is_not_there_for_a_rule() -> None:
    off: Tree = {"x": cells(1), "status": strings("disabled")}
    for keys in ({"type": "u32"}, {"value": "yes"}, {"property": None}):
        assert decided({"a@0": off}, node="a", **keys) == Labels({})
    tree: Tree = {"a@0": off, "a@1": {"x": cells(2)}}
    assert decided(tree, node="a", type="u32") == Labels({KEY: "2"})
    assert decided(tree, node="a", property=None) == Labels({KEY: "1"})


@given(
    st.binary(max_size=90)
    | st.lists(st.text(max_size=70)).map(lambda texts: strings(*texts))
    | st.lists(st.binary(max_size=9)).map(lambda parts: b"".join(part + b"\0" for part in parts)),
    st.builds(
        Rule,
        label=st.just(KEY),
        property=st.just("x"),
        type=...,
        index=st.none() | st.integers(0, 12) | st.integers(0),
    ),
)
def test_any_bytes_by_any_rule_are_a_label_that_kubernetes_takes_or_a_note_why_there_is_none(
    raw: bytes, rule: Rule
) -> None:
    found = decide(nodes({"x": raw}), Settings(rules=(rule,)))
    assert_valid(found)
    dropped = [note for note in found.notes if note.startswith(f"{KEY}: dropped, ")]
    assert len(found.labels) + len(dropped) == 1


@pytest.mark.parametrize(
    "keys", ["index = 0", "value = 'a'\nindex = 0\nproperty = 'x'", "property = 'x'\nindex = -1"]
)
def test_keys_that_make_no_sense_together_are_refused(tmp_path: Path, keys: str) -> None:
    (tmp_path / "t").write_text(f"[[rules]]\nlabel = 'e.org/x'\n{keys}\n")
    with pytest.raises(ConfigError, match=r"rules\[0\]: .*index"):
        load(tmp_path / "t")


@pytest.mark.parametrize(
    ("selector", "near"),
    [("gpuu", "gpu"), ("/gpu@5700000", "/gpu@57000000"), ("compatible:acme,gpuu", "acme,gpu")],
)
def test_a_selector_that_chooses_nothing_is_noted_with_what_is_near(
    selector: str, near: str
) -> None:
    settings = Settings(devicetree=DevicetreeTable(nodes=("/", selector, "nothing-like-it")))
    tree = nodes({"gpu@57000000": {"compatible": strings("acme,gpu")}})
    notes = (f"{selector!r} chooses no node", "'nothing-like-it' chooses no node")
    assert decide(tree, settings).notes == notes
    found = decide(tree, settings, near=True)
    assert found.notes == (f"{notes[0]}; near it are {near!r}", notes[1])
