"""The runtime directory: one writer on the host at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtagent.errors import LockedError


def runtime_directory() -> Path:
    """Where systemd made one for us (systemd.exec(5), RuntimeDirectory=), else `/run/dtagent`."""
    return Path(os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or "/run/dtagent")


@contextmanager
def only_writer(directory: Path, create: bool) -> Iterator[None]:
    """Hold the lock that makes this process the one that writes the Node's labels.

    The kernel lets go of it when the process ends, however it ends. Without `create` a missing
    directory means that no agent runs, and there is nothing to hold.
    """
    file = directory / "lock"
    try:
        if create:
            directory.mkdir(exist_ok=True)
        elif not directory.exists():
            yield
            return
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LockedError(
            f"{file}: {error.strerror}; run as root, or let RUNTIME_DIRECTORY name a folder"
        ) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                f"{file}: dtagent runs on this host and keeps the labels; "
                "first: systemctl stop dtagent"
            ) from error
        yield
    finally:
        os.close(fd)
