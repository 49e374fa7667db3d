"""The wheels that the bundled flavour carries, from the machine's package index into the cache.

Before dpkg-buildpackage, which runs without network (Debian Policy 4.9). pip's `--require-hashes`
is what makes them the ones that were looked at; names, versions and hashes are in the lists.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deb import cache, host

LISTS = Path(__file__).parent.parent / "packaging/debian/bundled"
ANY, NATIVE = LISTS / "wheels-any.txt", LISTS / "wheels-native.txt"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}
"""Debian's architectures as the wheels' platform tags name them (packaging.python.org)."""

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""Ubuntu 22.04, Debian 12, Ubuntu 24.04, Debian 13. control has the same bounds."""

MANYLINUX = ("manylinux_2_17", "manylinux2014")  # one and the same: glibc 2.17 (PEP 600)


def wheels(architecture: str) -> list[Path]:
    """The files for one Debian architecture, fetched or from the cache."""
    folder = cache.cached("wheels", [Path(__file__), ANY, NATIVE], _fetch)
    return sorted([*(folder / "any").iterdir(), *(folder / architecture).iterdir()])


def _fetch(made: Path, scratch: Path) -> None:
    _download(ANY, made / "any", PYTHONS[0], ["any"])
    for architecture, machine in MACHINES.items():
        for python in PYTHONS:
            platforms = [f"{tag}_{machine}" for tag in MANYLINUX]
            _download(NATIVE, made / architecture, python, platforms)


def _download(listed: Path, folder: Path, python: str, platforms: list[str]) -> None:
    options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--quiet"]
    options += [f"--platform={platform}" for platform in platforms]

    pip = (sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "download")
    host.run(*pip, *options, f"--python-version={python}", f"--dest={folder}", "-r", listed)
