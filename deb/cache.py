"""Results of long builds, kept outside the tree under a key of everything they were made from.

A folder of the cache is either whole or not there: it is built under a temporary name and renamed,
one builder at a time. Old folders are never read again and may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def home() -> Path:
    """The cache's own folder, made if need be."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # One that is not absolute is to be ignored (XDG Base Directory Specification).
    folder = (given if given.is_absolute() else Path.home() / ".cache") / "dtagent"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key(inputs: Iterable[Path | str]) -> str:
    """A short digest of what a build is made from: files by name and bytes, and plain words."""
    digest = hashlib.sha256()
    for item in sorted(inputs, key=str):
        if isinstance(item, Path):
            name, content = item.name, item.read_bytes()
        else:
            name, content = "", item.encode()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def cached(name: str, inputs: Iterable[Path | str], make: Callable[[Path, Path], None]) -> Path:
    """The folder NAME-KEY of the cache; when absent, make(result, scratch) fills it first.

    Both folders that `make` gets are empty and on one file system; the scratch one is deleted
    with all that a build leaves in it.
    """
    wanted = home() / f"{name}-{key(inputs)}"
    with (home() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if wanted.is_dir():
            return wanted
        for abandoned in home().glob(f".{name}-*"):  # by a builder that was killed
            shutil.rmtree(abandoned)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=home()) as temporary:
            result, scratch = Path(temporary, "result"), Path(temporary, "scratch")
            result.mkdir()
            scratch.mkdir()
            make(result, scratch)
            result.rename(wanted)
    return wanted
