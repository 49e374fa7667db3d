"""Devicetree overlays under configfs: where they are, and which are applied.

Dialects: the vendor's (Raspberry Pi, Xilinx, most BSP kernels) has `path`, `dtbo` and `status` in a
folder an overlay and `status` reads `applied`; the switch (dtbocfg) has `dtbo` and `status`, which
reads 1. Some kernels say `applied` of one that failed; that one holds no blob.
"""

import contextlib
import os
import re
from pathlib import Path

from dtagent.config.settings import Settings
from dtagent.errors import TreeError

MOUNTINFO = Path("/proc/self/mountinfo")
# proc(5), /proc/pid/mountinfo: three numbers, what of the file system is mounted, and where.
_MOUNT = re.compile(r"^\S+ \S+ \S+ / (\S+) .* - configfs ", re.MULTILINE)
_LIVE = ("/sys/firmware/devicetree/base", "/proc/device-tree")
_REMEDY = "dtagent must be able to list the overlays' folder: chmod it, or set [overlays] path"


def concern(settings: Settings) -> bool:
    """Whether this host's overlays are part of the tree that is scanned."""
    return bool(settings.overlays.path) or str(settings.devicetree.root) in _LIVE


def find(configured: str) -> Path | None:
    """The configured folder if it is there, else the one of whatever configfs is mounted.

    TreeError where a folder is, or may be, that cannot be listed.
    """
    places = [configured]
    if not configured:
        mounts = _MOUNT.findall(MOUNTINFO.read_text("utf-8", "surrogateescape"))
        # Blanks and backslashes in a path are octal there.
        plain = [re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), mount) for mount in mounts]
        places = [f"{mount}/device-tree/overlays" for mount in plain]
    for place in map(Path, places):
        try:
            os.scandir(place).close()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise TreeError(f"{place}: {error.strerror}; {_REMEDY}") from error
        return place
    return None


def applied(folder: Path | None) -> frozenset[str]:
    """The names of the applied overlays; dtoverlay's number before a name is not part of it."""
    try:
        found = [*folder.iterdir()] if folder else []
    except OSError:
        return frozenset()
    return frozenset(re.sub(r"\A\d+_(?=.)", "", each.name) for each in found if _is_applied(each))


def _is_applied(overlay: Path) -> bool:
    status = _read(overlay / "status", 16).strip()
    holds_blob = bool(_read(overlay / "path", 4096).strip(b"\0\n") or _read(overlay / "dtbo", 1))
    return status in (b"applied", b"1") and holds_blob


def _read(file: Path, size: int) -> bytes:
    """The first bytes, or none from what has gone, is of the other dialect, or is for writing."""
    with contextlib.suppress(OSError), file.open("rb", buffering=0) as stream:
        return stream.read(size) or b""
    return b""
