"""Names and values of any length and of any characters: short notes, and no line of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demo.tree import strings, write_tree
from dtagent import cli
from dtagent.config.settings import Rule
from dtagent.names import LINE_MAX
from dtagent.tree.devicetree import Blob, LiveTree
from dtagent.tree.labels import MAX_LABELS, NAMED_MAX, NOTES_MAX
from tests.hostile import an_end as an_end  # a fixture for every test here
from tests.hostile import labels, refusal, root

P = "beta.devicetree.org/"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A small tree in good order, for a test to spoil."""
    base = tmp_path / "base"
    write_tree({"compatible": strings("acme,board"), "gpu@1": root("acme,gpu")}, base)
    return base


@pytest.mark.parametrize("character", ["-", "x", ",", "\x1b", "\xff", "\n"])
def test_a_compatible_of_a_mebibyte_is_one_label_and_one_short_note(
    base: Path, character: str
) -> None:
    long = character * ((1 << 20) // len(character.encode()))
    (base / "gpu@1" / "compatible").write_bytes(strings(f"a{long}z"))
    found = labels(LiveTree(base), "gpu", "compatible:*a*a*z")
    assert len(found.labels) == 2
    assert len(found.notes) <= 2  # besides, the glob may choose nothing
    for note in found.notes:
        assert note.isascii()
        assert note.isprintable()
        assert len(note) < 2 * LINE_MAX


def test_a_mebibyte_of_compatibles_fills_the_labels_and_not_the_journal(base: Path) -> None:
    many = strings(*(f"{n:x}+" for n in range(150_000)))
    (base / "compatible").write_bytes(many + strings("9,last"))
    found = labels(LiveTree(base))
    assert len(found.labels) == MAX_LABELS
    assert len(found.notes) == NOTES_MAX + 1
    assert max(map(len, found.notes)) < 2 * LINE_MAX


def test_more_compatibles_than_any_tree_has_are_refused(base: Path) -> None:
    (base / "compatible").write_bytes(strings(*map(str, range(270_000))))
    assert "no devicetree is so large" in refusal(lambda: LiveTree(base))


def test_what_is_dropped_is_said_first_and_in_short(base: Path) -> None:
    (base / "compatible").write_bytes(strings(*(f"acme,x{n:05}+" for n in range(5000))))
    first, *_ = labels(LiveTree(base)).notes
    assert first.startswith(f"dropped, more than {MAX_LABELS} labels: {P}acme-x00256, ")
    assert first.endswith(f" and {5000 - MAX_LABELS - NAMED_MAX} more")


def test_a_mebibyte_in_a_rules_property_is_one_value_and_one_short_note(base: Path) -> None:
    (base / "model").write_bytes(b"\1" * (1 << 20))
    found = labels(LiveTree(base), rules=(Rule(label="e.org/model", property="model"),))
    assert len(found.labels["e.org/model"]) == 63
    assert max(map(len, found.notes)) < LINE_MAX


FORGED = "\n<3>dtagent: all is lost\x1b[2J\r\u2028\x9b"


def test_no_name_and_no_value_begins_a_line_of_its_own(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(root(f"acme,{FORGED}"), base / f"gpu@{FORGED}")
    assert cli.main(["scan", "--root", str(base), "-n", "gpu"]) == 0
    out, err = capsys.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        f"{P}acme---3-dtagent--all-is-lost--2J", f"{P}acme-board", f"{P}acme-gpu"
    ]  # fmt: skip
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["dtagent"]


def test_no_error_begins_a_line_of_its_own(base: Path) -> None:
    node = base / f"gpu@{FORGED}"
    write_tree(root("acme,gpu"), node)
    (node / "compatible").write_bytes(b"")
    os.truncate(node / "compatible", 1 << 40)
    assert "larger than" in refusal(lambda: LiveTree(base), "gpu")
    assert "no devicetree at" in refusal(lambda: LiveTree(base / f"gone{FORGED}"))
    assert "not a whole DTB" in refusal(lambda: Blob(node / "name"))
