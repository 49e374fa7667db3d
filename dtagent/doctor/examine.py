"""Checks in order, and how each came out.

A check is a function. Its parameters are what it needs, by the names of the checks that find that;
it returns what it found, and a line about it. What the agent's code raises in it is a failure, and
what that warns of a warning: the same words that the journal would have.
"""

from __future__ import annotations

import inspect
import logging
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dtagent.doctor.remedies import remedy
from dtagent.errors import DtagentError
from dtagent.names import printable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """How one check came out; `status` is ok, warning, failure or skipped."""

    name: str
    status: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        status = "OK" if self.status == "ok" else self.status
        line = f"{status:8} {self.name}: {self.message}"
        return f"{line}\n{'':8} > {self.remedy}" if self.remedy else line


class Skipped(Exception):
    """Nothing to check on this host, for the reason given."""


class _Said(logging.Handler):
    """Keeps what is logged while a check runs, in place of showing it."""

    records: list[logging.LogRecord]

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def text(self, level: int) -> str:
        return "; ".join(each.getMessage() for each in self.records if each.levelno >= level)


def run(checks: Sequence[Callable[..., tuple[Any, str]]], found: dict[str, Any]) -> list[Check]:
    """Run each check of which all that it needs is in `found`, and put there what it finds."""
    logger, said = logging.getLogger("dtagent"), _Said()
    logger.setLevel(logging.INFO)
    before, logger.handlers = logger.handlers, [said]
    try:
        return [_result(check, found, said) for check in checks]
    finally:
        logger.handlers = before
        if api := found.pop("identity", None):
            api.close()


def _result(check: Callable[..., tuple[Any, str]], found: dict[str, Any], said: _Said) -> Check:
    name, needs = _name(check.__name__), inspect.signature(check).parameters
    if missing := [_name(need) for need in needs if need not in found]:
        return Check(name, "skipped", f"needs {missing[0]}")
    said.records = []
    try:
        found[check.__name__], message = check(*(found[need] for need in needs))
    except Skipped as reason:
        return Check(name, "skipped", str(reason))
    except (DtagentError, OSError, subprocess.SubprocessError) as error:
        status, message = "failure", str(error)
    else:
        status, warnings = "ok", said.text(logging.WARNING)
        if warnings:
            status, message = ("failure" if said.text(logging.ERROR) else "warning"), warnings
        message = message or said.text(logging.INFO)
    message = printable("; ".join(message.splitlines()))
    return Check(name, status, message, "" if status == "ok" else remedy(name, message))


def _name(identifier: str) -> str:
    return identifier.replace("_", "-")
