"""The same labels as a features file of Node Feature Discovery's local source.

Format: NFD's documentation, "Local feature source": a line `key=value` a label, files whose name
begins with a dot are passed over.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from dtagent.cluster import node
from dtagent.config.settings import NodeTable
from dtagent.errors import FeaturesError, NodeError
from dtagent.publish.node import Outcome

log = logging.getLogger(__name__)


def render(labels: Mapping[str, str]) -> str:
    return "".join(f"{key}={labels[key]}\n" for key in sorted(labels))


class NfdPublisher:
    """Keeps one features file true; nfd-worker and nfd-master take it from there."""

    def __init__(self, file: Path, node_settings: NodeTable) -> None:
        self._file = file
        self._node_settings = node_settings
        self._looked = False

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        """Replace the file in one step, and only when it says something else."""
        text = render(labels)
        before = self._read()
        if before != text:
            aside = self._file.with_name(f".{self._file.name}.tmp")
            try:
                aside.write_text(text, "ascii")
                aside.chmod(0o644)  # nfd-worker is not root, and the unit's umask is strict
                aside.replace(self._file)
            except OSError as error:
                raise FeaturesError(
                    f"{self._file}: {error.strerror}; its folder must be there, and the unit must "
                    "be allowed to write in it: see the drop-in nfd.conf among the examples"
                ) from error
        if not self._looked:
            self._looked = self._warned_of_a_fight()
        old, new = set((before or "").splitlines()), set(text.splitlines())
        return Outcome(
            str(self._file),
            [f"+{line}" for line in sorted(new - old)] + [f"-{line}" for line in sorted(old - new)],
        )

    def drifted(self, labels: Mapping[str, str]) -> bool:
        """Reading the file tells, and costs next to nothing."""
        return True

    def clear(self) -> Outcome:
        """Remove the features file."""
        before = self._read()
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            raise FeaturesError(f"{self._file}: {error.strerror}; remove it") from error
        return Outcome(str(self._file), [f"-{line}" for line in (before or "").splitlines()])

    def _read(self) -> str | None:
        try:
            return self._file.read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return None

    def _warned_of_a_fight(self) -> bool:
        """Labels that we put on the Node ourselves once are not nfd-master's to change."""
        try:
            api = node.connect(self._node_settings)
            with closing(api):
                owned = api.get().owned
        except NodeError as error:
            log.debug("the Node was not looked at: %s", error)
            return False
        if owned:
            log.warning(
                "Node %s still bears labels that dtagent set itself, and nfd-master would fight "
                "over them: systemctl stop dtagent && dtagent clear && systemctl start dtagent",
                api.name,
            )
        return True

    def close(self) -> None:
        """Nothing is held open."""
