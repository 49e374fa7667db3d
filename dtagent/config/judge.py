"""Judges the configuration, as a process of its own: `sources.py` starts it, and takes its answer.

pydantic validates, and pydantic-settings reads the environment, if that sets anything: importing it
is half of what the process takes, and the agent's start waits for it. The files are merged here,
since the merging of pydantic-settings drops keys on 2.8.1, the version that Debian 13 has.
"""

from __future__ import annotations

import difflib
import os
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError, create_model

from dtagent.config import sources
from dtagent.config.settings import Rule, Settings
from dtagent.errors import ConfigError
from dtagent.names import one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Keys = Sequence[int | str]
_EXPECTED = {"tuple_type": "expected a list", "dict_type": "expected a table",
             "dataclass_type": "expected a table"}  # fmt: skip
ENVIRONMENT = "environment"


def main() -> None:
    """Judge the files of the command line: pickled settings, or a message and exit status 2."""
    try:
        settings = judge([Path(name) for name in sys.argv[1:]])
    except ConfigError as error:
        sys.stdout.buffer.write(str(error).encode(errors="backslashreplace"))
        sys.exit(2)
    pickle.dump(settings, sys.stdout.buffer)


def judge(files: Sequence[Path]) -> Settings:
    """What `files` and the environment set; ConfigError has a line for each mistake of each."""
    kind = TypeAdapter(Settings)
    merged: dict[str, Any] = {}
    problems: list[str] = []
    try:
        for place, table in [*((str(path), _parse(path)) for path in files), _environment()]:
            try:
                kind.validate_python(table)
            except ValidationError as error:
                problems += _explain(error, place)
            if place is ENVIRONMENT and "rules" in table:
                merged.pop("rules", None)  # a list there replaces that of the files
            merged = merge(merged, table)
        if problems:
            raise ConfigError("\n".join(problems))
        return kind.validate_python(merged)
    except RecursionError as error:
        raise ConfigError("configuration: nested too deeply") from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(sources.read(path))
    except ValueError as error:  # TOMLDecodeError, and what int() says of thousands of digits
        raise ConfigError(one_line(f"{path}: {error}")) from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one file over another: tables key by key, `[[rules]]` appended, the rest replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge(below, value)
        elif key == "rules" and isinstance(below, list) and isinstance(value, list):
            merged[key] = below + value
        else:
            merged[key] = value
    return merged


def _environment() -> tuple[str, dict[str, Any]]:
    """What the variables set, lists and tables read as JSON."""
    if not sources.variables():
        return ENVIRONMENT, {}
    import pydantic.dataclasses
    from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

    kinds = get_type_hints(Settings, include_extras=True)
    keys: dict[str, Any] = {}
    for key in _known([]):  # pydantic-settings looks into pydantic's own kinds only
        kind = kinds[key]
        if is_dataclass(kind):
            kind = pydantic.dataclasses.dataclass(kind, frozen=True)  # type: ignore[arg-type]
        keys[key] = (kind, ...)
    model = create_model("Variables", __base__=BaseSettings, **keys)
    # It passes over variables of no known table, too; here they are keys that nobody knows.
    table = {_keys(name)[0]: os.environ[name] for name in sources.variables()}
    try:
        source = EnvSettingsSource(model, env_prefix=sources.PREFIX, env_nested_delimiter="__")
        return ENVIRONMENT, {**table, **source()}
    except SettingsError as error:
        raise ConfigError(f"{ENVIRONMENT}: {error}; lists and tables are JSON there") from error


def _keys(variable: str) -> list[str]:
    return variable[len(sources.PREFIX) :].lower().split("__")


def _place(place: str, keys: Keys) -> str:
    """The file; of the environment, the variable whose keys and `keys` begin alike."""
    if place is ENVIRONMENT:
        for name in sources.variables():
            if all(one == str(other) for one, other in zip(_keys(name), keys, strict=False)):
                return f"{ENVIRONMENT} variable {name}"
    return place


def _explain(error: ValidationError, place: str) -> Iterator[str]:
    """One line an error: place, key, what was expected, the nearest known key."""
    for problem in error.errors():
        keys, what = problem["loc"], problem["type"]
        if what == "unexpected_keyword_argument":
            known = _known(keys[:-1])
            near = difflib.get_close_matches(str(keys[-1]), known, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(known)}"
            what = f"unknown key; {hint}"
        elif what == "missing":
            what = "required, and missing"
        elif what == "value_error":
            what = str(problem["ctx"]["error"])
        else:
            expected = problem["msg"].replace("Input should be", "expected")
            what = f"{_EXPECTED.get(what, expected)}, not {_shown(problem['input'])}"
        name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
        yield one_line(f"{_place(place, keys)}: {name.lstrip('.')}: {what}")


def _shown(value: object) -> str:
    try:
        return ascii(value)[:80]
    except (RecursionError, ValueError):
        return "what is there"  # nested without end, or a number of thousands of digits


def _known(keys: Keys) -> list[str]:
    table: Any = Settings
    for key in keys:
        if isinstance(key, str):
            table = Rule if key == "rules" else get_type_hints(table)[key]
    return sorted(field.name for field in fields(table))
