"""Faults of the server's name: a name server that says nothing, or knows of no such name.

The C library's resolver reads /etc/resolv.conf and has no deadline of ours (resolver(5)); the agent
gets one of its own there, in a mount namespace (mount_namespaces(7)), with a server on loopback.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from .by_network import CUT
from .dns import NameServer
from .fault import Fault
from .scene import Scene

NAME = "apiserver.test"
BIND = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
UNKNOWN = f"service not known|name resolution|{CUT}"


def impossible() -> str:
    """Why not to do it here; nothing where a mount namespace can be had."""
    command = ["unshare", "-m", "sh", "-c", BIND, "/dev/null", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"needs a mount namespace: {done.stderr.strip()}" if done.returncode else ""


def by_name(scene: Scene) -> None:
    """The kubeconfig names the server, and the name server of the agent's alone knows it."""
    scene.names = NameServer()
    scene.open.callback(scene.names.close)
    resolver = scene.directory / "resolv.conf"
    resolver.write_text(f"nameserver {scene.names.address}\n")
    scene.under = ("unshare", "-m", "sh", "-c", BIND, str(resolver))
    config = json.loads(scene.host.kubeconfig.read_text())
    server = config["clusters"][0]["cluster"]
    server |= {"server": f"https://{NAME}:{scene.tcp.port}", "tls-server-name": "localhost"}
    scene.host.kubeconfig.write_text(json.dumps(config))


def switched(attribute: str, to: bool) -> Callable[[Scene], None]:
    """What becomes of the name server; connections end, since who is connected asks no more."""

    def switch(scene: Scene) -> None:
        setattr(scene.names, attribute, to)
        if to:
            scene.tcp.cut()

    return switch


def named(name: str, attribute: str) -> Fault:
    """The resolver itself asks a silent server twice, for five seconds each, before it gives up."""
    begin, end = switched(attribute, True), switched(attribute, False)
    return Fault(name, begin, end, UNKNOWN, by_name, impossible=impossible)


FAULTS = [named("name-server-silent", "silent"), named("name-unknown", "ignorant")]
