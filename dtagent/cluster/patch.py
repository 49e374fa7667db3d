"""Desired and observed labels into the smallest requests, or none. Pure.

Server-side apply makes the API server keep the books: what we applied once and no longer apply, it
drops, and what others set, it leaves. But it drops our ownership alone: a label that another field
manager set as well stays, so that one is taken off by a merge patch with null. (Kubernetes
documentation, "Server-Side Apply"; structured-merge-diff's fieldsV1.)
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from dtagent.errors import ServerError

FIELD_MANAGER = "dtagent"
NO_MANAGER = "before-first-apply"  # of fields whose managers were lost: managedFields were reset
GO_LABELLER_PREFIX = "beta.devicetree.org/"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
Keys = Collection[str]
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Observed:
    """A Node's labels, and by its managedFields who set them: we, and others by manager.

    Of two states the later one has the greater `version`: the server counts up, for all objects
    together (Kubernetes API concepts, "Resource versions").
    """

    uid: str | None = None
    labels: Labels = field(default_factory=dict)
    owned: frozenset[str] = frozenset()
    others: Mapping[str, frozenset[str]] = field(default_factory=dict)
    version: int = field(default=0, compare=False)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Observed":
        """Read an object's metadata as the API server sent it; ServerError for what is none."""
        owned: set[str] = set()
        others: dict[str, frozenset[str]] = {}
        try:
            metadata = answer["metadata"]
            for entry in metadata.get("managedFields") or ():
                fields = (entry.get("fieldsV1") or {}).get("f:metadata", {}).get("f:labels", {})
                keys = {name[2:] for name in fields if name.startswith("f:")}
                manager = str(entry.get("manager"))
                if (manager, entry.get("operation")) == (FIELD_MANAGER, "Apply"):
                    owned |= keys
                else:
                    others |= {key: others.get(key, frozenset()) | {manager} for key in keys}
            labels, version = metadata.get("labels") or {}, metadata.get("resourceVersion") or 0
            return cls(metadata.get("uid"), dict(labels), frozenset(owned), others, int(version))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ServerError("the server's answer is no Node's metadata") from error


@dataclass(frozen=True)
class Patch:
    """One PATCH of a Node: how, with which query, and what."""

    content_type: str
    query: str
    body: Mapping[str, Any]


def plan(name: str, desired: Labels, observed: Observed, keys: Keys) -> list[Patch]:
    """The patches that make the Node's labels the desired ones; none where they are already.

    Of `keys` none but the desired stays. What only another manager keeps on the Node goes first:
    should the second request fail, the books still say what we own.
    """
    patches, gone = [], sorted({*keys}.intersection(observed.labels).difference(desired))
    if nulls := [key for key in gone if key not in observed.owned or observed.others.get(key)]:
        metadata = {"labels": dict.fromkeys(nulls), "uid": observed.uid}
        patches.append(Patch(MERGE, f"fieldManager={FIELD_MANAGER}", {"metadata": metadata}))
    right = desired.items() <= observed.labels.items()
    if not right or observed.owned.difference(nulls) != desired.keys():
        # With the uid an apply never creates a Node, and never labels another of the same name.
        metadata = {"labels": dict(desired), "name": name, "uid": observed.uid or "unknown"}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
        patches.append(Patch(APPLY, f"fieldManager={FIELD_MANAGER}&force=true", body))
    return patches


def unwanted(desired: Labels, observed: Observed, ours: Keys = (), left: Keys = ()) -> list[str]:
    """The keys on the Node that are to go: ours, and what the Go labeller left.

    Ours are those that the Node's managedFields say we applied, and `ours`, which we remember.
    The Go labeller's are under its literal prefix, whatever ours is. `left` is left alone.
    """
    old = {key for key in observed.labels if key.startswith(GO_LABELLER_PREFIX)}
    there = old.union(ours, observed.owned).intersection(observed.labels)
    return sorted(there.difference(desired, left))


def clearable(desired: Labels, observed: Observed) -> set[str]:
    """The keys that `clear` takes off: ours, and no other's.

    After a reset of managedFields nobody owns a label. Then what we would set now, to the letter,
    was ours.
    """
    same = [key for key, value in desired.items() if observed.labels.get(key) == value]
    nobodys = {key for key in same if observed.others.get(key, set()) <= {NO_MANAGER}}
    return nobodys.union(observed.owned.intersection(observed.labels))


def changed(before: Labels, after: Labels, keys: Keys | None = None) -> list[str]:
    """How labels differ: `+key=value` for new and other values, `-key`; of `keys` or of all."""
    every = sorted({*before, *after} if keys is None else keys)
    added = [f"+{k}={after[k]}" for k in every if k in after and before.get(k) != after[k]]
    return added + [f"-{k}" for k in every if k in before and k not in after]
