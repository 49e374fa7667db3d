"""Networks of the tests' own: the agent lives in one, and a door to the API server is in the next.

ip-netns(8) makes both inside the host, veth(4) joins them, and neither leads to this machine. A
door is a socket that was made in the second one: a socket stays in the network where it was made,
whoever accepts on it (network_namespaces(7)).
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.tcp import PASS, Connection
from tests.system.machine import Machine

CLONE_NEWNET = 0x40000000
AGENT, OUTSIDE = "agent", "outside"
"""The two networks, as ip-netns(8) has them: /run/netns/NAME."""


@contextmanager
def networks(machine: Machine, **links: tuple[str, str]) -> Iterator[None]:
    """Both, joined by `links`: a network device of the agent's to its address and to the other
    end's, each with its prefix length."""
    commands = [f"ip netns add {name} && ip -n {name} link set lo up" for name in (AGENT, OUTSIDE)]
    for device, (ours, theirs) in links.items():
        commands.append(
            f"ip link add {device} netns {AGENT} type veth peer name {device} netns {OUTSIDE}"
        )
        for network, address in ((AGENT, ours), (OUTSIDE, theirs)):
            # nodad: else an address is not to be used for a second or two (RFC 4862, 5.4)
            nodad = " nodad" if ":" in address else ""
            commands.append(f"ip -n {network} address add {address} dev {device}{nodad}")
            commands.append(f"ip -n {network} link set {device} up")
    try:
        machine.run(" && ".join(commands), check=True)
        yield
    finally:
        machine.run(f"ip netns delete {AGENT}; ip netns delete {OUTSIDE}")


class Door:
    """Listens at `address` in the network OUTSIDE of `machine`, and lets through to port `target`
    of 127.0.0.1.

    With `connect` it is an HTTP proxy that is asked to first (RFC 9110, 9.3.6); `asked` has the
    first line of each such request.
    """

    def __init__(self, machine: Machine, address: str, target: int, *, connect: bool) -> None:
        self._target, self._connect = target, connect
        self.asked: list[str] = []
        self._connections: list[Connection] = []
        network = machine.path(f"/run/netns/{OUTSIDE}")
        with ThreadPoolExecutor(1) as aside:  # a thread that leaves this network, and then ends
            self._listener = aside.submit(_listening, network, address).result()
        name = f"[{address}]" if ":" in address else address
        self.authority = f"{name}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, name="door")
        self._thread.start()

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in self._connections:
            connection.end(reset=True)
            connection.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # shut down
            if self._connect:
                with suppress(OSError):
                    self._greet(client)
            connection = Connection(client, self._target, PASS)
            connection.start()
            self._connections.append(connection)

    def _greet(self, client: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += client.recv(1)
        self.asked.append(request.decode().partition(" HTTP/")[0])
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def _listening(network: Path, address: str) -> socket.socket:
    """A socket that listens at `address` of another network."""
    with network.open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), network)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, 0), family=family)
