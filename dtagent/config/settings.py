"""What can be set, what is right there and what is the default.

The keys are the contract of `/etc/dtagent.toml`; dtagent.toml(5) describes each. pydantic judges by
the annotations, in a process of its own (`judge.py`): the agent would keep for years what it takes.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from dtagent import names

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _property_problem(text: str) -> str | None:
    known = re.fullmatch(r"[A-Za-z0-9,._+?#-]+", text)  # Devicetree Specification 2.2.4.1
    return None if known else f"{names.quoted(text)} is no property name"


@dataclass(frozen=True)
class Check:
    """In an annotation: `problem` gives a text, or raises ValueError, where a value is wrong.

    pydantic looks for the method of that name. It asks before the type is known, and judges that.
    """

    problem: Callable[[str], object] = lambda _: None

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            if isinstance(problem := self.problem(value), str):
                raise ValueError(problem)
            # The environment and JSON may hold what no file, URL and terminal takes.
            if re.search("[\0\ud800-\udfff]", value):
                raise ValueError("expected text in UTF-8, without NUL")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self, handler(source))


class Duration(Check):
    """In an annotation: seconds, written as one or more numbers with their units."""

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(r"(\s*\d+\s*[smhd])+\s*", value):
            parts = re.findall(r"(\d+)\s*([smhd])", value)
            seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
            if 1 <= seconds <= 7 * _UNITS["d"]:
                return seconds
        raise ValueError('expected a duration from "1s" to "7d", such as "90s", "5m" or "1h30m"')


TEXT = Check()
SELECTOR = Check(names.Selector.parse)
Text = Annotated[str, TEXT]
File = Annotated[Path, TEXT]
NodeSelector = Annotated[str, SELECTOR]


class Table:
    __pydantic_config__: ClassVar = {"extra": "forbid"}  # a key that nobody knows is a mistake


@dataclass(frozen=True)
class NodeTable(Table):
    name: Text = ""  # as kubeconfig: empty is found out
    kubeconfig: Text = ""
    events: bool = True


@dataclass(frozen=True)
class DevicetreeTable(Table):
    root: File = Path("/sys/firmware/devicetree/base")
    nodes: tuple[NodeSelector, ...] = ("/",)
    include_disabled: bool = False


@dataclass(frozen=True)
class LabelsTable(Table):
    prefix: Annotated[str, Check(names.prefix_problem)] = "beta.devicetree.org/"
    vendor_aliases: dict[Text, Text] = field(default_factory=lambda: {"xlnx": "xilinx"})


@dataclass(frozen=True)
class OverlaysTable(Table):
    path: Text = ""  # empty: in whatever configfs is mounted
    labels: bool = True


@dataclass(frozen=True)
class NfdTable(Table):
    features_file: File = Path(
        "/etc/kubernetes/node-feature-discovery/features.d/devicetree-features"
    )


@dataclass(frozen=True)
class MetricsTable(Table):
    textfile: Text = ""  # of node_exporter's textfile collector; empty: none


@dataclass(frozen=True)
class Rule(Table):
    """`[[rules]]`: a property as a label, or a constant, or without both the number of nodes."""

    label: Annotated[str, Check(names.label_key_problem)]
    node: NodeSelector = "/"
    property: Annotated[str, Check(_property_problem)] | None = None
    type: Literal["text", "u32", "u64", "u32-hex", "u64-hex"] = "text"
    index: int | None = None
    value: Annotated[str, Check(names.label_value_problem)] | None = None

    def __post_init__(self) -> None:
        if self.type == "text" and self.index is None:
            return
        if self.value is not None:
            raise ValueError('"value" is all of the label: "type" and "index" do not go with it')
        if self.property is None:
            raise ValueError('"type" and "index" are about a property: "property" is missing')
        if self.index is not None and self.index < 0:
            raise ValueError(f"index: expected 0 for the first, 1 and so on, not {self.index}")


@dataclass(frozen=True)
class Settings(Table):
    publish: Literal["node", "nfd"] = "node"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    resync_interval: Annotated[int, Duration()] = 300  # seconds
    rules: tuple[Rule, ...] = ()
    node: NodeTable = NodeTable()
    devicetree: DevicetreeTable = DevicetreeTable()
    labels: LabelsTable = LabelsTable()
    overlays: OverlaysTable = OverlaysTable()
    nfd: NfdTable = NfdTable()
    metrics: MetricsTable = MetricsTable()


def as_toml(settings: Settings) -> str:
    """The effective settings as TOML that could be read back."""
    values = {**asdict(settings), "resync_interval": f"{settings.resync_interval}s"}
    tables = {key: table for key, table in values.items() if isinstance(table, dict)}
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if key not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        pairs = (f"{_toml(key)} = {_toml(each)}" for key, each in value.items() if each is not None)
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's strings, numbers and booleans are TOML's; what is not printable is escaped.
    text = json.dumps(value if isinstance(value, int) else str(value), ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
