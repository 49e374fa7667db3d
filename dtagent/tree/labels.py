"""Nodes and settings into the labels that the Kubernetes Node should carry.

Pure: it touches nothing but the nodes it is given. The keys are k8s-dt-node-labeller's where those
were right, `<prefix><vendor>-<model>` with the number of nodes as value; the rest of the rules, and
a note wherever one of them had to change, merge or drop something, are this file.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dtagent import names
from dtagent.config.settings import Rule, Settings
from dtagent.tree.devicetree import Node

MAX_LABELS = 256
NOTES_MAX = 256  # one is the most among Debian's boards: past these somebody means harm
NAMED_MAX = 16  # of many, in one note
NEAR_MAX = 1000  # names that a selector is compared with; the largest of Debian's boards has 997
OVERLAY_PREFIX = "overlay.devicetree.org/"


class Labels(NamedTuple):
    """Label keys to values, and a note for each that had to be changed, merged or dropped."""

    labels: Mapping[str, str]
    notes: Sequence[str] = ()


def decide(
    nodes: Iterable[Node], settings: Settings, overlays: Iterable[str] = (), near: bool = False
) -> Labels:
    """Decide the labels in one walk over `nodes`, reading no more than the selectors need.

    `overlays` are the names of those that are applied at run time. With `near` the note of a
    selector that chose nothing has the names that are like it: that takes another walk each, which
    an agent whose HAT is not plugged in is spared.
    """
    counted = settings.devicetree.nodes
    chosen = select(nodes, [*counted, *(rule.node for rule in settings.rules)])
    missing = [text for text, group in chosen.items() if not group]
    like = {text: _near(text, nodes) if near else "" for text in missing}
    notes = [f"{names.quoted(text)} chooses no node{like[text]}" for text in missing]
    if not settings.devicetree.include_disabled:
        chosen = {text: [n for n in group if n.available()] for text, group in chosen.items()}
    # A node that two selectors choose is still one node.
    unique = {node.path: node for text in counted for node in chosen[text]}
    labels = _counts(unique.values(), settings, notes)
    for rule in settings.rules:
        if (value := _rule_value(rule, chosen[rule.node], notes)) is not None:
            if rule.label in labels:
                notes.append(f"{rule.label}: its rule's value stands, not a compatible's count")
            labels[rule.label] = value
            if settings.publish == "nfd" and "/" not in rule.label:
                notes.append(f"{rule.label}: nfd-master puts it in feature.node.kubernetes.io")
    for name in sorted(overlays) if settings.overlays.labels else ():
        if key := _fitted(OVERLAY_PREFIX, name, name, f"overlay {names.quoted(name)}", notes):
            labels[key] = "applied"
    keys = sorted(labels)
    if dropped := ", ".join(_few(keys[MAX_LABELS:], NAMED_MAX)):
        notes.insert(0, f"dropped, more than {MAX_LABELS} labels: {dropped}")
    return Labels({key: labels[key] for key in keys[:MAX_LABELS]}, _few(notes, NOTES_MAX))


def select(nodes: Iterable[Node], selectors: Iterable[str]) -> dict[str, list[Node]]:
    """For each selector the nodes that it chooses, in one walk and in the tree's order."""
    parsed = [names.Selector.parse(text) for text in dict.fromkeys(selectors)]
    by_compatible = any(selector.kind == "compatible" for selector in parsed)
    chosen: dict[str, list[Node]] = {selector.text: [] for selector in parsed}
    for node in nodes:
        texts = {"path": [node.path], "name": [node.name]}
        if by_compatible:
            texts["compatible"] = node.strings("compatible")
        for selector in parsed:
            if any(map(selector.pattern.match, texts[selector.kind])):
                chosen[selector.text].append(node)
        if all(text == "/" for text in chosen):
            break
    return chosen


