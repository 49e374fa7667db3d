"""The grammars: Kubernetes label keys and values, label prefixes, node selectors. Pure.

Sources: Kubernetes' `validation.IsQualifiedName` and `IsValidLabelValue`, RFC 1123 for the prefix,
the NodeRestriction admission plugin for the domains a node may not label itself with, and the
Devicetree Specification 2.2.1 for node names.
"""

import fnmatch
import hashlib
import re
from typing import NamedTuple

NAME_MAX = 63
PREFIX_MAX = 253
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_DNS_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*\Z")
_RESERVED = re.compile(r"(?:^|\.)(kubernetes\.io|k8s\.io)\Z")
_NODE_NAME = re.compile(r"[A-Za-z0-9,._+@#-]+\Z")
QUOTE_MAX = 128  # characters; no driver of Linux matches a longer compatible (of_device_id)
LINE_MAX = 512  # characters; a path in a message, and what is said of it


def label_key_problem(key: str) -> str | None:
    """Say why `key` is no label that a node may set on itself, or None when it is one."""
    domain, slash, name = key.rpartition("/")
    if slash and (len(domain) > PREFIX_MAX or not _SUBDOMAIN.match(domain)):
        return f"{quoted(domain)} is no domain: lower-case letters, digits, '-' and '.'"
    if reserved := _RESERVED.search(domain):
        return f"{reserved[1]} and its subdomains are Kubernetes' own; use a domain of yours"
    return _name_problem(name, "label name")


def label_value_problem(value: str) -> str | None:
    """Say why `value` cannot be a label's, or None when it can; an empty one can."""
    return _name_problem(value, "label value") if value else None


def _name_problem(name: str, what: str) -> str | None:
    if len(name) <= NAME_MAX and _NAME.match(name):
        return None
    rule = f"up to {NAME_MAX} letters, digits, '-', '_' or '.', with a letter or digit at both ends"
    return f"{quoted(name)} is no {what}: {rule}"


def prefix_problem(prefix: str) -> str | None:
    """Say why `prefix` cannot stand before a label's name, or None when it can."""
    if not prefix.endswith("/") or prefix == "/":
        return "a label prefix is a domain followed by '/', such as \"example.org/\""
    return label_key_problem(prefix + "x")


def fit(text: str, unique: bytes) -> str:
    """Turn any text into a label name or value of at most 63 characters, or "" if nothing is left.

    Characters outside the grammar become '-', the ends are trimmed to alphanumerics. What is too
    long is cut and ends in a hash of `unique`, so that two long texts never become one label.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "-", text).strip("-._")
    if len(name) <= NAME_MAX:
        return name
    digest = hashlib.sha256(unique).hexdigest()[:8]
    return name[: NAME_MAX - len(digest) - 1].rstrip("._-") + f"-{digest}"


def quoted(text: str) -> str:
    """`text` as an ASCII literal for a message: it may hold anything, and any amount of it."""
    return ascii(text) if len(text) <= QUOTE_MAX else f"{text[:QUOTE_MAX]!a}..."


def printable(text: str) -> str:
    """`text` with its control characters written out: nothing in it begins another line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """`text` as a message: printable, and it comes to an end."""
    return printable(text[:LINE_MAX]) + ("..." if len(text) > LINE_MAX else "")


class Selector(NamedTuple):
    """Which nodes of a tree are meant: those whose path, compatible or name `pattern` is all of."""

    text: str
    kind: str
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> "Selector":
        """Read `/PATH`, `compatible:GLOB` or NAME; ValueError says what else was found."""
        kind, _, glob = text.partition(":")
        if text.startswith("/"):
            parts = text.split("/")[1:]
            if text != "/" and not all(_NODE_NAME.match(part.replace("*", "x")) for part in parts):
                raise ValueError(f"{quoted(text)} is no path of a node, such as '/soc/i2c@*'")
            # A `*` ends at its component: with as many slashes in text and pattern, none is left
            # for it. fnmatch's own way with stars tries no split of a name twice.
            slashes = rf"(?=(?:[^/]*/){{{len(parts)}}}[^/]*\Z)"
            return cls(text, "path", re.compile(slashes + fnmatch.translate(text)))
        if kind == "compatible" and glob:
            return cls(text, kind, re.compile(fnmatch.translate(glob)))
        if not _NODE_NAME.match(text):
            what = f"{quoted(text)} is no node name"
            raise ValueError(f"{what}; write a NAME, a /PATH or 'compatible:GLOB'")
        # `gpu` is gpu, gpu@57000000 and gpu0@57000000, as the Go labeller's -n has it; the kernel
        # adds #1 to the second of two siblings of one name (drivers/of/kobj.c, safe_name).
        return cls(text, "name", re.compile(re.escape(text) + r"(?:\d*@[^/]*)?(?:#\d+)?\Z"))
