"""The board's root file system: Debian trixie for arm64 with systemd and the agent's libraries.

Packages are unpacked, recorded with dpkg, and configured by the few steps below instead of by
their maintainer scripts: those would have to run under emulation, which takes ten minutes, and
almost all that they do is byte-compile Python. That and the system users are made natively, by
trixie's own tools for this machine's architecture: neither depends on the architecture.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deb.cache import cached
from deb.host import run
from deb.root import RECIPE, architecture, unpacked

from .dpkg import record

HERE = Path(__file__).parent
GUEST = HERE / "guest"
PACKAGES = (
    "?essential",
    "python3",
    "python3-kubernetes",
    "python3-pydantic-settings",
    "python3-sdnotify",
    "python3-systemd",
    "python3-watchdog",
    "python3-yaml",
    "systemd",
    "systemd-sysv",
)
TOOLS = ("python3", "systemd-standalone-sysusers")
UNWANTED = (
    "boot/*",
    "usr/include/*",
    "usr/lib/*/gconv",
    # Each is one more process to start in a boot; only debug-generator stays, for systemd.wants=.
    "usr/lib/systemd/system-generators/systemd-[!d]*",
    "usr/share/bash-completion",
    "usr/share/doc/*",
    "usr/share/i18n",
    "usr/share/info/*",
    "usr/share/javascript/*",
    "usr/share/lintian",
    "usr/share/locale/*",
    "usr/share/man/*",
    "usr/share/nodejs",
    "usr/share/zoneinfo/*",
    "usr/share/zsh",
    "var/lock",  # links, once the script of base-files has run
    "var/run",
)
# Written over what the packages bring. The machine id is any: an empty one makes a first boot.
FILES = {
    "etc/hostname": "board\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 board\n10.0.2.2 host\n",
    "etc/machine-id": "d7a6e2b0a4d1c0ffee0000000000b0a2\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
}
LINKS = {
    "etc/systemd/system/default.target": "/usr/lib/systemd/system/multi-user.target",
    "etc/systemd/system/sysinit.target.wants/board-control.service": (
        "/etc/systemd/system/board-control.service"
    ),
    "var/run": "/run",
    "var/lock": "/run/lock",
}
# Units that have nothing to do here: the kernel has no modules, nobody logs in.
MASKED = (
    "getty.target",
    "ldconfig.service",
    "systemd-modules-load.service",
)
SPARE = 256 << 20  # bytes left free for what the tests bring along


def rootfs() -> Path:
    """The ext4 image, from the cache or built now. It is to be booted as a snapshot only."""
    modules = [Path(__file__), HERE / "dpkg.py"]
    return cached("board-rootfs", [*RECIPE, *modules, *GUEST.iterdir()], _build) / "rootfs.ext4"


def _build(result: Path, scratch: Path) -> None:
    root = scratch / "root"
    tools = scratch / "tools"
    for folder in (root, tools):
        folder.mkdir()
    for deb in unpacked("trixie", "arm64", PACKAGES, root):
        record(deb, root)
    unpacked("trixie", architecture(), TOOLS, tools)
    _remove_unwanted(root)
    _configure(root, tools)
    _byte_compile(root, tools)
    shutil.copy(root / "var/lib/dpkg/status", result / "packages")
    _make_image(root, result / "rootfs.ext4")


def _remove_unwanted(root: Path) -> None:
    for pattern in UNWANTED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _native(tools: Path, program: str, *arguments: str | Path) -> None:
    """Run a program of the unpacked native trixie with its own loader and libraries."""
    (loader,) = (tools / "usr").glob("lib*/ld-linux-*.so.*")
    (library,) = (tools / "usr/lib").glob("*-linux-gnu")
    path = f"{library}:{library}/systemd"
    home = {"PYTHONHOME": str(tools / "usr")}
    run(loader, "--library-path", path, tools / "usr/bin" / program, *arguments, env=home)


def _configure(root: Path, tools: Path) -> None:
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    _native(tools, "systemd-sysusers", f"--root={root}")
    for path, content in FILES.items():
        (root / path).write_text(content)
    masks = {f"etc/systemd/system/{unit}": "/dev/null" for unit in MASKED}
    for path, target in {**LINKS, **masks}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)
    board = root / "usr/lib/board"
    board.mkdir()
    shutil.copy(GUEST / "control.py", board)
    shutil.copy(GUEST / "init", board)
    (board / "init").chmod(0o755)
    shutil.copy(GUEST / "board-control.service", root / "etc/systemd/system")
    # What update-ca-certificates makes; python3-requests reads it when it is imported.
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    bundle.write_bytes(b"".join(path.read_bytes() for path in certificates))
    # Newer than /usr, so that no boot does the chores of a first one (systemd-update-done(8)).
    for stamp in ("etc/.updated", "var/.updated"):
        (root / stamp).touch()


def _byte_compile(root: Path, tools: Path) -> None:
    """Compile every module, as the packages' scripts would; uncompiled, an import takes minutes.

    The form that is never checked against the source is the quickest to import.
    """
    modules = [root / "usr/lib/python3", root / "usr/lib/python3.13"]
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/"]
    _native(tools, "python3.13", "-S", "-m", "compileall", *options, *modules)


def _make_image(root: Path, image: Path) -> None:
    used = sum(path.lstat().st_size + 4096 for path in root.rglob("*"))
    # Not root, the files would belong to a user the board has never heard of.
    as_root = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    options = ["-q", "-L", "board", "-O", "^has_journal", "-m", "0"]
    run(*as_root, "mkfs.ext4", *options, "-d", root, image, str((used + SPARE) // 1024))
