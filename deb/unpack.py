"""Lays the wheels that the bundled flavour carries into its package: python3 -m deb.unpack.

Runs inside the build, called by debian/rules, with nothing but the standard library. Files are as
the wheels have them; which are left out is said here. Wheels: packaging.python.org, "Binary
distribution format" and "Core metadata".
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from fnmatch import fnmatchcase
from pathlib import Path

LIBRARY = "usr/lib/dtagent"
DOCUMENTS = "usr/share/doc/dtagent/bundled"

ONLY = {"kubernetes": ("kubernetes/__init__.py", "kubernetes/client/__init__.py",
                       "kubernetes/client/configuration.py", "kubernetes/client/exceptions.py",
                       "kubernetes/client/rest.py")}  # fmt: skip
"""All that dtagent imports of the kubernetes client (dtagent/cluster/client.py): 17 MB of API
models and what would have to be byte-compiled for them on each small board stay out."""

# What a wheel says of itself stays beside its modules, for scanners of known vulnerabilities.
# RECORD would not be true here, and WHEEL and top_level.txt are for installers.
KEPT_METADATA = "METADATA"


@dataclass(frozen=True)
class Wheel:
    """One wheel's content, and what it says of itself."""

    file: Path
    archive: zipfile.ZipFile
    metadata: Message
    info: str  # the name of its .dist-info folder
    python: str  # the tag of the Pythons that it is for, such as cp310

    @classmethod
    def open(cls, file: Path) -> Wheel:
        archive = zipfile.ZipFile(file)
        (metadata,) = [
            name for name in archive.namelist() if fnmatchcase(name, "*.dist-info/METADATA")
        ]
        said = HeaderParser().parsestr(archive.read(metadata).decode())
        return cls(file, archive, said, metadata.partition("/")[0], file.stem.split("-")[-3])

    @property
    def name(self) -> str:
        return str(self.metadata["Name"])

    @property
    def version(self) -> str:
        return str(self.metadata["Version"])

    @property
    def license(self) -> str:
        """As an SPDX expression, or the words that it uses instead."""
        named = self.metadata["License-Expression"] or self.metadata["License"]
        return str(named).replace("Apache License Version 2.0", "Apache-2.0")

    def modules(self) -> Iterator[str]:
        """The names of the files to install under LIBRARY."""
        for name in self.archive.namelist():
            inside = not name.endswith("/") and not name.startswith(f"{self.info}/")
            wanted = ONLY.get(self.name, ("*",))
            if inside and any(fnmatchcase(name, pattern) for pattern in wanted):
                yield name

    def legal(self) -> Iterator[tuple[str, str]]:
        """Licences and bills of material: their names in the archive, and for DOCUMENTS.

        A bill is of one build, so each Python's extension module comes with another.
        """
        licenses = tuple(self.metadata.get_all("License-File", []))
        for name in self.archive.namelist():
            within = name.removeprefix(f"{self.info}/")
            if within.removeprefix("licenses/") in licenses:
                yield name, within.removeprefix("licenses/")
            elif within.startswith("sboms/") and within != "sboms/":
                yield name, f"{self.python}/{within.removeprefix('sboms/')}"


def install(wheels: list[Wheel], package: Path) -> None:
    """Lay out modules, metadata and legal documents; two wheels may bring the same file once."""
    for wheel in wheels:
        targets = {f"{LIBRARY}/{name}": name for name in wheel.modules()}
        metadata = f"{wheel.info}/{KEPT_METADATA}"
        targets[f"{LIBRARY}/{metadata}"] = metadata
        for name, place in wheel.legal():
            targets[f"{DOCUMENTS}/{wheel.name}/{place}"] = name
        for target, name in targets.items():
            _write(package / target, wheel.archive.read(name))
    _write(package / DOCUMENTS / "README", _table(wheels).encode())


def _write(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() != content:
        raise SystemExit(f"two wheels differ in {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _table(wheels: list[Wheel]) -> str:
    rows = sorted({(wheel.name, wheel.version, wheel.license) for wheel in wheels})
    lines = [f"{name:20} {version:10} {license_}" for name, version, license_ in rows]
    head = "What this package carries in /usr/lib/dtagent, from the wheels on PyPI, unedited:"
    partly = [f"  {file}" for files in ONLY.values() for file in files]
    body = [head, "", *lines, "", "Of kubernetes only what dtagent imports:", "", *partly, ""]
    return "\n".join(body)


def main() -> None:
    """For debian/rules: the folder of wheels, and the package's."""
    files, package = (Path(argument) for argument in sys.argv[1:])
    install([Wheel.open(file) for file in sorted(files.glob("*.whl"))], package)


if __name__ == "__main__":
    main()
