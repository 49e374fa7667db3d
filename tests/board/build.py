"""What the board boots, built or from the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deb.host import ensure

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
