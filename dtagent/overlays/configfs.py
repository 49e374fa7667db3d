"""Devicetree overlays under configfs: where they are, and which are applied.

Dialects: the vendor's (Raspberry Pi, Xilinx, most BSP kernels) has `path`, `dtbo` and `status` in a
folder an overlay and `status` reads `applied`; the switch (dtbocfg) has `dtbo` and `status`, which
reads 1. Some kernels say `applied` of one that failed; that one holds no blob.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from dtagent.config.settings import Settings
from dtagent.errors import TreeError

MOUNTINFO = Path("/proc/self/mountinfo")
_LIVE = ("/sys/firmware/devicetree/base", "/proc/device-tree")
_SUBFOLDER = "device-tree/overlays"
_REMEDY = "dtagent must be able to list the overlays' folder: chmod it, or set [overlays] path"


def concern(settings: Settings) -> bool:
    """Whether this host's overlays are part of the tree that is scanned."""
    return bool(settings.overlays.path) or str(settings.devicetree.root) in _LIVE


def find(configured: str, mountinfo: Path = MOUNTINFO) -> Path | None:
    """The configured folder if it is there, else the one of whatever configfs is mounted.

    TreeError where a folder is, or may be, that cannot be listed.
    """
    if configured:
        places = [Path(configured)]
    else:
        places = [mount / _SUBFOLDER for mount in _configfs(mountinfo)]
    for place in places:
        try:
            os.scandir(place).close()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise TreeError(f"{place}: {error.strerror}; {_REMEDY}") from error
        return place
    return None


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
            found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return frozenset()
    return frozenset(re.sub(r"\A\d+_(?=.)", "", each.name) for each in found if _is_applied(each))


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
    """What differs once an overlay has come or gone, for whoever has to ask time and again."""
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime_ns, applied(folder)
    return None
