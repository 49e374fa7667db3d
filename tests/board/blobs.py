"""The overlays under overlays/, compiled."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

from deb.host import ensure

SOURCES = Path(__file__).parent / "overlays"


@functools.cache
def overlay(name: str) -> bytes:
    """overlays/NAME.dts as the blob that a kernel takes, its labels kept as symbols (dtc -@)."""
    ensure(["device-tree-compiler"])
    return subprocess.run(
        ["dtc", "-@", "-I", "dts", "-O", "dtb", SOURCES / f"{name}.dts"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout


def overlays() -> dict[str, bytes]:
    """All of them, by name."""
    return {source.stem: overlay(source.stem) for source in sorted(SOURCES.glob("*.dts"))}
