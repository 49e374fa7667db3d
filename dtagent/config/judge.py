"""Judges the configuration, as a process of its own: `sources.py` starts it, and takes its answer.

pydantic validates, and pydantic-settings reads the environment, if that sets anything: importing it
is half of what the process takes, and the agent's start waits for it. The files are merged here,
since the merging of pydantic-settings drops keys on 2.8.1, the version that Debian 13 has.
"""

import difflib
import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError, create_model
from pydantic_core import ErrorDetails

from dtagent.config.settings import LabelsTable, Rule, Settings
from dtagent.config.sources import PREFIX, read, variables
from dtagent.errors import ConfigError
from dtagent.names import one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_EXPECTED = {"tuple_type": "expected a list", "dict_type": "expected a table",
             "dataclass_type": "expected a table"}  # fmt: skip


def main() -> None:
    """Judge the files of the command line, and pickle the settings, or the error, for `sources`."""
    try:
        answer: object = judge([Path(name) for name in sys.argv[1:]])
    except ConfigError as error:
        answer = error
    pickle.dump(answer, sys.stdout.buffer)


def judge(files: Sequence[Path]) -> Settings:
    """What `files` and the environment set; ConfigError has a line for each mistake of each."""
    kind = TypeAdapter(Settings)
    merged: dict[str, Any] = {"labels": asdict(LabelsTable()), "rules": []}  # what is added to
    problems: list[str] = []
    places: list[Path | str] = [*files, *sorted(variables())]
    for place in places:
        said = place if isinstance(place, Path) else f"environment variable {place}"
        try:
            table = tomllib.loads(read(place)) if isinstance(place, Path) else _variable(place)
            kind.validate_python(table)
        except ValidationError as error:
            problems += (f"{said}: {_explained(problem)}" for problem in error.errors())
        except RecursionError:
            problems.append(f"{said}: nested too deeply")
        except ValueError as error:  # no TOML, no JSON, or a number of thousands of digits
            problems.append(f"{said}: {error}")
        else:
            if isinstance(place, Path):  # a file's rules follow, and a variable's replace them
                table["rules"] = [*merged["rules"], *table.get("rules", ())]
            merged = _merge(merged, table)
    if problems:
        raise ConfigError("\n".join(map(one_line, problems)))
    return kind.validate_python(merged)


def _variable(name: str) -> dict[str, Any]:
    """What a variable sets, by pydantic-settings; lists and tables are JSON."""
    from pydantic.dataclasses import dataclass
    from pydantic_settings import BaseSettings, EnvSettingsSource

    text, whole = os.environ[name], name[len(PREFIX) :].lower()
    key = whole.partition("__")[0]
    default = vars(Settings()).get(key)
    if default is None or (key != whole and not is_dataclass(default)):
        return {whole if default else key: text}  # and that is an unknown key
    # It looks for keys in pydantic's own kinds only.
    kind: Any = dataclass(type(default), frozen=True) if is_dataclass(default) else type(default)
    fields: dict[str, Any] = {key: (kind, ...)}
    model = create_model("Variable", __base__=BaseSettings, **fields)
    source = EnvSettingsSource(model, env_prefix=PREFIX, env_nested_delimiter="__")
    source.env_vars = {name.lower(): text}
    try:
        return source() or {key: text}
    except ValueError as error:
        raise ValueError(f"{error}; lists and tables are JSON there") from error


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay a valid table over another: tables key by key, the rest replaced."""
    tables = {k: _merge(base.get(k, {}), v) for k, v in over.items() if isinstance(v, dict)}
    return {**base, **over, **tables}


def _explained(problem: ErrorDetails) -> str:
    """The key, what was expected, the nearest known key."""
    keys, what = problem["loc"], problem["type"]
    if what == "unexpected_keyword_argument":
        known: Any = asdict(Settings(rules=(Rule(""),)))
        for key in keys[:-1]:
            known = known[0 if isinstance(key, int) else key]
        near = difflib.get_close_matches(str(keys[-1]), known, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(sorted(known))}"
        what = f"unknown key; {hint}"
    elif what == "missing":
        what = "required, and missing"
    elif what == "value_error":
        what = str(problem["ctx"]["error"])
    else:
        expected = problem["msg"].replace("Input should be", "expected")
        shown = "what is there"  # nested without end, or a number of thousands of digits
        with suppress(RecursionError, ValueError):
            shown = ascii(problem["input"])[:80]
        what = f"{_EXPECTED.get(what, expected)}, not {shown}"
    name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return f"{name.lstrip('.')}: {what}"
