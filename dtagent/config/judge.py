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

Table = dict[str, Any]
_EXPECTED = {"tuple_type": "expected a list", "dict_type": "expected a table",
             "dataclass_type": "expected a table"}  # fmt: skip


def main() -> None:
    """Judge the files of the command line, and pickle the settings, or the error, for `sources`."""
    answer: Settings | ConfigError
    try:
        answer = judge([Path(name) for name in sys.argv[1:]])
    except ConfigError as error:
        answer = error
    pickle.dump(answer, sys.stdout.buffer)


def judge(files: Sequence[Path]) -> Settings:
    """What `files` and the environment set; ConfigError has a line for each mistake of each."""
    kind = TypeAdapter(Settings)
    merged: Table = {}
    problems: list[str] = []
    try:
        places: list[tuple[Path | str, Table]] = [*map(_file, files), *_environment()]
        for place, table in places:
            try:
                kind.validate_python(table)
            except ValidationError as error:
                problems += _explain(error, place)
            else:
                merged = _merge(merged, table, append=isinstance(place, Path))
        if problems:
            raise ConfigError("\n".join(problems))
        return kind.validate_python(merged)
    except RecursionError as error:
        raise ConfigError("configuration: nested too deeply") from error


def _merge(base: Table, over: Table, append: bool = False) -> Table:
    """Lay a valid table over another: tables key by key, the rest replaced.

    `append` has `[[rules]]` follow those of `base`: a file's do, and a variable's replace them.
    """
    merged = {**base, **over}
    for key, value in over.items():
        if isinstance(value, dict):
            merged[key] = _merge(base.get(key, {}), value)
        elif append and key == "rules":
            merged[key] = [*base.get(key, ()), *value]
    return merged


def _file(path: Path) -> tuple[Path, Table]:
    """The file, and what it sets."""
    try:
        return path, tomllib.loads(sources.read(path))
    except ValueError as error:  # TOMLDecodeError, and what int() says of thousands of digits
        raise ConfigError(one_line(f"{path}: {error}")) from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error


def _environment() -> Iterator[tuple[str, Table]]:
    """Each variable of ours, and what it sets; lists and tables are read as JSON."""
    variables = sorted(sources.variables())
    if not variables:
        return
    import pydantic.dataclasses
    from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

    keys: dict[str, Any] = {}
    for key, kind in _keys([]).items():  # pydantic-settings looks into pydantic's own kinds only
        own = is_dataclass(kind)
        keys[key] = (pydantic.dataclasses.dataclass(kind, frozen=True) if own else kind, ...)
    model = create_model("Variables", __base__=BaseSettings, **keys)
    source = EnvSettingsSource(model, env_prefix=sources.PREFIX, env_nested_delimiter="__")
    for name in variables:
        place = f"environment variable {name}"
        source.env_vars = {name.lower(): os.environ[name]}
        try:
            # Of a table that nobody knows it gives nothing, and that is to be an unknown key.
            unknown = name[len(sources.PREFIX) :].lower().partition("__")[0]
            yield place, source() or {unknown: os.environ[name]}
        except SettingsError as error:
            raise ConfigError(f"{place}: {error}; lists and tables are JSON there") from error


def _explain(error: ValidationError, place: Path | str) -> Iterator[str]:
    """One line an error: place, key, what was expected, the nearest known key."""
    for problem in error.errors():
        keys, what = problem["loc"], problem["type"]
        if what == "unexpected_keyword_argument":
            known = sorted(_keys(keys[:-1]))
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
        yield one_line(f"{place}: {name.lstrip('.')}: {what}")


def _shown(value: object) -> str:
    try:
        return ascii(value)[:80]
    except (RecursionError, ValueError):
        return "what is there"  # nested without end, or a number of thousands of digits


def _keys(place: Sequence[int | str]) -> Mapping[str, Any]:
    """The keys that are known in the table at a place, and their kinds."""
    table: Any = Settings
    for key in place:
        if isinstance(key, str):
            table = Rule if key == "rules" else get_type_hints(table)[key]
    hints = get_type_hints(table, include_extras=True)
    return {field.name: hints[field.name] for field in fields(table)}
