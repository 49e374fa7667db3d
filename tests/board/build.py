"""Builds what the board boots, or finds it in the cache: python3 -m tests.board.build"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deb.host import HostError, ensure

from .kernel import kernel
from .rootfs import rootfs

PACKAGES = (
    "bc",
    "bison",
    "debian-archive-keyring",
    "device-tree-compiler",  # dtc, fdtput
    "e2fsprogs",
    "flex",
    "gcc",
    "gcc-aarch64-linux-gnu",
    "libc6-dev",  # the kernel's own build tools are compiled for this machine
    "make",
    "qemu-system-arm",
    "util-linux",  # setpriv, unshare
    "xz-utils",
)
"""What building and running the board asks of this machine."""


@dataclass(frozen=True)
class Images:
    """The two files a board is booted from."""

    kernel: Path
    rootfs: Path


def images() -> Images:
    """Both images, built if they are not there yet: minutes then, well under a second if not."""
    ensure(PACKAGES)
    return Images(kernel=kernel(), rootfs=rootfs())


def main() -> int:
    """Build everything, saying how long each part took."""
    steps: dict[str, Callable[[], object]] = {
        "host packages": lambda: ensure(PACKAGES),
        "rootfs": rootfs,
        "kernel": kernel,
    }
    for name, step in steps.items():
        began = time.monotonic()
        try:
            made = step()
        except HostError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        print(f"{name}: {time.monotonic() - began:.0f} s {made or ''}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
