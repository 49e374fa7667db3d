"""Nodes and settings into the labels that the Kubernetes Node should carry.

Pure: it touches nothing but the nodes it is given. The keys are k8s-dt-node-labeller's where those
were right, `<prefix><vendor>-<model>` with the number of nodes as value; the rest of the rules, and
a note wherever one of them had to change, merge or drop something, are this file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dtagent import names
from dtagent.config.settings import Rule, Settings
from dtagent.names import Selector
from dtagent.tree.devicetree import Node, select

MAX_LABELS = 256
NOTES_MAX = 256  # one is the most among Debian's boards: past these somebody means harm
NAMED_MAX = 16  # of many, in one note
OVERLAY_PREFIX = "overlay.devicetree.org/"


@dataclass(frozen=True)
class Labels:
    """Label keys to values, and a note for each that had to be changed, merged or dropped."""

    labels: Mapping[str, str]
    notes: Sequence[str] = ()


def decide(nodes: Iterable[Node], settings: Settings, overlays: Iterable[str] = ()) -> Labels:
    """Decide the labels in one walk over `nodes`, reading no more than the selectors need.

    `overlays` are the names of those that are applied at run time.
    """
    counted = settings.devicetree.nodes
    selectors = [Selector.parse(text) for text in (*counted, *(r.node for r in settings.rules))]
    selected = [
        [node for node in group if settings.devicetree.include_disabled or node.available()]
        for group in select(nodes, selectors)
    ]
    notes: list[str] = []
    # A node that two selectors choose is still one node.
    unique = {node.path: node for group in selected[: len(counted)] for node in group}
    labels = _counts(unique.values(), settings, notes)
    for rule, group in zip(settings.rules, selected[len(counted) :], strict=True):
        value = _rule_value(rule, group, notes)
        if value is not None:
            if rule.label in labels:
                notes.append(f"{rule.label}: its rule's value stands, not a compatible's count")
            labels[rule.label] = value
            if settings.publish == "nfd" and "/" not in rule.label:
                notes.append(f"{rule.label}: nfd-master puts it in feature.node.kubernetes.io")
    for name in sorted(overlays) if settings.overlays.labels else ():
        what = f"overlay {names.quoted(name)}"
        if key := _fitted(OVERLAY_PREFIX, name, name, what, notes):
            labels[key] = "applied"
    keys = sorted(labels)
    if dropped := ", ".join(_few(keys[MAX_LABELS:], NAMED_MAX)):
        notes.insert(0, f"dropped, more than {MAX_LABELS} labels: {dropped}")
    return Labels({key: labels[key] for key in keys[:MAX_LABELS]}, _few(notes, NOTES_MAX))


def _counts(nodes: Iterable[Node], settings: Settings, notes: list[str]) -> dict[str, str]:
    found: Counter[str] = Counter()
    keys: dict[str, str] = {}
    for node in nodes:
        compatibles = dict.fromkeys(node.strings("compatible"))
        keys |= {text: _key(text, settings, notes) for text in compatibles if text not in keys}
        # Two of one key are one; "" stands for those that have none.
        found.update({keys[text] for text in compatibles} - {""})
    spellings = defaultdict(list)
    for text, key in keys.items():
        spellings[key].append(names.quoted(text))
    for key, several in spellings.items():
        if key and len(several) > 1:
            notes.append(f"{key}: counts {', '.join(_few(sorted(several), NAMED_MAX))} together")
    return {key: str(count) for key, count in found.items()}


def _few(texts: Iterable[str], most: int) -> tuple[str, ...]:
    """The first of them, each once, and how many more there are."""
    every = tuple(dict.fromkeys(texts))
    more = len(every) - most
    return (*every[:most], f"and {more} more") if more > 0 else every


def _key(compatible: str, settings: Settings, notes: list[str]) -> str:
    """The label key of a compatible string, or "" when nothing of it can stand in one."""
    vendor, comma, model = compatible.partition(",")
    if comma:
        vendor = settings.labels.vendor_aliases.get(vendor, vendor)
    plain = (vendor + comma + model).replace(",", "-")
    return _fitted(settings.labels.prefix, plain, compatible, names.quoted(compatible), notes)


def _fitted(prefix: str, plain: str, unique: str, what: str, notes: list[str]) -> str:
    """The label key for `what`, by `plain` as far as that can stand in one, or ""."""
    name = names.fit(plain, unique.encode("utf-8", "surrogateescape"))
    if not name:
        notes.append(f"{what}: dropped, it has no letter or digit")
        return ""
    if name != plain:
        notes.append(f"{prefix}{name}: stands for {what}")
    return prefix + name


def _rule_value(rule: Rule, nodes: Sequence[Node], notes: list[str]) -> str | None:
    """The value of a rule's label: a property of the first node that has it, or their number."""
    if rule.property is None:
        return str(len(nodes)) if nodes else None
    found = (raw for node in nodes if (raw := node.get(rule.property)) is not None)
    first = next(found, None)
    if first is None:
        return None
    if any(raw != first for raw in found):
        notes.append(f"{rule.label}: nodes differ in {rule.property}; the first one's value stands")
    text = property_text(first)
    value = names.fit(text, unique=first)
    if not value:
        notes.append(f"{rule.label}: dropped, {names.quoted(text)} has no letter or digit")
        return None
    if value != text:
        notes.append(f"{rule.label}: {value} stands for {names.quoted(text)}")
    return value


def property_text(value: bytes) -> str:
    """A property's bytes as text, by the value types of the Devicetree Specification 2.2.4.

    Empty is a true boolean, printable strings are joined by '_', four bytes are a number, and
    anything else is its hexadecimal digits.
    """
    if not value:
        return "true"
    parts = value.decode("utf-8", "surrogateescape").split("\0")
    if parts[-1] == "" and all(part and part.isprintable() for part in parts[:-1]):
        return "_".join(parts[:-1])
    return str(int.from_bytes(value, "big")) if len(value) == 4 else value.hex()
