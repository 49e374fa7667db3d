"""The same labels as a features file of Node Feature Discovery's local source.

Format: NFD's documentation, "Local feature source": a line `key=value` a label, files whose name
begins with a dot are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dtagent.errors import FeaturesError
from dtagent.publish import Outcome


def render(labels: Mapping[str, str]) -> str:
    return "".join(f"{key}={labels[key]}\n" for key in sorted(labels))


class NfdPublisher:
    """Keeps one features file true; nfd-worker and nfd-master take it from there."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def publish(self, labels: Mapping[str, str]) -> Outcome:
        """Replace the file in one step, and only when it says something else."""
        text = render(labels)
        before = self._read()
        if before == text:
            return Outcome(str(self._file), [])
        aside = self._file.with_name(f".{self._file.name}.tmp")
        try:
            aside.write_text(text, "ascii")
            aside.replace(self._file)
        except OSError as error:
            raise FeaturesError(
                f"{self._file}: {error.strerror}; the folder must exist and the unit must be "
                "allowed to write there, see packaging/nfd.conf"
            ) from error
        old, new = set((before or "").splitlines()), set(text.splitlines())
        return Outcome(
            str(self._file),
            [f"+{line}" for line in sorted(new - old)] + [f"-{line}" for line in sorted(old - new)],
        )

    def clear(self) -> Outcome:
        """Remove the features file."""
        before = self._read()
        self._file.unlink(missing_ok=True)
        return Outcome(str(self._file), [f"-{line}" for line in (before or "").splitlines()])

    def _read(self) -> str | None:
        try:
            return self._file.read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return None

    def close(self) -> None:
        """Nothing is held open."""
