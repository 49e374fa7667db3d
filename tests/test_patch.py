"""From desired and observed to the smallest requests. (The real server's side: test_node.py.)"""

from __future__ import annotations

from typing import Any

import pytest

from dtagent.cluster.patch import APPLY, MERGE, Observed, Patch, changed, clearable, plan, unwanted

P = "beta.devicetree.org/"


def planned(name: str, desired: dict[str, str], state: Observed, *kept: set[str]) -> list[Patch]:
    """The patches for what `unwanted` says; `kept` are the keys of ours, and those left alone."""
    return plan(name, desired, state, unwanted(desired, state, *kept))


def observed(labels: dict[str, str], *owned: str, **others: str) -> Observed:
    claims = {key: frozenset([manager]) for key, manager in others.items()}
    return Observed("u-1", labels, frozenset(owned), claims)


def apply(**labels: str) -> Patch:
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"labels": labels, "name": "n", "uid": "u-1"},
    }
    return Patch(APPLY, "fieldManager=dtagent&force=true", body)


def test_nothing_is_sent_when_nothing_differs() -> None:
    assert planned("n", {"a": "1"}, observed({"a": "1", "other": "x"}, "a")) == []
    assert planned("n", {}, observed({"other": "x"})) == []


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
    assert planned("n", {"a": "1"}, state) == [apply(a="1")]


def remove(*keys: str) -> Patch:
    metadata = {"labels": dict.fromkeys(keys), "uid": "u-1"}
    return Patch(MERGE, "fieldManager=dtagent", {"metadata": metadata})


def test_the_go_labellers_leftovers_go_whatever_the_prefix() -> None:
    state = observed({P + "old": "1", P + "mine": "1", "e.org/foreign": "1"}, P + "mine")
    assert planned("n", {P + "mine": "1"}, state) == [remove(P + "old")]
    assert planned("n", {"e.org/a": "1"}, state)[0] == remove(P + "old")


def test_what_another_manager_holds_too_is_taken_off_before_our_books_forget_it() -> None:
    state = observed({"a": "1", "b": "1"}, "a", "b", b="kubelet")
    assert planned("n", {"a": "1"}, state) == [remove("b")]
    assert planned("n", {"a": "2"}, state) == [remove("b"), apply(a="2")]


def test_what_we_remember_as_ours_goes_though_the_books_were_reset() -> None:
    state = observed({"a": "1", "b": "1", "theirs": "1"})
    assert planned("n", {"a": "1"}, state, {"a", "b"}) == [remove("b"), apply(a="1")]


def test_what_is_left_alone_is_not_taken_off() -> None:
    state = observed({"a": "1", "b": "1"}, "a", b="kubelet")
    assert planned("n", {"a": "1"}, state, {"b"}, {"b"}) == []


def test_clear_takes_ours_alone() -> None:
    state = observed({"a": "1", P + "old": "1", "c": "1"}, "a", c="someone")
    assert clearable({}, state) == {"a"}
    assert clearable({P + "old": "1", "c": "1"}, state) == {"a", P + "old"}
    assert clearable({P + "old": "2"}, state) == {"a"}


def test_changes_are_what_the_answer_shows() -> None:
    before = {"a": "1", "b": "1", "c": "1", "theirs": "1"}
    after = {"a": "1", "b": "2", "d": "1"}
    assert changed(before, after, ["a", "b", "c", "d"]) == ["+b=2", "+d=1", "-c"]
    assert changed(before, after) == ["+b=2", "+d=1", "-c", "-theirs"]
    assert changed(before, after, []) == []


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
    assert Observed.of({"metadata": metadata}) == observed(
        {"a": "1"}, "a", b="dtagent", c="kubelet"
    )
    assert Observed.of({"metadata": {}}) == Observed(None, {}, frozenset())
