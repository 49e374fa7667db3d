"""The same labels as a features file of Node Feature Discovery's local source.

Format: NFD's documentation, "Local feature source": a line `key=value` a label; files whose name
begins with a dot are passed over, and those of more than 64 KiB.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from dtagent.cluster import patch
from dtagent.errors import DtagentError
from dtagent.publish.publisher import Outcome, Publisher

SIZE_MAX = 65536


class NfdPublisher(Publisher):
    """Keeps one features file true; nfd-worker and nfd-master take it from there.

    `settled` is asked after each publication until it says that nothing is left to look at.
    """

    def __init__(self, file: Path, settled: Callable[[], bool] = lambda: True) -> None:
        self._file, self._settled = file, settled
        self._is_settled = False
        # Not beside it: nfd-worker heeds one event a second, which would be the new file's making,
        # and looks again a minute later.
        self._aside = file.with_name(f".{file.name}")

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        """Replace the file in one step, and only when it says something else."""
        before, text = self._read(), "".join(f"{k}={v}\n" for k, v in sorted(labels.items()))
        if len(text) > SIZE_MAX:
            raise DtagentError(
                f"{self._file}: stays as it is: nfd-worker reads up to {SIZE_MAX} bytes, and the "
                f"labels take {len(text)}; choose fewer nodes, or a shorter prefix"
            )
        if before != text:
            try:
                self._aside.mkdir(exist_ok=True)
                aside = self._aside / "new"
                aside.write_text(text, "ascii")
                aside.chmod(0o644)  # nfd-worker is not root, and the unit's umask is strict
                aside.replace(self._file)
            except OSError as error:
                raise DtagentError(
                    f"{self._file}: {error.strerror}; its folder must be there, and the unit must "
                    "be allowed to write in it: see the drop-in nfd.conf among the examples"
                ) from error
        self._is_settled = self._is_settled or self._settled()
        return Outcome(str(self._file), patch.changed(_labels(before), labels), labels)

    def clear(self) -> Outcome:
        """Remove the features file."""
        before = self._read()
        try:
            self._file.unlink(missing_ok=True)
            shutil.rmtree(self._aside, ignore_errors=True)
        except OSError as error:
            raise DtagentError(f"{self._file}: {error.strerror}; remove it") from error
        return Outcome(str(self._file), patch.changed(_labels(before), {}))

    def _read(self) -> str | None:
        try:
            return self._file.read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return None


def _labels(text: str | None) -> dict[str, str]:
    pairs = (line.partition("=") for line in (text or "").splitlines())
    return {key: value for key, _, value in pairs}
