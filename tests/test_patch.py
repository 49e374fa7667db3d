"""From desired and observed to the smallest requests. (The real server's side: test_node.py.)"""

from __future__ import annotations

from typing import Any

import pytest

from dtagent.patch import APPLY, MERGE, Observed, Patch, changes, clear, plan

P = "beta.devicetree.org/"


def observed(labels: dict[str, str], *owned: str) -> Observed:
    return Observed("u-1", labels, frozenset(owned))


def apply(**labels: str) -> Patch:
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"labels": labels, "name": "n", "uid": "u-1"},
    }
    return Patch(APPLY, "fieldManager=dtagent&force=true", body)


def test_nothing_is_sent_when_nothing_differs() -> None:
    assert plan("n", {"a": "1"}, observed({"a": "1", "other": "x"}, "a")) == []
    assert plan("n", {}, observed({"other": "x"})) == []


@pytest.mark.parametrize(
    "state",
    [
        observed({}),  # absent
        observed({"a": "2"}, "a"),  # another value
        observed({"a": "1"}),  # right, but another's: it would go with that one
        observed({"a": "1", "b": "1"}, "a", "b"),  # a rule was deleted while we were down
        observed({"a": "1"}, "a", "b"),  # somebody deleted what we still own
    ],
)
def test_one_apply_says_all_of_ours(state: Observed) -> None:
    assert plan("n", {"a": "1"}, state) == [apply(a="1")]


def test_the_go_labellers_leftovers_go_whatever_the_prefix() -> None:
    state = observed({P + "old": "1", P + "mine": "1", "e.org/foreign": "1"}, P + "mine")
    merge = {"metadata": {"labels": {P + "old": None}, "uid": "u-1"}}
    assert plan("n", {P + "mine": "1"}, state) == [Patch(MERGE, "fieldManager=dtagent", merge)]
    assert plan("n", {"e.org/a": "1"}, state)[1:] == [Patch(MERGE, "fieldManager=dtagent", merge)]


def test_clear_takes_ours_alone() -> None:
    assert clear("n", observed({"a": "1", P + "old": "1"}, "a")) == [apply()]
    assert clear("n", observed({P + "old": "1"})) == []


def test_changes_are_named_for_a_log_line() -> None:
    state = observed({"a": "1", "b": "1", "c": "1", P + "old": "1"}, "b", "c")
    assert changes({"a": "1", "b": "2", "d": "1"}, state) == ["+b=2", "+d=1", f"-{P}old", "-c"]


def test_ownership_is_read_from_managed_fields() -> None:
    def entry(manager: str, operation: str, *keys: str) -> dict[str, Any]:
        fields: dict[str, Any] = {f"f:{key}": {} for key in keys}
        labels = {"f:metadata": {"f:labels": {".": {}} | fields}}
        return {"manager": manager, "operation": operation, "fieldsV1": labels}

    metadata = {
        "uid": "u-1",
        "labels": {"a": "1"},
        "managedFields": [
            entry("dtagent", "Apply", "a"),
            entry("dtagent", "Update", "b"),
            entry("kubelet", "Update", "c"),
            {"manager": "dtagent", "operation": "Apply", "subresource": "status"},
        ],
    }
    assert Observed.of(metadata) == observed({"a": "1"}, "a")
    assert Observed.of({}) == Observed(None, {}, frozenset())