def _near(text: str, nodes: Iterable[Node]) -> str:
    """What a selector may have been meant to be, as the end of a note."""
    import difflib  # 0.2 MiB, and not the agent's

    kind = names.Selector.parse(text).kind
    if kind == "compatible":
        words = {word for node in nodes for word in node.strings(kind)}
    else:  # a unit address is not misspelt: `gpu` stands for gpu@57000000
        words = {node.path if kind == "path" else node.name.partition("@")[0] for node in nodes}
    known = sorted(word for word in words if len(word) <= names.QUOTE_MAX)[:NEAR_MAX]
    near = difflib.get_close_matches(text.removeprefix("compatible:"), known)
    return f"; near it are {', '.join(map(names.quoted, near))}" if near else ""


def _counts(nodes: Iterable[Node], settings: Settings, notes: list[str]) -> dict[str, str]:
    """A label for each compatible string, with the number of nodes that have it."""
    prefix, aliases = settings.labels.prefix, settings.labels.vendor_aliases
    found: Counter[str] = Counter()
    spellings = defaultdict(set)
    for node in nodes:
        keys = {}
        for text in node.strings("compatible"):
            vendor, comma, model = text.partition(",")
            plain = (aliases.get(vendor, vendor) if comma else vendor) + comma + model
            if key := _fitted(prefix, plain.replace(",", "-"), text, names.quoted(text), notes):
                keys[key] = 1  # two of one key are one
                spellings[key].add(names.quoted(text))
        found.update(keys)
    for key, several in spellings.items():
        if len(several) > 1:
            notes.append(f"{key}: counts {', '.join(_few(sorted(several), NAMED_MAX))} together")
    return {key: str(count) for key, count in found.items()}


def _few(texts: Iterable[str], most: int) -> tuple[str, ...]:
    """The first of them, each once, and how many more there are."""
    every = tuple(dict.fromkeys(texts))
    more = len(every) - most
    return (*every[:most], f"and {more} more") if more > 0 else every


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
    """The value of a rule's label: its constant, a property of the first node, or their number."""
    having = [node for node in nodes if rule.property is None or rule.property in node.properties]
    if not having or rule.value is not None:
        return rule.value if having else None
    if rule.property is None:
        return str(len(having))
    values = (node.get(rule.property) or b"" for node in having)
    first = next(values)
    text = property_text(first, rule.type, rule.index)
    if text is None:
        where = "not just one" if rule.index is None else f"at index {rule.index} there is no"
        what = f"{rule.property} has {len(first)} bytes, {where} {rule.type}"
        notes.append(f"{rule.label}: dropped, {what}")
        return None
    if any(property_text(value, rule.type, rule.index) != text for value in values):
        notes.append(f"{rule.label}: nodes differ in {rule.property}; the first one's value stands")
    value = names.fit(text, unique=first if rule.index is None else text.encode())
    if not value:
        notes.append(f"{rule.label}: dropped, {names.quoted(text)} has no letter or digit")
        return None
    if value != text:
        notes.append(f"{rule.label}: {value} stands for {names.quoted(text)}")
    return value


def property_text(value: bytes, kind: str = "text", index: int | None = None) -> str | None:
    """A property's bytes by the value types of the Devicetree Specification 2.2.4, or None.

    One number, or the one at `index` of many. Text is the string at `index`; without one, empty is
    a true boolean, printable strings are joined by '_', four bytes are a number, and anything else
    is its hexadecimal digits.
    """
    if kind != "text":
        size = int(kind[1:3]) // 8  # of "u32-hex"
        start = (index or 0) * size
        if start >= len(value) or len(value) % size or (index is None and len(value) != size):
            return None
        number = int.from_bytes(value[start : start + size], "big")
        return f"{number:x}" if kind.endswith("-hex") else str(number)
    *parts, end = value.decode("utf-8", "surrogateescape").split("\0")
    strings = parts if not end and all(part and part.isprintable() for part in parts) else []
    if index is not None:
        return strings[index] if index < len(strings) else None
    if not value:
        return "true"
    if strings:
        return "_".join(strings)
    return str(int.from_bytes(value, "big")) if len(value) == 4 else value.hex()
