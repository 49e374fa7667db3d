"""`dtagent doctor`: checks in order, how each came out, and what to do about one that is not well.

A check is a function. Its parameters are what it needs, by the names of the checks that find that;
it returns what it found, and a line about it. What the agent's code raises in it is a failure, and
what that warns of a warning: the same words that the journal would have.

They are made by systemd-run(1), if that can be, in a unit with dtagent.service's own settings,
drop-ins included: proxies, masked folders and the like are those that the agent has.
"""

import inspect
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

from dtagent.doctor.host import HOST_CHECKS, Skipped, log
from dtagent.errors import DtagentError
from dtagent.host import status
from dtagent.names import printable

# The first pattern that a check's name and message fit has its remedy.
REMEDIES = (
    ("configuration:.*metrics.conf", "make the folder, and use the unit's drop-in metrics.conf"),
    ("configuration:", "correct what it names; `dtagent check-config` tries it"),
    ("devicetree:", "correct [devicetree] root and nodes; a PC has no devicetree, and no labels"),
    ("overlays:.*sysctl", "raise it by `sysctl -w`, and in /etc/sysctl.d for the next boot"),
    ("overlays:", "have the folder there and readable, or correct [overlays] path"),
    ("nfd:.*stays from", "remove the file"),
    ("nfd:.*fight over", "do as it says"),
    ("nfd:", "use the unit's drop-in nfd.conf, which makes the folder; see docs/nfd.md"),
    ("(kubeconfig|identity):.*chmod 600 it$", "chmod 600 the file"),
    ("kubeconfig:.*Permission denied", "run it as root; else let the unit read it: dtagent(8)"),
    ("kubeconfig:", "have this host join its cluster, or set [node] kubeconfig to the node's own"),
    ("server:.*proxy", "correct proxy-url, HTTPS_PROXY or NO_PROXY, or have the proxy run"),
    ("server:", "see that the address is right and the server up; the agent waits for it"),
    ("clock:", "set the clock, and let it be kept: `timedatectl set-ntp true`"),
    ("certificates:.*(not valid before|not yet valid)", "set this host's clock"),
    ("certificates:.*its CA expired", "give it the cluster's new CA, and that alone"),
    ("certif.*expire[^;]*$", "if the clock is right: restart the kubelet (k3s), which renews it"),
    ("certificates:", "give certificate-authority this cluster's CA: have the host join again"),
    ("identity:.*401", "have the kubelet (k3s) renew its credential, or the host join again"),
    ("identity:", "leave [node] name empty, or set [node] kubeconfig to this Node's own"),
    ("node:.*there is no Node", "have the kubelet (k3s) run, which registers it"),
    ("node:|permission:.*403", "use the node's own kubeconfig: leave [node] kubeconfig empty"),
    ("permission:", "choose another [labels] prefix or rule, as the server's words have it"),
    ("second-writer:", "stop who sets it, then take it off: `kubectl label node NAME KEY-`"),
    ("unit-installed:.*masked", "systemctl unmask dtagent && systemctl enable --now dtagent"),
    ("unit-installed:", "install the package dtagent"),
    ("unit-enabled:", "systemctl enable dtagent"),
    ("unit-active:", "systemctl restart dtagent; `journalctl -x -u dtagent` says why it ended"),
    ("unit-alone:", "end that process, then: systemctl restart dtagent"),
    ("unit-sandbox:", "undo the drop-in that denies it: `systemctl cat dtagent`; see dtagent(8)"),
)

TRY_MAX = 300  # seconds: a dozen requests, each of which may take 20
# What a service says of its running, and not of what it may do. Its runtime directory would end
# with the unit that tries, under the agent's feet.
_RUNNING = re.compile("Exec|Type|Watchdog|Restart|Standard|RuntimeDirectory|Timeout|Notify|Runtime")


@dataclass(frozen=True)
class Check:
    """How one check came out; `status` is ok, warning, failure or skipped."""

    name: str
    status: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.status.replace('ok', 'OK'):8} {self.name}: {self.message}"
        return f"{line}\n{'':8} > {self.remedy}" if self.remedy else line


def examine(inputs: Mapping[str, Any], unit: bool, given: bool) -> list[Check]:
    """All checks; those of the host as the service meets them, where that can be tried.

    `inputs` are for the first of them: `load` gives the settings, and `scan` the labels by those.
    With `given` there are options for them on the command line, which the service has not.
    """
    with ExitStack() as opened:
        found: dict[str, Any] = {**inputs, "opened": opened}
        here = [_made(check, found) for check in HOST_CHECKS]
    found = {"here": here, "given": given}
    checks = [_made(check, found) for check in UNIT_CHECKS] if unit else []
    return [*found.get("unit_sandbox", here), *checks]


