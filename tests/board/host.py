"""What building and running the board asks of this machine: Debian packages, and how to run them.

The host is Debian 12 or newer. Nothing here needs root except the installation of a package that
is missing, and then only if one is.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

PACKAGES = (
    "bc",
    "bison",
    "debian-archive-keyring",
    "device-tree-compiler",  # dtc, fdtput
    "e2fsprogs",
    "flex",
    "gcc",
    "gcc-aarch64-linux-gnu",
    "libc6-dev",  # the kernel's own build tools are compiled for this machine
    "make",
    "qemu-system-arm",
    "util-linux",  # setpriv, unshare
    "xz-utils",
)


class HostError(Exception):
    """This machine cannot build or run the board, for the reason given."""


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run one command to its end and return what it printed.

    A failure is a HostError with the last lines of the command's output, which is all that a
    reader of a CI log wants of a kernel build.
    """
    words = [os.fspath(word) for word in command]
    # mkfs.ext4 lives in sbin, which an ordinary user's PATH lacks.
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise HostError(f"{shlex.join(words)} exited {done.returncode}\n{tail}")
    return done.stdout


def missing_packages() -> list[str]:
    """Those of PACKAGES that dpkg does not have installed."""
    known = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,  # it exits 1 for a name it has never heard of
    )
    present = {line.split()[0] for line in known.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in PACKAGES if package not in present]


def ensure_host_packages() -> None:
    """Install what is missing; with nothing missing, touch neither apt nor the network."""
    missing = missing_packages()
    if not missing:
        return
    if os.geteuid() != 0:
        raise HostError(f"the test board needs: apt-get install {' '.join(missing)}")
    noninteractive = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "-q", "update", env=noninteractive)
    run("apt-get", "-qy", "--no-install-recommends", "install", *missing, env=noninteractive)
