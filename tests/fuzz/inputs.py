"""Inputs for fuzzing: something valid, and strategies that spoil it.

Text and bytes at random rarely get past the first check of a reader.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from demo.jetson_nano import JETSON_NANO
from tests.dtb import dtb

SHIPPED = (Path(__file__).parents[2] / "etc" / "dtagent.toml").read_text()
TOML = "\n".join(
    line.removeprefix("#") for line in SHIPPED.splitlines() if not line.startswith("# ")
)
"""The shipped file with each of its settings in force."""
NANO = dtb(JETSON_NANO)
KUBECONFIG = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def spoil(value: Any) -> st.SearchStrategy[Any]:
    """`value` with any of its parts, at any depth, gone or replaced by anything."""
    if isinstance(value, dict):
        parts = {key: spoil(part) for key, part in value.items()}
        whole: st.SearchStrategy[Any] = st.fixed_dictionaries({}, optional=parts)
        whole |= st.fixed_dictionaries(parts)
    elif isinstance(value, list):
        whole = st.tuples(*map(spoil, value)).map(lambda parts: [*parts])
    else:
        return st.just(value) | json_values
    return st.integers(0, 9).flatmap(lambda dice: whole if dice else json_values)


@st.composite
def spliced(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with a few of its stretches replaced by others, or by any bytes."""
    for _ in range(draw(st.integers(1, 4))):
        start, there = (draw(st.integers(0, len(whole))) for _ in range(2))
        length = draw(st.integers(0, 8))
        stretch = draw(st.binary(max_size=8) | st.just(whole[there : there + length]))
        whole = whole[:start] + stretch + whole[start + length :]
    return whole


@st.composite
def structures(draw: st.DrawFn) -> bytes:
    """A blob with a right header whose structure is any sequence of well-formed tokens."""
    names = b"compatible\0status\0device_type\0\xff\xfe\0a\nb\0"
    node_names = st.sampled_from(
        [b"", b"gpu", b"gpu@1", b"cpus", b"cpu@0", b"status", b"a/b", b"\xff"]
    )
    values = st.sampled_from([b"", b"okay\0", b"disabled\0", b"acme,x\0acme,y\0", b"\xff\xfe"])
    token = st.one_of(
        node_names.map(lambda name: cell(1) + padded(name + b"\0")),
        st.just(cell(2)),
        st.tuples(st.integers(0, len(names)), values).map(
            lambda item: cell(3) + cell(len(item[1])) + cell(item[0]) + padded(item[1])
        ),
        st.just(cell(4)),
    )
    inside = b"".join(draw(st.lists(token, max_size=12)))
    opened = draw(st.integers(0, 6))
    return flat(cell(1) + cell(0) + inside + cell(2) * opened + cell(9), names)


def flat(body: bytes, names: bytes) -> bytes:
    """The blob of these tokens and property names (Devicetree Specification 5.2)."""
    sizes = (56 + len(body) + len(names), 56, 56 + len(body), 40, 17, 16, 0, len(names), len(body))
    return b"".join(map(cell, (0xD00DFEED, *sizes))) + bytes(16) + body + names


def cell(value: int) -> bytes:
    return value.to_bytes(4, "big")


def padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)
