"""The files that a connection is made of: read once, and from then on only looked at.

How a file stands is noted before it is read, so a write in between counts as a change. Links are
followed: kubeadm's `kubelet-client-current.pem` counts by what it points to.
"""

from __future__ import annotations

from errno import EACCES
from pathlib import Path
from typing import Any

import yaml

from dtagent.errors import CredentialsError

FILE_MAX = 1 << 20  # bytes; a kubelet's kubeconfig with its certificates inline has some 6 KiB
NAME_MAX = 255  # bytes of a file's name (limits.h)


class Files:
    """What was read, or found to be missing, by how it stood then."""

    def __init__(self) -> None:
        self._fingerprints: dict[Path, tuple[int, ...]] = {}

    def changed(self) -> bool:
        """Whether one of them has been written, replaced, removed or made since."""
        return any(_fingerprint(file) != then for file, then in self._fingerprints.items())

    def note(self, file: Path) -> bool:
        """Look at a file or a folder from now on; whether it is there."""
        now = _fingerprint(file)
        self._fingerprints.setdefault(file, now)  # the first of two reads counts
        return bool(now)

    def read(self, file: Path) -> bytes:
        """The content; CredentialsError says why there is none."""
        self.note(file)
        text = str(file)
        # A key may have been put where its file's name belongs.
        if not text.isprintable() or len(file.name) > NAME_MAX:
            text = "a file that the kubeconfig names"
        try:
            with file.open("rb") as stream:
                content = stream.read(FILE_MAX + 1)
        except OSError as error:
            denied = error.errno == EACCES
            hint = "; the unit's sandbox may deny it, see dtagent(8)" if denied else ""
            raise CredentialsError(f"{text}: {error.strerror}{hint}") from error
        except ValueError as error:  # a NUL, or what is no UTF-8
            raise CredentialsError(f"{text}: no name of a file") from error
        if len(content) > FILE_MAX:
            raise CredentialsError(f"{text}: larger than {FILE_MAX} bytes")
        return content

    def yaml(self, file: Path) -> Any:
        """What a YAML file says.

        By the loader in Python: libyaml's overruns the C stack where it is nested deeply enough.
        """
        try:
            return yaml.safe_load(self.read(file))
        # PyYAML's own of numbers of 5,000 digits, the 30th of February, ill-formed tags and nesting
        except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark else ""
            raise CredentialsError(f"{file}{where}: not YAML") from error


def _fingerprint(file: Path) -> tuple[int, ...]:
    """Empty where there is none; one that may not be looked at is there, and reading it says so."""
    try:
        status = file.stat()
    except PermissionError:
        return (0,)
    except (OSError, ValueError):
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_size)
