"""The bundled flavour at work on the machines it is for: arm64 and armhf, and CPython 3.10.

An arm program runs in qemu's user emulation (qemu-user(1)), in a folder of Debian 12's own packages
that were unpacked and not installed: it takes seconds, where installing under emulation takes ten
minutes. Ubuntu 22.04's CPython is not to be had from Debian; pyenv's stands in where there is one.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from deb import cache, host, root
from deb.build import FLAVOURS, Flavour
from deb.package import depends
from demo.jetson_nano import JETSON_NANO
from demo.tree import write_tree

from .conftest import Package, named, unpacked

EMULATORS = {"arm64": "qemu-aarch64-static", "armhf": "qemu-arm-static"}
FOREIGN = [flavour for flavour in FLAVOURS if flavour.architecture in EMULATORS]
LABELS = """\
beta.devicetree.org/nvidia-jetson-nano: 1
beta.devicetree.org/nvidia-tegra210: 1
"""
IMPORTS = """
import importlib, pkgutil, sys
sys.path.insert(0, "/usr/lib/dtagent")
import dtagent
for module in pkgutil.walk_packages(dtagent.__path__, "dtagent."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from dtagent.cluster import client
print(client.rest.__file__)
"""


@pytest.fixture(scope="module", params=FOREIGN, ids=named)
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the package, what it depends on, a devicetree and the emulator itself."""
    host.ensure(["qemu-user-static"])
    flavour: Flavour = request.param
    package = unpacked(flavour, tmp_path_factory.mktemp("package"))
    folder = tmp_path_factory.mktemp("board") / "root"
    shutil.copytree(depended_on(package), folder, symlinks=True)
    shutil.copytree(package.files, folder, symlinks=True, dirs_exist_ok=True)
    emulator = shutil.which(EMULATORS[flavour.architecture])
    assert emulator
    shutil.copy(emulator, folder / "emulator")
    write_tree(JETSON_NANO, folder / "tree")
    return folder


def depended_on(package: Package) -> Path:
    """What the package depends on in Debian 12, unpacked."""
    names, flavour = depends(package.deb), package.flavour

    def make(made: Path, _: Path) -> None:
        root.unpacked(flavour.suite, flavour.architecture, names, made)

    inputs: list[Path | str] = [*root.RECIPE, flavour.suite, " ".join(names)]
    return cache.cached(f"depends-{flavour.architecture}", inputs, make)


def emulated(board: Path, *command: str) -> str:
    return host.run("chroot", board, "/emulator", *command, merged=False)


def test_it_scans_on_an_arm_board(board: Path) -> None:
    scanned = emulated(board, "/usr/bin/python3", "-I", "/usr/bin/dtagent", "scan", "--root=/tree")
    assert scanned == LABELS


def test_its_agent_and_its_part_of_the_kubernetes_client_load_on_an_arm_board(board: Path) -> None:
    loaded = emulated(board, "/usr/bin/python3", "-I", "-c", IMPORTS)
    assert loaded == "/usr/lib/dtagent/kubernetes/client/rest.py\n"


def python310() -> str:
    """One that runs: pyenv's python3.10 on PATH may be a shim with nothing behind it."""
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob("3.10.*/bin/python3"))
    for candidate in ("python3.10", *map(str, pyenv)):
        if (
            shutil.which(candidate)
            and subprocess.run([candidate, "-c", ""], check=False).returncode == 0
        ):
            return candidate
    return pytest.skip("neither a python3.10 on PATH that runs nor one of pyenv's")


def test_it_scans_with_the_python_of_ubuntu_2204(native: Package, tmp_path: Path) -> None:
    python = python310()
    write_tree(JETSON_NANO, tmp_path / "tree")
    launcher = (native.files / "usr/bin/dtagent").read_text()
    moved = launcher.replace('"/usr/lib/dtagent"', repr(str(native.library)))
    assert moved != launcher
    (tmp_path / "dtagent").write_text(moved)
    done = subprocess.run(
        [python, "-I", tmp_path / "dtagent", "scan", "--root", tmp_path / "tree"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == LABELS
