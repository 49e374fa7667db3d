"""Any settings and any tree: no failure without a name of ours.

tests/fuzz looks further, guided by coverage.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

from hypothesis import example, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from dtagent.config import judge
from dtagent.config.settings import DevicetreeTable, Rule, Settings, as_toml
from dtagent.errors import ConfigError, TreeError
from dtagent.names import Selector
from dtagent.tree.devicetree import Blob, LiveTree, scan
from dtagent.tree.labels import decide
from tests.fuzz.inputs import NANO, TOML, json_values, spliced, spoil, structures
from tests.hostile import an_end as an_end  # a fixture for every test here

texts = st.text(max_size=40)


def one_line_each(message: str) -> None:
    assert all(line.isprintable() for line in message.split("\n")), message


def load(content: bytes) -> Settings | None:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "dtagent.toml"
        file.write_bytes(content)
        try:
            return judge.judge([file])
        except ConfigError as error:
            one_line_each(str(error))
            return None


@given(spliced(TOML.encode()) | st.binary(max_size=60))
@example(b"a = " + b"9" * 5000)  # int() refuses more than 4300 digits
@example(b"labels.prefix." + b"a." * 3000 + b"a = 1")  # no repr() goes so deep
@example(b"labels.prefix = 0x" + b"f" * 20_000)
@example(b'"a\\ndtagent: forged" = 1')
@example(b'devicetree.root = "\\u0000"')
def test_any_toml_is_settings_or_a_configuration_error(content: bytes) -> None:
    loaded = load(content)
    if loaded is not None:
        again = load(as_toml(loaded).encode())
        assert again is not None
        assert again == loaded


def toml(value: object) -> str:
    """A value as TOML; JSON's strings, numbers and lists are, all but DEL."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps("" if value is None else value, ensure_ascii=False).replace("\x7f", "\\u007f")


SETTINGS = {
    "publish": "nfd",
    "resync_interval": "1h30m",
    "node": {"name": "n", "kubeconfig": "/k"},
    "devicetree": {"root": "/r", "nodes": ["/", "gpu", "compatible:a*"], "include_disabled": True},
    "labels": {"prefix": "e.org/", "vendor_aliases": {"a": "b"}},
    "overlays": {"path": "/o", "labels": False},
    "rules": [{"label": "e.org/x", "node": "/a*b*c", "property": "model"}],
}


@given(spoil(SETTINGS))
@profile(max_examples=50)
def test_any_value_at_any_key_is_settings_or_a_configuration_error(value: object) -> None:
    table = value if isinstance(value, dict) else {"labels": value}
    lines = [f"{toml(str(key))} = {toml(part)}\n" for key, part in table.items()]
    load("".join(lines).encode("utf-8", "replace"))


NAMES = ["NODE", "name", "LABELS", "VENDOR_ALIASES", "RULES", "PUBLISH", ""]
plain = st.characters(exclude_characters="\0=", exclude_categories=["Cs"])


@given(
    st.dictionaries(
        st.lists(st.sampled_from(NAMES) | st.text(plain, max_size=4), max_size=4).map("__".join),
        json_values.map(json.dumps) | st.text(plain, max_size=9) | st.just("\udcff"),
        max_size=3,
    )
)
@example({"RULES": "[" * 100_000})
@example({"LABELS__VENDOR_ALIASES": '{"a": "\\ud800"}'})
def test_any_environment_is_settings_or_a_configuration_error(environment: dict[str, str]) -> None:
    variables = {f"DTAGENT_{name}": value for name, value in environment.items()}
    with mock.patch.dict(os.environ, variables):
        loaded = load(b"")
    if loaded is not None:
        as_toml(loaded).encode()


@given(texts | st.text("/*ab@", max_size=40) | st.text("[!a-z]*?", max_size=20), texts)
@example("compatible:[z-a]", "z")
def test_any_text_is_a_selector_or_told_to_be_none(text: str, other: str) -> None:
    for selector in (text, f"compatible:{text}"):
        try:
            pattern = Selector.parse(selector).pattern
        except ValueError as error:
            assert str(error).isprintable()
        else:
            pattern.match(other)


@given(st.text("/*ab.", min_size=1, max_size=8), st.text("/ab.", max_size=10))
def test_a_path_with_stars_chooses_what_its_plain_reading_chooses(path: str, other: str) -> None:
    try:
        pattern = Selector.parse(f"/{path}").pattern
    except ValueError:
        return
    plain = re.escape(f"/{path}").replace(r"\*", "[^/]*")
    assert bool(pattern.match(f"/{other}")) == bool(re.fullmatch(plain, f"/{other}"))


def test_a_path_of_many_stars_does_not_try_every_split_of_a_name() -> None:
    # 127 stars in 254 letters: each split tried would outlast the universe.
    pattern = Selector.parse("/" + "*a" * 127 + "*b").pattern
    assert not pattern.match("/" + "a" * 254)
    assert pattern.match("/" + "a" * 254 + "b")


EVERYTHING = Settings(
    devicetree=DevicetreeTable(nodes=("/", "gpu", "compatible:*", "/*/*")),
    rules=(Rule(label="e.org/model", node="compatible:*", property="model"),),
)


def scanned(tree: Callable[[], LiveTree]) -> None:
    try:
        found = scan(tree(), partial(decide, settings=EVERYTHING))
    except TreeError as error:
        assert str(error).isprintable()
    else:
        assert all(note.isascii() and note.isprintable() for note in found.notes)


file_names = st.one_of(
    st.sampled_from(
        [b"compatible", b"status", b"model", b"device_type", b"cpus", b"cpu@0", b"gpu"]
    ),
    st.binary(min_size=1, max_size=20).filter(
        lambda name: name not in (b".", b"..") and not {0, ord("/")} & set(name)
    ),
)
folders = st.recursive(
    st.binary(max_size=40) | st.sampled_from(["pipe", "link"]),
    lambda inner: st.dictionaries(file_names, inner, max_size=5),
    max_leaves=20,
)


def build(place: Path, entry: object) -> None:
    if isinstance(entry, dict):
        place.mkdir()
        for name, inner in entry.items():
            build(place / os.fsdecode(name), inner)
    elif isinstance(entry, bytes):
        place.write_bytes(entry)
    elif entry == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("..")


@given(folders)
def test_any_folder_is_labels_or_a_tree_error(folder: object) -> None:
    with tempfile.TemporaryDirectory() as place:
        build(Path(place) / "base", folder)
        scanned(lambda: LiveTree(Path(place) / "base"))


def blobbed(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        scanned(lambda: Blob(Path(file.name)))


@given(spliced(NANO) | st.binary(max_size=60))
def test_any_bytes_are_a_devicetree_or_a_tree_error(content: bytes) -> None:
    blobbed(content)


@given(structures())
@profile(max_examples=300)
def test_any_structure_is_a_devicetree_or_a_tree_error(content: bytes) -> None:
    blobbed(content)
