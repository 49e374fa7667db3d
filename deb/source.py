"""The source that the packages are built from: the checkout's own files, and no junk around them.

What git tracks or would track is taken, so that a change is built before it is committed, and what
.gitignore names is not (git-ls-files(1)). Modes are set, for those of a checkout are the umask's;
so is the maintainer, who is whoever builds.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deb import host
from deb.maintainer import NOBODY, maintainer

CHECKOUT = Path(__file__).parent.parent
PARTS = (
    *("dtagent", "etc", "examples", "packaging", "LICENSE", "README.md", "pyproject.toml"),
    *("deb/__init__.py", "deb/sbom.py", "deb/unpack.py"),
)
"""What a build reads, and no more: a package is built anew when one of them changes."""

BUNDLED = Path("packaging/debian/bundled")
REVISION = "~bundled1"
"""After the bundled flavour's version: lower than the other flavour's (deb-version(7)), so that an
upgrade of the release goes from the one to the other."""


@dataclass(frozen=True)
class Source:
    """The files of one moment: their paths in the checkout, whether they can be run, their bytes.

    Held in memory, half a megabyte, so that what is built is what was identified, whoever edits.
    """

    files: Mapping[Path, tuple[bool, bytes]]

    @classmethod
    def of_checkout(cls) -> Source:
        git = ("git", "-c", f"safe.directory={CHECKOUT}", "-C", CHECKOUT, "ls-files", "-z")
        listed = host.run(*git, "--cached", "--others", "--exclude-standard", "--", *PARTS)
        paths = sorted({Path(name) for name in listed.split("\0") if name})
        there = [path for path in paths if (CHECKOUT / path).is_file()]
        return cls({path: (_runs(CHECKOUT / path), _content(path)) for path in there})

    def manifest(self) -> str:
        """A line for each file with all that identifies it."""
        return "".join(
            f"{hashlib.sha256(content).hexdigest()} {'x' if runs else '-'} {path}\n"
            for path, (runs, content) in self.files.items()
        )

    def export(self, folder: Path, bundled: bool) -> None:
        """Write the source of one flavour into an empty folder, ready for dpkg-buildpackage."""
        for path, (runs, content) in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o755 if runs else 0o644)
        (folder / "debian").symlink_to("packaging/debian")
        if bundled:
            _make_bundled(folder)
        shutil.rmtree(folder / BUNDLED)


def _content(path: Path) -> bytes:
    content = (CHECKOUT / path).read_bytes()
    if path.name in ("control", "changelog"):
        content = content.replace(NOBODY.encode(), maintainer().encode())
    return content


def _runs(path: Path) -> bool:
    return os.access(path, os.X_OK)


def _make_bundled(folder: Path) -> None:
    for path in sorted((folder / BUNDLED).iterdir()):
        path.replace(folder / "debian" / path.name)
    changelog = folder / "debian/changelog"
    plain, marked = f"({version()})", f"({version()}{REVISION})"
    changelog.write_text(changelog.read_text().replace(plain, marked, 1))


def version() -> str:
    """dtagent's version, which the newest entry of the changelog must be of too."""
    said = (CHECKOUT / "dtagent/__init__.py").read_text()
    (own,) = re.findall(r'^__version__ = "(.+)"$', said, re.MULTILINE)
    entry = (CHECKOUT / "packaging/debian/changelog").read_text().partition("\n")[0]
    if not entry.startswith(f"dtagent ({own}) "):
        raise host.HostError(f"dtagent is {own}, and packaging/debian/changelog begins: {entry}")
    return str(own)
