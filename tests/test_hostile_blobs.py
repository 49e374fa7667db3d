"""Blobs that nobody should have made: a right result or a clear error, and always an end.

What only a blob can hold, twins for one, is written with libfdt's sequential writer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import libfdt

from dtagent.tree import devicetree
from dtagent.tree.devicetree import Blob
from tests.dtb import dtb
from tests.fuzz import inputs
from tests.hostile import an_end as an_end  # a fixture for every test here
from tests.hostile import labels, refusal, root

P = "beta.devicetree.org/"


def test_a_blob_may_be_a_thousand_deep_and_not_a_hundred_thousand(tmp_path: Path) -> None:
    file = tmp_path / "dtb"
    file.write_bytes(chain(1000))
    assert labels(Blob(file), "compatible:acme,deep").labels == {P + "acme-deep": "1"}
    file.write_bytes(chain(100_000))
    assert "no devicetree is so large" in refusal(lambda: Blob(file), "compatible:acme,deep")


def chain(depth: int) -> bytes:
    """The blob of so many nodes, one in the other, by hand: a dict's writer would recurse."""
    top = dtb({"n": root("acme,deep")})
    fdt = libfdt.FdtRo(top)
    start, length = fdt.off_dt_struct(), fdt.size_dt_struct()
    node, end = b"\0\0\0\1n\0\0\0", b"\0\0\0\2"
    body = top[start : start + length].replace(node, node * depth)
    body = body[:-8] + end * (depth - 1) + body[-8:]
    grown = len(body) - length
    header = bytearray(top[:start])
    for field, value in ((4, fdt.totalsize()), (12, fdt.off_dt_strings()), (36, length)):
        at = value + grown
        header[field : field + 4] = at.to_bytes(4, "big")
    return bytes(header) + body + top[start + length :]


def flat(file: Path, write: Callable[[libfdt.FdtSw], None]) -> Blob:
    """A blob with what no dict can say."""
    writer = libfdt.FdtSw()
    writer.finish_reservemap()
    with writer.add_node(""):
        write(writer)
    file.write_bytes(writer.as_fdt().as_bytearray())
    return Blob(file)


def test_twins_in_a_blob_are_named_as_the_kernel_names_them(tmp_path: Path) -> None:
    def write(writer: libfdt.FdtSw) -> None:
        writer.property_string("status", "okay")
        for name, compatible in (("status", "a"), ("gpu", "b"), ("gpu", "c"), ("x/y", "d")):
            with writer.add_node(name):
                writer.property_string(compatible, compatible)
                writer.property_string("compatible", compatible)

    nodes = [*flat(tmp_path / "dtb", write)]
    assert {node.path: node.strings("compatible") for node in nodes} == {
        "/": [], "/gpu": ["b"], "/gpu#1": ["c"], "/status#1": ["a"], "/x!y": ["d"]
    }  # fmt: skip
    assert nodes[0].strings("status") == ["okay"]


def test_a_node_without_a_name_is_not_the_root(tmp_path: Path) -> None:
    def write(writer: libfdt.FdtSw) -> None:
        with writer.add_node(""):
            writer.property_string("compatible", "acme,nameless")

    assert labels(flat(tmp_path / "dtb", write), "gpu").labels == {}


def test_a_blob_of_no_node_and_names_of_no_text_are_errors(tmp_path: Path) -> None:
    node, end = inputs.cell(1) + inputs.cell(0), inputs.cell(2) + inputs.cell(9)
    empty_property = inputs.cell(3) + inputs.cell(0) + inputs.cell(0)
    for body in (inputs.cell(9), node + empty_property + end):
        (tmp_path / "dtb").write_bytes(inputs.flat(body, b"\xff\0"))
        assert "not a DTB that libfdt can read" in refusal(lambda: Blob(tmp_path / "dtb"))


def test_more_twins_than_a_kernel_bears_are_an_error(tmp_path: Path) -> None:
    def write(writer: libfdt.FdtSw) -> None:
        for _ in range(devicetree.TWINS_MAX + 2):
            writer.add_node("gpu").__enter__()
            writer.end_node()

    assert refusal(lambda: flat(tmp_path / "dtb", write)) == (
        f"{tmp_path}/dtb: 'gpu': 18 of that name in one node"
    )


def test_a_file_without_end_is_no_blob() -> None:
    assert refusal(lambda: Blob(Path("/dev/zero"))).startswith("/dev/zero: larger than")
