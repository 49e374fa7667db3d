"""The reference configuration says what the code does: it is read by people and by nobody else."""

from __future__ import annotations

import re
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from dtagent.config import sources
from dtagent.config.settings import Rule, Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGING = Path(__file__).parent.parent / "packaging"
REFERENCE = PACKAGING / "dtagent.toml.reference"


@pytest.fixture
def with_rules(tmp_path: Path) -> Path:
    """The reference with its example of a rule in force."""
    text = REFERENCE.read_text()
    before, rules = text.split("#[[rules]]")
    path = tmp_path / "dtagent.toml"
    path.write_text(before + re.sub("(?m)^#", "", "#[[rules]]" + rules))
    return path


def keys(table: object) -> set[str]:
    return {
        key
        for name, value in vars(table).items()
        for key in ((f"{name}.{each}" for each in keys(value)) if is_dataclass(value) else [name])
    }


def test_the_reference_configuration_changes_nothing() -> None:
    assert sources.load(REFERENCE) == Settings()


def test_the_reference_configuration_has_every_key(with_rules: Path) -> None:
    written = tomllib.loads(with_rules.read_text())
    for key in keys(Settings()):
        table = written
        for part in key.split("."):
            assert part in table, f"{key} is not in the reference configuration"
            table = table[part]
    # A constant stands in place of what reads a property: it is shown as a comment.
    assert {*written["rules"][0], "value"} == keys(Rule("a"))
    assert "\n# value = " in with_rules.read_text()


def test_the_reference_configurations_rule_is_one(with_rules: Path) -> None:
    (rule,) = sources.load(with_rules).rules
    assert rule == Rule(label="devicetree.org/model", node="/", property="model", index=0)


def test_the_man_page_of_the_configuration_has_every_key() -> None:
    page = (PACKAGING / "man/dtagent.toml.5").read_text()
    for key in {*keys(Settings()), *keys(Rule("a"))}:
        assert re.search(rf"\b{key.rpartition('.')[2]}\b", page), f"{key} is not in dtagent.toml(5)"


def test_the_examples_rights_are_those_that_the_features_file_needs() -> None:
    (folder,) = re.findall(
        r"(?m)^ConfigurationDirectory=(.+)$", (PACKAGING / "nfd.conf").read_text()
    )
    assert Settings().nfd.features_file.parent == Path("/etc", folder)
