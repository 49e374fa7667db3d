"""The journal of a machine: entries with their fields, and where reading may go on.

Format: systemd.io, "Journal Export Formats", JSON; a field that occurs twice is a list, and one
that is not printable a list of bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .machine import Machine

UNIT = "dtagent.service"
ERROR, WARNING, NOTICE, INFO, DEBUG = range(3, 8)  # syslog(3)


@dataclass(frozen=True)
class Entry:
    """One entry; a field is all its values."""

    fields: dict[str, list[str]]

    def __getitem__(self, name: str) -> list[str]:
        return self.fields.get(name, [])

    @property
    def message(self) -> str:
        return "".join(self["MESSAGE"])

    @property
    def message_id(self) -> str:
        return "".join(self["MESSAGE_ID"])

    @property
    def priority(self) -> int:
        return int(self["PRIORITY"][0])


def mark(machine: Machine) -> str:
    """Where the journal ends now: the `since` of what is read from here on."""
    out = machine.run("journalctl --sync; journalctl -n 0 --show-cursor", check=True).stdout
    return out.partition("-- cursor: ")[2].strip()


def entries(machine: Machine, since: str = "") -> list[Entry]:
    """What the agent's unit wrote itself, in its order."""
    return [each for each in _all(machine, since) if each["_SYSTEMD_UNIT"] == [UNIT]]


def about(machine: Machine, since: str = "") -> list[Entry]:
    """What systemd wrote of the agent's unit."""
    return [each for each in _all(machine, since) if each["UNIT"] == [UNIT]]


def _all(machine: Machine, since: str) -> Iterator[Entry]:
    # Chosen here and not by journalctl: its --after-cursor loses one when the cursor's own entry
    # is not among those chosen (systemd 252).
    after = f"--after-cursor='{since}'" if since else ""
    command = f"journalctl --sync; journalctl --all -o json {after}"
    for line in machine.run(command, check=True).stdout.splitlines():
        fields: dict[str, Any] = json.loads(line)
        yield Entry({name: _values(value) for name, value in fields.items()})


def _values(value: object) -> list[str]:
    if not isinstance(value, list):
        return [str(value)]
    if all(isinstance(each, int) for each in value):
        return [bytes(value).decode(errors="replace")]
    return [part for each in value for part in _values(each)]
