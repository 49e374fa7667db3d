"""`make release-check VERSION=X`: whether all that names the version names that one.

The version's place is `__version__`; the package, `dtagent --version` and the wheel take it from
there. The others are for readers, and this compares them (docs/releasing.md).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from deb.source import CHECKOUT

VERSION = re.compile(r"\d+\.\d+\.\d+")
PLACES = {
    "dtagent/__init__.py": r'^__version__ = "(.*)"$',
    "CHANGELOG.md": r"^## (\S+)",
    "packaging/debian/changelog": r"\Adtagent \((.*?)\) ",
    "packaging/man/dtagent.8": r"^\.Os dtagent ?(.*)$",
    "packaging/man/dtagent.toml.5": r"^\.Os dtagent ?(.*)$",
}
"""Each file, and the first thing in it that is the version."""


def differences(version: str, tree: Path) -> Iterator[str]:
    """A line for each file of a checkout that names another version, or none."""
    for name, pattern in PLACES.items():
        found = re.search(pattern, (tree / name).read_text(), re.MULTILINE)
        said = found[1] if found and found[1] else "no version"
        if said != version:
            yield f"{name} says {said}, and not {version}"


def main() -> int:
    version = sys.argv[1] if len(sys.argv) > 1 else ""
    if not VERSION.fullmatch(version):
        print(f"VERSION is {version!r}: give three numbers, as in VERSION=1.2.3", file=sys.stderr)
        return 2
    found = list(differences(version, CHECKOUT))
    for line in found:
        print(line, file=sys.stderr)
    if found:
        return 1
    if f"## {version} (unreleased)" in (CHECKOUT / "CHANGELOG.md").read_text():
        print("CHANGELOG.md has no date for it yet", file=sys.stderr)
    print(f"everything says {version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
