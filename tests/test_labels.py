"""Which labels a tree gives: design rules, case by case, and any bytes at all."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.jetson_nano import JETSON_NANO
from demo.tree import Tree, cells, strings
from dtagent.config.settings import DevicetreeTable, LabelsTable, Rule, Settings
from dtagent.tree.labels import Labels, decide, property_text
from tests.corpus import CorpusUnavailable, corpus
from tests.memory import nodes

P = "beta.devicetree.org/"
NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def labels(tree: Tree, *selectors: str, rules: tuple[Rule, ...] = (), **kwargs: object) -> Labels:
    table = DevicetreeTable(nodes=("/", *selectors), **kwargs)  # type: ignore[arg-type]
    return decide(nodes(tree), Settings(devicetree=table, rules=rules))


def root(*compatible: str) -> Tree:
    return {"compatible": strings(*compatible)}


def test_the_example_board_gives_the_five_labels_of_the_go_labeller() -> None:
    found = labels(JETSON_NANO, "gpu", "pwm-fan")
    assert found == Labels(
        {
            P + "nvidia-gm20b": "1",
            P + "nvidia-jetson-nano": "1",
            P + "nvidia-tegra210": "1",
            P + "nvidia-tegra210-gm20b": "1",
            P + "pwm-fan": "1",
        }
    )


@pytest.mark.parametrize(
    ("compatible", "name", "noted"),
    [
        ("raspberrypi,4-model-b", "raspberrypi-4-model-b", False),
        ("xlnx,zynqmp-sm-k26-revA", "xilinx-zynqmp-sm-k26-revA", False),
        ("arm,vexpress,v2p-ca15,tc1", "arm-vexpress-v2p-ca15-tc1", False),
        ("pwm-fan", "pwm-fan", False),
        ("xlnx", "xlnx", False),  # no comma, no vendor
        ("AMLOGIC,8726_M8B", "AMLOGIC-8726_M8B", False),
        ("nvidia,p3768-0000+p3767-0005", "nvidia-p3768-0000-p3767-0005", True),
        ("solidrun,cubox-i/q", "solidrun-cubox-i-q", True),
        (" jedec,spi-nor", "jedec-spi-nor", True),
        ("fsl,qoriq-rcpm-2.1+", "fsl-qoriq-rcpm-2.1", True),
    ],
)
def test_a_compatible_becomes_this_name(compatible: str, name: str, noted: bool) -> None:
    found = labels(root(compatible))
    assert found.labels == {P + name: "1"}
    assert list(found.notes) == ([f"{P}{name}: stands for {compatible!r}"] if noted else [])


def test_a_long_compatible_is_cut_and_ends_in_a_hash_of_the_whole() -> None:
    one, other = (f"acme,{'x' * 70}{end}" for end in "ab")
    found = labels(root(one, other))
    assert sorted(map(len, found.labels)) == [len(P) + 63] * 2
    assert len(found.notes) == 2


def test_what_has_no_letter_or_digit_is_dropped_with_a_note() -> None:
    assert labels(root("+,+", "a,b")) == Labels(
        {P + "a-b": "1"}, ("'+,+': dropped, it has no letter or digit",)
    )


def test_the_value_counts_nodes_and_two_compatibles_of_one_key_count_once() -> None:
    tree: Tree = {
        "flash@0": root("jedec,spi-nor"),
        "flash@1": root(" jedec,spi-nor", "jedec,spi-nor"),
    }
    assert labels(tree, "flash") == Labels(
        {P + "jedec-spi-nor": "2"},
        (
            f"{P}jedec-spi-nor: stands for ' jedec,spi-nor'",
            f"{P}jedec-spi-nor: counts ' jedec,spi-nor', 'jedec,spi-nor' together",
        ),
    )


def test_a_node_that_two_selectors_choose_counts_once() -> None:
    tree: Tree = {"gpu@1": root("acme,gpu")}
    assert labels(tree, "gpu", "/gpu@1", "compatible:acme,*").labels == {P + "acme-gpu": "1"}


def test_a_node_that_is_not_available_does_not_count() -> None:
    off = {"status": strings("disabled")}
    tree: Tree = {
        "a@0": root("acme,a") | off,
        "bus": {**off, "a@1": root("acme,a") | {"status": strings("okay")}},
        "a@2": root("acme,a") | {"status": strings("ok")},
        "a@3": root("acme,a") | {"status": strings("reserved")},
    }
    assert labels(tree, "a").labels == {P + "acme-a": "1"}
    assert labels(tree, "a", include_disabled=True).labels == {P + "acme-a": "4"}


def test_a_disabled_cpu_is_quiescent_and_there_and_a_failed_one_is_not() -> None:
    tree: Tree = {
        "cpus": {
            "cpu@0": root("arm,a72"),
            "cpu@1": root("arm,a72") | {"status": strings("disabled")},
            "cpu@2": root("arm,a72") | {"status": strings("fail")},
            "cpu@3": root("arm,a72") | {"status": strings("fail-overheated")},
            "thermal": root("arm,a72") | {"status": strings("disabled")},
        }
    }
    assert labels(tree, "/cpus/*").labels == {P + "arm-a72": "2"}


def test_a_rule_makes_a_label_of_a_property() -> None:
    tree: Tree = {
        "model": strings("Raspberry Pi 4 Model B"),
        "serial": strings("10000000abcdef01"),
        "revision": cells(0xC03114),
        "mac": b"\xb8\x27\xeb\x01\x02\x03",
        "coherent": b"",
    }
    rules = [Rule(label=f"e.org/{name}", property=name) for name in tree]
    assert labels(tree, rules=(*rules, Rule(label="e.org/absent", property="absent"))) == Labels(
        {
            "e.org/coherent": "true",
            "e.org/mac": "b827eb010203",
            "e.org/model": "Raspberry-Pi-4-Model-B",
            "e.org/revision": "12595476",
            "e.org/serial": "10000000abcdef01",
        },
        ("e.org/model: Raspberry-Pi-4-Model-B stands for 'Raspberry Pi 4 Model B'",),
    )


def test_a_rule_without_a_property_counts_nodes() -> None:
    tree: Tree = {f"led@{n}": {} for n in range(3)}
    rules = (Rule(label="e.org/leds", node="led"), Rule(label="e.org/fans", node="fan"))
    assert labels(tree, rules=rules).labels == {"e.org/leds": "3"}


def test_a_rule_takes_the_first_nodes_value_and_says_when_others_differ() -> None:
    tree: Tree = {f"led@{n}": {"color": cells(n)} for n in range(2)}
    found = labels(tree, rules=(Rule(label="e.org/color", node="led", property="color"),))
    assert found.labels == {"e.org/color": "0"}
    assert found.notes == ("e.org/color: nodes differ in color; the first one's value stands",)


def test_a_rules_value_stands_before_the_count_of_a_compatible() -> None:
    rule = Rule(label=P + "acme-x", property="model")
    found = labels({**root("acme,x"), "model": strings("m1")}, rules=(rule,))
    assert found.labels == {P + "acme-x": "m1"}
    assert found.notes == (f"{P}acme-x: its rule's value stands, not a compatible's count",)


def test_more_labels_than_a_node_should_bear_are_dropped_in_order_and_named() -> None:
    found = labels(root(*(f"acme,x{n:03}" for n in range(258))))
    assert len(found.labels) == 256
    assert found.notes == (f"dropped, more than 256 labels: {P}acme-x256, {P}acme-x257",)


def test_a_prefix_and_aliases_of_ones_own() -> None:
    table = LabelsTable(prefix="e.org/", vendor_aliases={"xlnx": "xilinx", "rpi": "raspberrypi"})
    found = decide(nodes(root("rpi,5", "xlnx,k26")), Settings(labels=table))
    assert found.labels == {"e.org/raspberrypi-5": "1", "e.org/xilinx-k26": "1"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", "true"),
        (b"a\0", "a"),
        (b"a\0b\0", "a_b"),
        (b"\0\0\0\x05", "5"),
        (b"abc", "616263"),
        (b"\0", "00"),
        (b"a\x1bb\0", "1629184512"),
        (b"\0\0\0\x01\0\0\0\x02", "0000000100000002"),
    ],
)
def test_property_text(value: bytes, text: str) -> None:
    assert property_text(value) == text


@given(
    st.lists(st.binary(max_size=90).filter(lambda text: b"\0" not in text), max_size=6),
    st.binary(max_size=100),
)
def test_any_bytes_give_labels_that_kubernetes_takes(compatibles: list[bytes], raw: bytes) -> None:
    tree: Tree = {"compatible": b"".join(c + b"\0" for c in compatibles), "raw": raw}
    rule = Rule(label="e.org/raw", property="raw")
    found = labels(tree, rules=(rule,))
    assert_valid(found)
    for compatible in compatibles:
        if re.search(rb"[A-Za-z0-9]", compatible):
            assert found.labels.keys() - {"e.org/raw"}, "a compatible with a letter gives a label"


@given(st.binary(max_size=200))
def test_a_compatible_that_is_no_string_list_does_no_harm(raw: bytes) -> None:
    assert_valid(labels({"compatible": raw, "status": raw[:4]}))


def test_every_real_board_gives_labels_that_kubernetes_takes() -> None:
    from dtagent.tree.devicetree import Blob, scan

    try:
        boards = corpus()
    except CorpusUnavailable as unavailable:
        pytest.skip(f"no boards of Debian's: {unavailable}")
    settings = Settings(devicetree=DevicetreeTable(nodes=("/", "compatible:*")))
    for board in boards:
        found = scan(Blob(board), lambda nodes: decide(nodes, settings))
        assert_valid(found)
        assert found.labels, board


def assert_valid(found: Labels) -> None:
    for key, value in found.labels.items():
        prefix, _, name = key.partition("/")
        assert prefix in ("beta.devicetree.org", "e.org")
        assert NAME.fullmatch(name), key
        assert VALUE.fullmatch(value), value
    assert all(note.isascii() and note.isprintable() for note in found.notes)
