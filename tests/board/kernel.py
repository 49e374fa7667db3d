"""The board's kernel: Debian's own source, the overlay driver beside it, a small configuration.

Every choice that kernel.fragment does not make is no, which is what tinyconfig is too, less its
choices for size. Cross-built, so that this is minutes and not hours.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deb.cache import cached
from deb.host import HostError, run
from deb.root import unpacked

HERE = Path(__file__).parent
FRAGMENT = HERE / "kernel.fragment"
DRIVER = HERE / "driver"
SOURCE = "linux-source-6.12"
# Half of what is in the archive, and nothing that this build or its configuration reads.
UNREAD = ("Documentation/*/*", "drivers/gpu/drm/amd/include/*", "tools/testing/*", "sound/*/*/*.c")
CROSS = {"ARCH": "arm64", "CROSS_COMPILE": "aarch64-linux-gnu-"}


def kernel() -> Path:
    """The kernel image, from the cache or built now."""
    inputs = [Path(__file__), FRAGMENT, *DRIVER.iterdir()]
    return cached("board-kernel", inputs, _build) / "Image"


def _build(result: Path, scratch: Path) -> None:
    package, tree = scratch / "package", scratch / "linux"
    for folder in (package, tree):
        folder.mkdir()
    unpacked("trixie", "arm64", [SOURCE], package)
    unread = [f"--exclude={SOURCE}/{pattern}" for pattern in UNREAD]
    archive = package / f"usr/src/{SOURCE}.tar.xz"
    run("tar", "-xJf", archive, "--strip-components=1", *unread, "-C", tree)
    _add_driver(tree)
    run("make", "-s", "allnoconfig", cwd=tree, env={**CROSS, "KCONFIG_ALLCONFIG": str(FRAGMENT)})
    _check_configuration(tree / ".config")
    run("make", "-s", f"-j{os.cpu_count() or 1}", "Image", cwd=tree, env=CROSS)
    shutil.copy(tree / "arch/arm64/boot/Image", result / "Image")
    shutil.copy(tree / ".config", result / "config")


def _add_driver(tree: Path) -> None:
    shutil.copytree(DRIVER, tree / "drivers/of/dialects")
    with open(tree / "drivers/of/Makefile", "a") as makefile:
        makefile.write("obj-y += dialects/\n")
    with open(tree / "drivers/of/Kconfig", "a") as kconfig:
        kconfig.write('source "drivers/of/dialects/Kconfig"\n')


def _check_configuration(config: Path) -> None:
    """Kconfig drops a choice whose dependencies are not met without a word: say which."""
    made = set(config.read_text().splitlines())
    asked = [line for line in FRAGMENT.read_text().splitlines() if line.startswith("CONFIG_")]
    lost = [line for line in asked if line not in made]
    if lost:
        raise HostError(f"kernel.fragment asks for what this kernel did not take: {lost}")
