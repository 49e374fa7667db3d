"""The service: whether systemd has it, and what all the rest looks like from within its sandbox.

That is tried by systemd-run(1): the same command in a unit that ends, with dtagent.service's own
settings, drop-ins included. So proxies, masked folders and the like are those that the agent has.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dtagent.config.settings import Settings
from dtagent.doctor import host
from dtagent.doctor.examine import Check, Skipped, log, run
from dtagent.errors import DtagentError
from dtagent.host import status
from dtagent.tree.labels import Labels

BOOTED = Path("/run/systemd/system")  # sd_booted(3)
TRY_MAX = 300  # seconds: a dozen requests, each of which may take 20
# What a service says of its running, and not of what it may do. Its runtime directory would end
# with the unit that tries, under the agent's feet.
_RUNNING = re.compile("Exec|Type|Watchdog|Restart|Standard|RuntimeDirectory|Timeout|Notify|Runtime")
Shown = Mapping[str, str]


def examine(
    load: Callable[[], Settings], scan: Callable[[Settings], Labels], unit: bool, given: bool
) -> list[Check]:
    """All checks; those of the host as the service meets them, where that can be tried.

    With `given` there are options for them on the command line, which the service has not.
    """

    def here() -> list[Check]:
        return run(host.CHECKS, {"load": load, "scan": scan})

    found: dict[str, Any] = {"here": here, "given": given}
    checks = run(CHECKS, found) if unit else []
    return [*(found.get("unit_sandbox") or here()), *checks]


def _output(*command: str) -> str:
    return _run(*command, seconds=60).stdout


def _run(*command: str, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
    )


def unit_installed() -> tuple[Shown, str]:
    if not BOOTED.is_dir():
        raise Skipped("this host was not booted by systemd")
    lines = _output("systemctl", "show", "dtagent").splitlines()
    shown = dict(line.partition("=")[::2] for line in lines)
    if shown.get("LoadState") != "loaded":
        raise DtagentError(f"dtagent.service is {shown.get('LoadState', 'unknown')}")
    return shown, shown["FragmentPath"]


def unit_enabled(unit_installed: Shown) -> tuple[None, str]:
    state = unit_installed["UnitFileState"]
    if not state.startswith("enabled"):
        log.warning("dtagent.service is %s: it does not start at boot", state)
    return None, state


def unit_active(unit_installed: Shown) -> tuple[None, str]:
    state, text = unit_installed["ActiveState"], unit_installed["StatusText"]
    if state != "active":
        tried = unit_installed.get("ConditionTimestampMonotonic", "0") != "0"
        skipped = tried and unit_installed["ConditionResult"] == "no"
        why = "it was skipped, for there was no devicetree" if skipped else text
        raise DtagentError(f"dtagent.service is {state}" + (why and f": {why}"))
    return None, f"active: {text}" if text else "active"


def unit_alone(unit_installed: Shown) -> tuple[None, str]:
    with suppress(DtagentError):  # none runs
        pid = status.read(status.runtime_directory()).pid
        if str(pid) != unit_installed["MainPID"]:
            log.error("dtagent runs as process %s outside the service, and holds its lock", pid)
    return None, "no other dtagent runs"


def unit_sandbox(
    unit_installed: Shown, here: Callable[[], Sequence[Check]], given: bool
) -> tuple[Sequence[Check], str]:
    if given:
        raise Skipped("there are options that the service has not: all was tried as this shell")
    if os.geteuid() != 0:
        raise Skipped("only root can try it: sudo dtagent doctor")
    section, command, properties = "", "", []
    for line in _output("systemctl", "cat", "dtagent").replace("\\\n", " ").splitlines():
        line = line.strip()
        section = line if line.startswith("[") else section
        key, equals, value = (part.strip() for part in line.partition("="))
        if section != "[Service]" or not equals or line.startswith(("#", ";")):
            continue
        if key == "ExecStart":
            command = value or command
        elif not _RUNNING.match(key):
            properties += ["-p", f"{key}={value}"]
        if "%" in value:
            raise Skipped(f"{key}={value}: only the unit itself has what `%` stands for")
    properties += ["-p", f"RuntimeMaxSec={TRY_MAX}"]
    as_root = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", *properties]
    agent = shlex.split(command.replace(" run", " doctor", 1))
    done = _run(*as_root, *agent, "--no-unit", "-o", "json", seconds=TRY_MAX + 60)
    try:
        checks = [Check(**each) for each in json.loads(done.stdout)["checks"]]
    except (ValueError, LookupError, TypeError) as error:
        lines = done.stderr.strip().splitlines() or ["no answer"]
        raise DtagentError(f"it cannot be tried: {lines[-1]}") from error
    failed = [each.name for each in checks if each.status == "failure"]
    well = [each.name for each in here() if each.status == "ok"] if failed else []
    if denied := [name for name in failed if name in well]:
        log.error("well for root, and not in the service: %s", ", ".join(denied))
    return checks, "all else was tried in it"


CHECKS = (unit_installed, unit_enabled, unit_active, unit_alone, unit_sandbox)
