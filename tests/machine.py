"""What a machine under test answers, be it a container (tests/system) or a board (tests/board)."""

from __future__ import annotations

from dataclasses import dataclass

CONSOLE_TAIL = 8192
"""Bytes of a console's end that an error message has."""


class MachineError(Exception):
    """The machine did not do what it was asked to; the message has what it said."""


class CommandTimeout(MachineError):
    """A command ran past its deadline and was killed. The machine is fine."""


@dataclass(frozen=True)
class Result:
    """How a command on the machine ended."""

    status: int
    stdout: str
    stderr: str

    def checked(self, command: str) -> Result:
        """Itself, or MachineError for a status other than 0."""
        if self.status:
            said = f"{self.stdout}{self.stderr}"
            raise MachineError(f"exit status {self.status}: {command}\n{said}")
        return self
