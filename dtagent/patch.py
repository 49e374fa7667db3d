"""Desired and observed labels into the smallest requests, or none. Pure.

Server-side apply makes the API server keep the books: what we applied once and no longer apply, it
drops; what others set, it leaves. (Kubernetes documentation, "Server-Side Apply"; structured-merge-
diff's fieldsV1.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

FIELD_MANAGER = "dtagent"
GO_LABELLER_PREFIX = "beta.devicetree.org/"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Observed:
    """A Node's labels, and the keys among them that its managedFields say we applied."""

    uid: str | None = None
    labels: Mapping[str, str] | None = None
    owned: frozenset[str] = frozenset()

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Observed:
        """Read an ObjectMeta as the API server sent it.

        Raises TypeError, AttributeError or ValueError for what is none.
        """
        owned: set[str] = set()
        for entry in metadata.get("managedFields") or ():
            if (entry.get("manager"), entry.get("operation")) == (FIELD_MANAGER, "Apply"):
                fields = (entry.get("fieldsV1") or {}).get("f:metadata", {}).get("f:labels", {})
                owned |= {field[2:] for field in fields if field.startswith("f:")}
        return cls(metadata.get("uid"), dict(metadata.get("labels") or {}), frozenset(owned))


@dataclass(frozen=True)
class Patch:
    """One PATCH of a Node: how, with which query, and what."""

    content_type: str
    query: str
    body: Mapping[str, Any]


def plan(
    name: str,
    desired: Mapping[str, str],
    observed: Observed,
    left_alone: Collection[str] = (),
) -> list[Patch]:
    """The patches that make the Node's labels the desired ones; none where they are already.

    Besides what we applied ourselves, only the Go labeller's leftovers are taken off: labels under
    its literal prefix, whatever ours is, and none that is `left_alone`.
    """
    labels = observed.labels or {}
    patches = []
    right = all(labels.get(key) == value for key, value in desired.items())
    if not right or observed.owned != desired.keys():
        patches.append(_apply(name, desired, observed.uid))
    if gone := leftovers(desired, observed, left_alone):
        metadata = {"labels": dict.fromkeys(gone), "uid": observed.uid}
        patches.append(Patch(MERGE, f"fieldManager={FIELD_MANAGER}", {"metadata": metadata}))
    return patches


def leftovers(
    desired: Mapping[str, str], observed: Observed, left_alone: Collection[str] = ()
) -> list[str]:
    """The keys under the Go labeller's literal prefix that are nobody's now."""
    return sorted(
        key
        for key in observed.labels or ()
        if key.startswith(GO_LABELLER_PREFIX)
        and not (key in desired or key in observed.owned or key in left_alone)
    )


def clear(name: str, observed: Observed) -> list[Patch]:
    """The patch that takes our labels off, and no other's."""
    return [_apply(name, {}, observed.uid)] if observed.owned else []


def changes(
    desired: Mapping[str, str], observed: Observed, left_alone: Collection[str] = ()
) -> list[str]:
    """What `plan` alters on the Node, for a log line: `+key=value` and `-key`."""
    ours = {
        key: value
        for key, value in (observed.labels or {}).items()
        if (key in desired or key in observed.owned or key.startswith(GO_LABELLER_PREFIX))
        and key not in left_alone
    }
    return changed(ours, desired)


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The difference of two sets of labels: `+key=value` for new and other values, `-key`."""
    added = [f"+{key}={value}" for key, value in after.items() if before.get(key) != value]
    return sorted(added) + sorted(f"-{key}" for key in before if key not in after)


def _apply(name: str, labels: Mapping[str, str], uid: str | None) -> Patch:
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        # With the uid an apply never creates a Node, and never labels another of the same name.
        "metadata": {"labels": dict(labels), "name": name, "uid": uid or "unknown"},
    }
    return Patch(APPLY, f"fieldManager={FIELD_MANAGER}&force=true", body)
