"""What building for Debian asks of this machine: packages of its own, and how to run them.

The host is Debian 12 or newer. Nothing here needs root except the installation of a package that
is missing, and then only if one is. Package states: dpkg-query(1).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 3600.0
"""Seconds for one command. The longest takes five minutes on two processors: kube-apiserver."""


class HostError(Exception):
    """This machine cannot do what is asked of it, for the reason given."""


def run(
    *command: str | Path,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    merged: bool = True,
) -> str:
    """Run one command, for an hour at the most, and return what it printed; unmerged, its stdout.

    A failure is a HostError with the last lines of the command's output, which is all that a
    reader of a CI log wants of a long build.
    """
    words = [os.fspath(word) for word in command]
    # mkfs.ext4 lives in sbin, which an ordinary user's PATH lacks.
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{shlex.join(words)}: {error}") from error
    if done.returncode:
        tail = "\n".join([*done.stdout.splitlines()[-25:], *(done.stderr or "").splitlines()[-25:]])
        raise HostError(f"{shlex.join(words)} exited {done.returncode}\n{tail}")
    return done.stdout


def missing(packages: Sequence[str]) -> list[str]:
    """Those of the packages that dpkg does not have installed."""
    known = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,  # it exits 1 for a name it has never heard of
    )
    present = {line.split()[0] for line in known.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in present]


def ensure(packages: Sequence[str]) -> None:
    """Install what is missing; with nothing missing, touch neither apt nor the network."""
    wanted = missing(packages)
    if not wanted:
        return
    if os.geteuid() != 0:
        raise HostError(f"this needs: apt-get install {' '.join(wanted)}")
    noninteractive = {"DEBIAN_FRONTEND": "noninteractive"}
    # One index of many out of reach fails an update; the others may suffice, as will be seen.
    with contextlib.suppress(HostError):
        run("apt-get", "-q", "update", env=noninteractive)
    patient = ("-o", "DPkg::Lock::Timeout=600")  # seconds; another apt may be at work
    install = ("apt-get", "-qy", *patient, "--no-install-recommends", "install", *wanted)
    run(*install, env=noninteractive)
