"""Tries, as a service, what the agent's sandbox is to allow and to deny; runs inside a machine.

It says `started`, waits for the file that it is given, and prints what it found as JSON. What a
process may do is asked by doing it: mounts, seccomp and capabilities all have their say.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def writable(root: str = "/") -> list[str]:
    """The folders that a file can be created in. /proc has no folder where anybody can."""
    found = []
    for folder, folders, _ in os.walk(root):
        if folder == "/":
            folders.remove("proc")
        name = f"{folder}/.dtagent-probe"
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError:
            continue
        os.unlink(name)  # noqa: PTH108
        found.append(folder)
    return found


def readable(paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        try:
            Path(path).read_bytes()
        except OSError:
            continue
        found.append(path)
    return found


def privileges() -> dict[str, str]:
    """What the kernel says of this process (proc(5), status)."""
    status = Path("/proc/self/status").read_text()
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return {name: lines[name] for name in ("CapBnd", "CapEff", "NoNewPrivs", "Seccomp")}


def main() -> None:
    go, paths = Path(sys.argv[1]), sys.argv[2:]
    print("started", flush=True)
    while not go.exists():
        time.sleep(0.05)
    found = {
        "writable": writable(),
        "readable": readable(paths),
        "tmp": sorted(os.listdir("/tmp")),  # noqa: PTH208, S108
        "privileges": privileges(),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
