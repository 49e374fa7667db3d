"""The grammars of labels and selectors."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtagent import names
from dtagent.names import Selector

# Kubernetes' own words for it: validation.IsQualifiedName and IsValidLabelValue of apimachinery.
NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@pytest.mark.parametrize(
    "key", ["a", "devicetree.org/model", "x-1.example/A_b.c", "my-k8s.io/x", f"e.org/{'n' * 63}"]
)
def test_a_key_that_kubernetes_takes_from_a_node_has_no_problem(key: str) -> None:
    assert names.label_key_problem(key) is None


@pytest.mark.parametrize(
    "key",
    ["", "/x", "e.org/", "e.org/-x", "e.org/x y", "E.org/x", "a/b/c", f"e.org/{'n' * 64}"]
    + [f"{'d' * 254}/x", "kubernetes.io/x", "node-restriction.kubernetes.io/x", "k8s.io/x"]
    + ["sub.k8s.io/x", "e.org/x\n"],
)
def test_a_key_that_kubernetes_refuses_from_a_node_has_a_problem(key: str) -> None:
    assert names.label_key_problem(key) is not None


@pytest.mark.parametrize("prefix", ["", "/", "e.org", "e.org//", "kubernetes.io/", "a.k8s.io/"])
def test_a_prefix_ends_in_a_slash_and_is_not_kubernetes_own(prefix: str) -> None:
    assert names.prefix_problem(prefix) is not None


@given(st.text())
def test_any_text_fits_into_a_label_or_into_nothing(text: str) -> None:
    fitted = names.fit(text, text.encode("utf-8", "surrogatepass"))
    assert fitted == "" or (len(fitted) <= 63 and NAME.fullmatch(fitted))


@given(st.text("ab", min_size=64, max_size=80), st.text("ab", min_size=64, max_size=80))
def test_two_long_texts_never_become_one(one: str, other: str) -> None:
    same = names.fit(one, one.encode()) == names.fit(other, other.encode())
    assert same == (one == other)


@given(st.text())
def test_no_domain_is_taken_that_kubernetes_would_refuse(text: str) -> None:
    if names.prefix_problem(f"{text}/") is None:
        assert DOMAIN.fullmatch(text)
        assert len(text) <= 253


@pytest.mark.parametrize(
    ("selector", "chosen", "passed_over"),
    [
        ("gpu", ["gpu", "gpu@57000000", "gpu0@1", "gpu#1", "gpu@1#2"], ["gpu12", "gpux", "xgpu@1"]),
        ("a.b", ["a.b@0"], ["axb@0"]),
    ],
)
def test_a_name_is_literal_with_an_optional_number_and_address(
    selector: str, chosen: list[str], passed_over: list[str]
) -> None:
    pattern = Selector.parse(selector).pattern
    assert [name for name in chosen + passed_over if pattern.match(name)] == chosen


def test_a_star_in_a_path_stays_inside_its_component() -> None:
    pattern = Selector.parse("/soc/i2c@*/eeprom").pattern
    assert pattern.match("/soc/i2c@7e804000/eeprom")
    assert not pattern.match("/soc/i2c@1/mux/eeprom")
    assert not pattern.match("/soc/i2c@1/eeprom/x")


def test_a_compatible_is_a_glob_over_the_whole_string() -> None:
    pattern = Selector.parse("compatible:brcm,bcm27*").pattern
    assert pattern.match("brcm,bcm2711")
    assert not pattern.match("x,brcm,bcm2711")


@pytest.mark.parametrize("text", ["", " ", "a b", "a/b", "gp*", "compatible:", "path:/x", "//x"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        Selector.parse(text)
