"""What can be set, what is right there and what is the default.

The keys are the contract of `/etc/dtagent.toml`; packaging/debian's reference and dtagent.toml(5)
describe each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_settings import BaseSettings, SettingsConfigDict

from dtagent import names

ENV_PREFIX = "DTAGENT_"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = 7 * 86400  # seconds
T = TypeVar("T", str, Path)


def _duration(value: object) -> object:
    if isinstance(value, str):
        parts = re.findall(r"(\d+)\s*([smhd])", value)
        if parts and re.fullmatch(r"(\s*\d+\s*[smhd])+\s*", value):
            seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
            if 1 <= seconds <= LONGEST:
                return seconds
    raise ValueError('expected a duration from "1s" to "7d", such as "90s", "5m" or "1h30m"')


def _text(value: T) -> T:
    """What a file, a URL and a terminal take: the environment and JSON may hold other things."""
    if re.search("[\0\ud800-\udfff]", str(value)):
        raise ValueError("expected text in UTF-8, without NUL")
    return value


def _selector(text: str) -> str:
    names.Selector.parse(_text(text))
    return text


def _prefix(text: str) -> str:
    if problem := names.prefix_problem(text):
        raise ValueError(problem)
    return text


def _label(text: str) -> str:
    if problem := names.label_key_problem(text):
        raise ValueError(problem)
    return text


def _with_xilinx(aliases: dict[str, str]) -> dict[str, str]:
    return {"xlnx": "xilinx", **aliases}


def _property(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9,._+?#-]+", text):  # Devicetree Specification 2.2.4.1
        raise ValueError(f"{names.quoted(text)} is no property name")
    return text


Duration = Annotated[int, BeforeValidator(_duration)]
Text = Annotated[str, AfterValidator(_text)]
File = Annotated[Path, AfterValidator(_text)]
PropertyName = Annotated[str, AfterValidator(_property)]
NodeSelector = Annotated[str, AfterValidator(_selector)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeTable(_Table):
    """`[node]`: which Node, by which credentials. Empty: found out (see credentials.py)."""

    name: Text = ""
    kubeconfig: Text = ""


class DevicetreeTable(_Table):
    """`[devicetree]`: where the tree is and which of its nodes count."""

    root: File = Path("/sys/firmware/devicetree/base")
    nodes: tuple[NodeSelector, ...] = ("/",)
    include_disabled: bool = False


class LabelsTable(_Table):
    """`[labels]`: how a compatible string becomes a label key."""

    prefix: Annotated[str, AfterValidator(_prefix)] = "beta.devicetree.org/"
    vendor_aliases: Annotated[dict[Text, Text], AfterValidator(_with_xilinx)] = {"xlnx": "xilinx"}


class OverlaysTable(_Table):
    """`[overlays]`: where overlays come and go, and whether each is a label."""

    path: Text = ""
    labels: bool = True


class NfdTable(_Table):
    """`[nfd]`: where Node Feature Discovery looks for our features."""

    features_file: File = Path(
        "/etc/kubernetes/node-feature-discovery/features.d/devicetree-features"
    )


class Rule(_Table):
    """`[[rules]]`: one property as a label, or without one the number of the nodes."""

    label: Annotated[str, AfterValidator(_label)]
    node: NodeSelector = "/"
    property: PropertyName | None = None


class Settings(BaseSettings):
    """The effective settings. Durations are seconds."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=False,
    )

    publish: Literal["node", "nfd"] = "node"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    resync_interval: Duration = 300
    node: NodeTable = NodeTable()
    devicetree: DevicetreeTable = DevicetreeTable()
    labels: LabelsTable = LabelsTable()
    overlays: OverlaysTable = OverlaysTable()
    nfd: NfdTable = NfdTable()
    rules: tuple[Rule, ...] = ()


def as_toml(settings: Settings) -> str:
    """The effective settings as TOML that could be read back; a duration is in seconds."""
    tables: list[str] = []
    top: list[str] = []
    for name, value in settings.model_dump(mode="json").items():
        if name == "resync_interval":
            top.append(f'{name} = "{value}s"')
        elif isinstance(value, dict):
            tables += _toml_table(f"[{name}]", value)
        elif name == "rules":
            for rule in value:
                tables += _toml_table("[[rules]]", rule)
        else:
            top.append(f"{name} = {_toml_value(value)}")
    return "\n".join(top + tables)


def _toml_table(header: str, table: Mapping[str, Any]) -> list[str]:
    lines = ["", header]
    for key, value in table.items():
        if isinstance(value, dict):
            pairs = ", ".join(f"{_toml_value(k)} = {_toml_value(v)}" for k, v in value.items())
            lines.append(f"{key} = {{ {pairs} }}")
        elif value is not None:
            lines.append(f"{key} = {_toml_value(value)}")
    return lines


def _toml_value(value: object) -> str:
    # JSON's strings, booleans and lists of strings are TOML's; what is not printable is escaped.
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
