"""The reference configuration says what the code does: it is read by people and by nobody else."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from dtagent import cli
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
    for key in {*keys(Settings()), *keys(Rule("a"))} - {"rules"}:
        name = key.rpartition(".")[2]
        assert re.search(rf"(?m)^\.It Sy {name}\b", page), f"{key} has no entry in dtagent.toml(5)"


def test_the_examples_rights_are_those_that_the_features_file_needs() -> None:
    (folder,) = re.findall(
        r"(?m)^ConfigurationDirectory=(.+)$", (PACKAGING / "nfd.conf").read_text()
    )
    assert Settings().nfd.features_file.parent == Path("/etc", folder)


def options() -> dict[str, set[str]]:
    """The options of each command, but for --help."""
    (commands,) = (
        action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return {
        name: {each for action in command._actions for each in action.option_strings}
        - {"-h", "--help"}
        for name, command in commands.choices.items()
    }


def plain(page: str) -> str:
    """A page of mdoc(7) as it reads, with its options and variables as they are typed."""
    text = (PACKAGING / "man" / page).read_text()
    text = re.sub(r"Fl Fl ([a-z][a-z-]*)", r"--\1", text.replace("\\-", "-"))
    return re.sub(r"Fl ([a-z])\b", r"-\1", text)


def test_the_man_page_has_every_command_and_each_of_its_options() -> None:
    page = plain("dtagent.8")
    commands = re.split(r"(?m)^\.Sh ", page)
    (described,) = (section for section in commands if section.startswith("COMMANDS"))
    for command, flags in options().items():
        assert re.search(rf"(?m)^\.It Cm {command}\b", described), f"{command} is not in dtagent(8)"
        for flag in flags:
            assert re.search(rf"(?<![\w-]){flag}\b", page), f"{command} {flag} is not in dtagent(8)"


def test_the_man_page_has_every_variable_of_the_environment_that_the_code_reads() -> None:
    code = "".join(path.read_text() for path in Path(cli.__file__).parent.rglob("*.py"))
    read = re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", code)
    assert {"KUBECONFIG", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET"} <= set(read)
    (section,) = re.findall(r"(?s)\.Sh ENVIRONMENT\n(.+?)\n\.Sh", plain("dtagent.8"))
    for name in (*read, "HTTPS_PROXY", "NO_PROXY"):
        assert name.removeprefix("DTAGENT_") in section, f"{name} is not in dtagent(8), ENVIRONMENT"
