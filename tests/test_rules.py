"""Rules as dtagent.toml(5) shows them, on a real board, and what they say of wrong ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from demo.tree import Tree, cells, strings
from dtagent.config.settings import DevicetreeTable, Rule, Settings
from dtagent.config.sources import load
from dtagent.errors import ConfigError
from dtagent.tree.labels import decide
from tests.corpus import CorpusUnavailable, corpus
from tests.dtb import read
from tests.memory import nodes

PAGE = Path(__file__).parents[1] / "packaging/man/dtagent.toml.5"


def test_the_man_pages_rules_run_on_a_real_pi(tmp_path: Path) -> None:
    try:
        blob = next(board for board in corpus() if board.name == "bcm2711-rpi-4-b.dtb")
    except CorpusUnavailable as unavailable:
        pytest.skip(f"no boards of Debian's: {unavailable}")
    examples = re.findall(r"(?s)\.Bd -literal.*?\n(.*?)\.Ed", PAGE.read_text())
    rules = "".join(text for text in examples if text.startswith("[[rules]]"))
    (tmp_path / "rules.toml").write_text(rules.replace("\\-", "-"))
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


def test_a_value_of_the_wrong_length_is_a_note_and_no_label() -> None:
    rule = Rule(label="e.org/x", property="x", type="u32")
    found = decide(nodes({"x": b"abc"}), Settings(rules=(rule,)))
    assert found.labels == {}
    assert found.notes == ("e.org/x: dropped, x has 3 bytes, not just one u32",)


@pytest.mark.parametrize(
    "keys", ["index = 0", "value = 'a'\nindex = 0\nproperty = 'x'", "property = 'x'\nindex = -1"]
)
def test_keys_that_make_no_sense_together_are_refused(tmp_path: Path, keys: str) -> None:
    (tmp_path / "t").write_text(f"[[rules]]\nlabel = 'e.org/x'\n{keys}\n")
    with pytest.raises(ConfigError, match=r"rules\[0\]: .*index"):
        load(tmp_path / "t")


def test_a_selector_that_chooses_nothing_is_noted_with_what_is_near() -> None:
    settings = Settings(devicetree=DevicetreeTable(nodes=("/", "gpuu")))
    tree = [*nodes({"gpu@57000000": {"x": b""}})]
    found = decide(tree, settings, near=True)
    assert found.notes == ("'gpuu' chooses no node; near it are 'gpu'",)
    assert decide(tree, settings).notes == ("'gpuu' chooses no node",)
