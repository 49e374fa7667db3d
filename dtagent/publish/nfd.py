"""The same labels as a features file of Node Feature Discovery's local source.

Format: NFD's documentation, "Local feature source": a line `key=value` a label; files whose name
begins with a dot are passed over, and those of more than 64 KiB.
"""

import logging
import shutil
from collections.abc import Mapping
from contextlib import closing

from dtagent.cluster import patch
from dtagent.cluster.connection import Connection
from dtagent.config.settings import Settings
from dtagent.errors import DtagentError, NodeError
from dtagent.host.status import WRITE_REMEDY, write
from dtagent.publish.reconcile import Outcome, Publisher

SIZE_MAX = 65536

log = logging.getLogger(__name__)


class NfdPublisher(Publisher):
    """Keeps one features file true; nfd-worker and nfd-master take it from there.

    Labels that we put on the Node ourselves once are not nfd-master's to change: they are looked
    for after each publication, until the Node has been reached.
    """

    def __init__(self, settings: Settings) -> None:
        self._file, self._node = settings.nfd.features_file, settings.node
        self._looked = False
        # Not beside it: nfd-worker heeds one event a second, which would be the new file's making,
        # and looks again a minute later.
        self._aside = self._file.parent / f".{self._file.name}"

    def publish(self, labels: Mapping[str, str]) -> Outcome:
        """Replace the file in one step, and only when it says something else."""
        before, there = self._read()
        text = "".join(f"{key}={value}\n" for key, value in sorted(labels.items()))
        if len(text) > SIZE_MAX:
            why = f"nfd-worker reads up to {SIZE_MAX} bytes, and the labels take {len(text)}"
            remedy = "choose fewer nodes, or a shorter prefix"
            raise DtagentError(f"{self._file}: stays as it is: {why}; {remedy}")
        if before != text:
            try:
                self._aside.mkdir(exist_ok=True)
                write(self._file, text, self._aside / "new")
            except OSError as error:
                remedy = WRITE_REMEDY.format("nfd.conf")
                raise DtagentError(f"{self._file}: {error.strerror}; {remedy}") from error
        self._looked = self._looked or self.look()
        return Outcome(str(self._file), patch.changed(there, labels), labels)

    def clear(self) -> Outcome:
        """Remove the features file."""
        _, there = self._read()
        try:
            self._file.unlink(missing_ok=True)
            shutil.rmtree(self._aside, ignore_errors=True)
        except OSError as error:
            raise DtagentError(f"{self._file}: {error.strerror}; remove it") from error
        return Outcome(str(self._file), patch.changed(there, {}))

    def look(self) -> bool:
        """Warn of labels of ours on the Node; false while nobody can say."""
        with closing(Connection(self._node)) as connection:
            try:
                api = connection.api()
                owned = api.get().owned
            except NodeError as error:
                log.debug("whether labels of ours are on the Node: %s", error)
                return False
        if owned:
            log.warning(
                "Node %s still bears labels that dtagent set itself, and nfd-master would fight "
                "over them: systemctl stop dtagent && dtagent clear && systemctl start dtagent",
                api.name,
            )
        return True

    def _read(self) -> tuple[str | None, dict[str, str]]:
        """The file's text, None if it cannot be read, and the labels in it."""
        try:
            text = self._file.read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return None, {}
        return text, dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
