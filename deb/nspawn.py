"""One command in a root file system, as on a Debian of its own and without network.

Relies on systemd-nspawn(1), which mounts /proc, /sys and /dev inside; no systemd need run here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

from deb import host

# The container of one command; there need be no systemd on this machine to register it with.
NSPAWN = (
    *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2", "--pipe"),
    *("--resolv-conf=off", "--timezone=off", "--link-journal=no", "--private-network"),
    "--hostname=debian",  # a name that could get into what is built must be the same everywhere
)
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def inside(
    folder: Path, *command: str | Path, binds: Mapping[Path, str] | None = None, cwd: str = "/"
) -> str:
    """Run one command in a writable root, with no network but a loopback of its own.

    `binds` are folders of this machine to where they are seen, writable, inside. Returns the
    command's standard output; HostError with the end of all that it said if it fails. No service
    starts: systemd does not run there.
    """
    options = [f"--bind={path}:{place}" for path, place in (binds or {}).items()]
    options += [f"--setenv={name}={value}" for name, value in ENVIRONMENT.items()]
    # nspawn would name the machine after the folder, and two of one name at a time do not go.
    options += [f"--chdir={cwd}", f"--machine=deb-{uuid.uuid4().hex}"]
    return host.run(*NSPAWN, *options, "-D", folder, "--", *command, merged=False)