def _made(check: Callable[..., tuple[Any, str]], found: dict[str, Any]) -> Check:
    """Make the check if all that it needs is in `found`, and put there what it finds."""
    name, needs = check.__name__.replace("_", "-"), inspect.signature(check).parameters
    logger, said = logging.getLogger("dtagent"), BufferingHandler(sys.maxsize)
    before, logger.handlers = logger.handlers, [said]
    try:
        if missing := [need.replace("_", "-") for need in needs if need not in found]:
            raise Skipped(f"needs {missing[0]}")
        found[check.__name__], message = check(*(found[need] for need in needs))
    except Skipped as reason:
        return Check(name, "skipped", str(reason))
    except (DtagentError, OSError, subprocess.SubprocessError) as error:
        log.error("%s", error)
    finally:
        logger.handlers = before
    wrong = [record for record in said.buffer if record.levelno >= logging.WARNING]
    if wrong or not message:
        message = "; ".join(record.getMessage() for record in wrong or said.buffer)
    message = printable("; ".join(message.splitlines()))
    if not wrong:
        return Check(name, "ok", message)
    status = "failure" if max(each.levelno for each in wrong) >= logging.ERROR else "warning"
    remedies = (text for what, text in REMEDIES if re.match(what, f"{name}: {message}"))
    return Check(name, status, message, next(remedies, ""))


def _output(*command: str, seconds: float = 60) -> tuple[str, str]:
    """What a command wrote on standard output and on standard error."""
    done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def unit_installed() -> tuple[dict[str, str], str]:
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        raise Skipped("this host was not booted by systemd")
    lines, _ = _output("systemctl", "show", "dtagent")
    shown = dict(line.partition("=")[::2] for line in lines.splitlines())
    if shown.get("LoadState") != "loaded":
        raise DtagentError(f"dtagent.service is {shown.get('LoadState', 'unknown')}")
    return shown, shown["FragmentPath"]


def unit_enabled(unit_installed: dict[str, str]) -> tuple[None, str]:
    state = unit_installed["UnitFileState"]
    if not state.startswith("enabled"):
        log.warning("dtagent.service is %s: it does not start at boot", state)
    return None, state


def unit_active(unit_installed: dict[str, str]) -> tuple[None, str]:
    state, text = unit_installed["ActiveState"], unit_installed["StatusText"]
    if state != "active":
        tried = unit_installed.get("ConditionTimestampMonotonic", "0") != "0"
        skipped = tried and unit_installed["ConditionResult"] == "no"
        why = "it was skipped, for there was no devicetree" if skipped else text
        raise DtagentError(f"dtagent.service is {state}" + (why and f": {why}"))
    return None, f"active: {text}" if text else "active"


def unit_alone(unit_installed: dict[str, str]) -> tuple[None, str]:
    with suppress(DtagentError):  # none runs
        pid = status.read(status.runtime_directory()).pid
        if str(pid) != unit_installed["MainPID"]:
            log.error("dtagent runs as process %s outside the service, and holds its lock", pid)
    return None, "no other dtagent runs"


def unit_sandbox(
    unit_installed: dict[str, str], here: list[Check], given: bool
) -> tuple[list[Check], str]:
    if given:
        raise Skipped("there are options that the service has not: all was tried as this shell")
    if os.geteuid() != 0:
        raise Skipped("only root can try it: sudo dtagent doctor")
    text, said = _output("systemctl", "cat", "dtagent")
    sections = re.findall(r"(?ms)^\s*\[Service\](.*?)(?=^\s*\[|\Z)", text.replace("\\\n", " "))
    settings = re.findall(r"(?m)^[ \t]*(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", "\n".join(sections))
    for key, value in settings:
        if "%" in value:
            raise Skipped(f"{key}={value}: only the unit itself has what `%` stands for")
    own = [f"-p{key}={value}" for key, value in settings if not _RUNNING.match(key)]
    unit = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", *own]
    try:
        command = [value for key, value in settings if key == "ExecStart" and value][-1]
        agent = [*shlex.split(command.replace(" run", " doctor", 1)), "--no-unit", "-o", "json"]
        answer, said = _output(*unit, f"-pRuntimeMaxSec={TRY_MAX}", *agent, seconds=TRY_MAX + 60)
        checks = [Check(**each) for each in json.loads(answer)["checks"]]
    except (ValueError, LookupError, TypeError) as error:
        raise DtagentError(f"it cannot be tried: {said.strip() or 'no answer'}") from error
    well = {each.name for each in here if each.status == "ok"}
    if denied := [each.name for each in checks if each.status == "failure" and each.name in well]:
        log.error("well for root, and not in the service: %s", ", ".join(denied))
    return checks, "all else was tried in it"


UNIT_CHECKS = (unit_installed, unit_enabled, unit_active, unit_alone, unit_sandbox)
