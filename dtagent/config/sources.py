"""TOML file, drop-ins, environment and flags into one frozen settings object.

pydantic-settings validates and lays the sources over each other. It gets the files as one source:
its own merging of several TOML files drops keys on 2.8.1, the version that Debian 13 has.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from dtagent.config.settings import ENV_PREFIX, Rule, Settings
from dtagent.errors import ConfigError
from dtagent.names import one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_FILE = Path("/etc/dtagent.toml")
# bytes; rules for all 256 labels take a third, and tomllib's time grows with the square of a key
FILE_MAX = 64 << 10

Place = tuple[str, dict[str, Any]]
"""Where settings were written, in the user's words, and what was written there."""


def load(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read `file` (default `/etc/dtagent.toml`), its drop-ins, the environment and `flags`.

    Raises ConfigError, whose message names the place, the key and what was expected there.
    """
    places = [(str(path), _parse(path)) for path in files(file)]
    merged: dict[str, Any] = {}
    for _, table in places:
        merged = merge(merged, table)

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, merged)

    environment = _environment()
    # pydantic-settings passes over variables of no known section; as flags they are refused.
    strays = {key: value for _, table in environment for key, value in table.items()
              if key not in Settings.model_fields}  # fmt: skip
    try:
        return Layered(**strays, **(flags or {}))
    except SettingsError as error:
        raise ConfigError(f"environment: {error}; lists and tables are JSON there") from error
    except ValidationError as error:
        raise ConfigError(_explain(error, [*places, *environment])) from error
    except RecursionError as error:
        raise ConfigError("configuration: nested too deeply") from error


def files(file: Path | None = None) -> list[Path]:
    """The files to read, in order; only the default file itself may be missing."""
    base = file or DEFAULT_FILE
    dropins = sorted(Path(f"{base}.d").glob("*.toml"))
    return [base, *dropins] if file or os.path.lexists(base) else dropins


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_MAX + 1)
        if len(data) > FILE_MAX:
            raise ConfigError(f"{path}: larger than {FILE_MAX} bytes")
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text") from error
    except ValueError as error:  # TOMLDecodeError, and what int() says of thousands of digits
        raise ConfigError(one_line(f"{path}: {error}")) from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


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


def _environment() -> list[Place]:
    """Each DTAGENT_ variable as a place of its own, as deep as its name says."""
    places: list[Place] = []
    for name, value in os.environ.items():
        if name.upper().startswith(ENV_PREFIX):
            keys = name[len(ENV_PREFIX) :].lower().split("__")
            table: Any = value
            for key in reversed(keys):
                table = {key: table}
            places.append((f"environment variable {name}", table))
    return places


def _explain(error: ValidationError, places: Sequence[Place]) -> str:
    """One line an error: place, key, what was expected, the nearest known key."""
    lines = []
    for problem in error.errors():
        keys = list(problem["loc"])
        place = _place(keys, places)
        if problem["type"] == "extra_forbidden":
            known = _known_keys(keys[:-1])
            near = difflib.get_close_matches(str(keys[-1]), known, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(known)}"
            what = f"unknown key; {hint}"
        elif problem["type"] == "missing":
            what = "required, and missing"
        elif problem["type"] == "value_error":
            what = str(problem["ctx"]["error"])
        else:
            expected = problem["msg"].replace("Input should be", "expected")
            expected = expected.replace("a valid tuple", "a list")  # which is TOML's word
            what = f"{expected}, not {_shown(problem['input'])}"
        name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
        lines.append(one_line(f"{place}: {name.lstrip('.')}: {what}"))
    return "\n".join(lines)


def _shown(value: object) -> str:
    try:
        return ascii(value)[:80]
    except (RecursionError, ValueError):
        return "what is there"  # nested without end, or a number of thousands of digits


def _place(keys: list[int | str], places: Sequence[Place]) -> str:
    """The last place that says something at `keys`; rewrites a rule's number to that file's own."""
    if keys[0] == "rules" and len(keys) > 1 and isinstance(keys[1], int):
        for place, table in places:
            rules = table.get("rules", [])
            if isinstance(rules, list):
                if keys[1] < len(rules):
                    return place
                keys[1] -= len(rules)
    for place, table in reversed(places):
        value: Any = table
        for key in keys:
            if not isinstance(value, dict):
                break
            value = value.get(str(key), _place)
        if value is not _place:
            return place
    return "configuration"


def _known_keys(keys: Sequence[int | str]) -> list[str]:
    model: Any = Settings
    for key in keys:
        if isinstance(key, str):
            model = Rule if key == "rules" else model.model_fields[key].annotation
    return sorted(model.model_fields)
