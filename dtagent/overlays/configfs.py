"""Devicetree overlays under configfs: where they are, and which are applied.

Dialects: the vendor's (Raspberry Pi, Xilinx, most BSP kernels) has `path`, `dtbo` and `status` in a
folder an overlay and `status` reads `applied`; the switch (dtbocfg) has `dtbo` and `status`, which
reads 1. Some kernels say `applied` of one that failed; that one holds no blob.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from dtagent.config.settings import Settings

MOUNTINFO = Path("/proc/self/mountinfo")
_LIVE = ("/sys/firmware/devicetree/base", "/proc/device-tree")
_SUBFOLDER = "device-tree/overlays"


def concern(settings: Settings) -> bool:
    """Whether this host's overlays are part of the tree that is scanned."""
    return bool(settings.overlays.path) or str(settings.devicetree.root) in _LIVE


def find(configured: str, mountinfo: Path = MOUNTINFO) -> Path | None:
    """The configured folder if it is there, else the one of whatever configfs is mounted."""
    if configured:
        places = [Path(configured)]
    else:
        places = [mount / _SUBFOLDER for mount in _configfs(mountinfo)]
    return next((place for place in places if place.is_dir()), None)


def _configfs(mountinfo: Path) -> list[Path]:
    """Where configfs is mounted (proc(5), /proc/pid/mountinfo), the newest mount last."""
    mounts = []
    for line in mountinfo.read_text("utf-8", "surrogateescape").splitlines():
        fields, _, filesystem = line.partition(" - ")
        _, _, _, root, mount, *_ = fields.split(" ")
        if filesystem.split(" ")[0] == "configfs" and root == "/":
            # Blanks and backslashes in a path are octal there.
            mounts.append(Path(re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), mount)))
    return mounts


def applied(folder: Path | None) -> frozenset[str]:
    """The names of the applied overlays; dtoverlay's number before a name is not part of it."""
    try:
        with os.scandir(folder or "") as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return frozenset()
    assert folder is not None
    return frozenset(
        re.sub(r"\A\d+_(?=.)", "", name) for name in names if _is_applied(folder / name)
    )


def _is_applied(overlay: Path) -> bool:
    status = _read(overlay / "status", 16).strip()
    holds_blob = bool(_read(overlay / "path", 4096).strip(b"\0\n") or _read(overlay / "dtbo", 1))
    return status in (b"applied", b"1") and holds_blob


def _read(file: Path, size: int) -> bytes:
    """The first bytes, or none from what has gone, is of the other dialect, or is for writing."""
    try:
        with file.open("rb", buffering=0) as stream:
            return stream.read(size) or b""
    except OSError:
        return b""


def listing(folder: Path) -> object:
    """What an overlay's coming or going changes, as far as a listing shows it."""
    try:
        return {
            (overlay.name, file.name, _stamp(file), _status(file))
            for overlay in folder.iterdir()
            for file in (overlay, *overlay.iterdir())
        }
    except OSError as error:
        return error.errno


def _stamp(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _status(file: Path) -> bytes:
    return file.read_bytes() if file.name == "status" else b""


def identity(folder: Path | None) -> tuple[int, int] | None:
    """What tells a folder from another that came in its place: unmount and mount, say."""
    try:
        status = folder.stat() if folder else None
    except OSError:
        status = None
    return (status.st_dev, status.st_ino) if status else None
