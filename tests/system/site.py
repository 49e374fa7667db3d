"""A host with its Node: a booted machine with a devicetree, where the package is tried.

The example board is the Jetson Nano of demo/; its kubeconfig is put where k3s has it.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deb.container import writable
from demo.jetson_nano import JETSON_NANO
from demo.tree import Tree, write_tree
from tests.apiserver import ApiServer
from tests.machine import Result
from tests.process import wait_for

from .journal import Entry, entries
from .machine import Machine
from .packages import Package

KUBECONFIG = "/var/lib/rancher/k3s/agent/kubelet.kubeconfig"
PREFIX = "beta.devicetree.org/"
BOARD = {PREFIX + "nvidia-jetson-nano": "1", PREFIX + "nvidia-tegra210": "1"}
"""The labels of the example board with no configuration."""

CONFIG = "/etc/dtagent.toml"
EDITED = '\n[devicetree]\nnodes = ["/", "pwm-fan"]\n'
FAN = {PREFIX + "pwm-fan": "1"}
"""The label that the board has more, once its configuration is `edit`ed."""

DROP_IN = "/etc/dtagent.toml.d/test.toml"
APT = 300.0
"""Seconds that apt may take: it compiles what it unpacks, on whatever machine this is."""


class Site:
    """One machine, one Node, and the package of the machine's release."""

    def __init__(self, machine: Machine, package: Package, cluster: ApiServer) -> None:
        self.machine, self.package, self.cluster = machine, package, cluster
        self.node = f"{package.suite}-{uuid.uuid4().hex[:8]}"
        self.user = f"system:node:{self.node}"
        cluster.create_node(self.node)

    def apt(self, words: str, *, check: bool = True) -> Result:
        """apt-get as an administrator types it."""
        return self.machine.run(f"apt-get -qy {words}", APT, check=check)

    def install(self, package: Package | None = None) -> Result:
        """apt-get install of a .deb file, with what it depends on."""
        deb = (package or self.package).deb
        self.machine.put(f"/opt/{deb.name}", deb.read_bytes())
        return self.apt(f"--no-install-recommends install /opt/{deb.name}")

    def kubeconfig(self, **options: Any) -> bytes:
        """A new kubeconfig of the Node, with its credentials in it."""
        with tempfile.TemporaryDirectory(prefix="dtagent-kubeconfig-") as folder:
            path = Path(folder, "kubeconfig")
            return self.cluster.kubeconfig(
                self.node, path=path, inline=True, **options
            ).read_bytes()

    def join(self, place: str = KUBECONFIG, **options: Any) -> bytes:
        """Give the host its kubeconfig, as the cluster's own software does when it comes up."""
        content = self.kubeconfig(**options)
        self.machine.put(place, content, 0o600)
        return content

    def configure(self, text: str) -> None:
        """The one drop-in of the configuration."""
        self.machine.put(DROP_IN, text)

    def edit(self) -> None:
        """Edit the package's own file by hand and have it in force: one device more is counted."""
        self.machine.put(CONFIG, self.machine.path(CONFIG).read_text() + EDITED)
        self.machine.run("systemctl reload dtagent", check=True)
        self.wait_labels(BOARD | FAN)

    def show(self, *properties: str) -> dict[str, str]:
        """What systemd says of the unit: systemctl show -p."""
        command = f"systemctl show dtagent -p {','.join(properties)}"
        lines = self.machine.run(command, check=True).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def status(self) -> str:
        return self.show("StatusText")["StatusText"]

    @property
    def pid(self) -> int:
        """The agent's process id inside."""
        return int(self.show("MainPID")["MainPID"])

    def wait_active(self) -> None:
        wait_for(lambda: self.show("ActiveState") == {"ActiveState": "active"}, "an active unit")

    def entries(self, since: str = "") -> list[Entry]:
        return entries(self.machine, since)

    def wait_entry(self, message_id: str, since: str) -> Entry:
        """The one entry of its kind, as soon as it has come."""

        def found() -> list[Entry]:
            return [each for each in self.entries(since) if each.message_id == message_id]

        wait_for(found, f"an entry {message_id} among {self.entries(since)}")
        (entry,) = found()
        return entry

    @property
    def labels(self) -> dict[str, str]:
        return self.cluster.labels(self.node)

    def wait_labels(self, labels: Mapping[str, str]) -> None:
        wait_for(lambda: self.labels == labels, f"{labels} on the Node")

    def applied(self, since: int) -> list[dict[str, str]]:
        """The labels of each patch that the Node's credential sent: all that it then owned."""
        return [
            event["requestObject"]["metadata"]["labels"]
            for event in self.cluster.audit(user=self.user, verb="patch", since=since)
        ]


@contextmanager
def site(
    package: Package,
    cluster: ApiServer,
    *,
    bare: bool = False,
    more: Sequence[str] = (),
    tree: Tree | None = JETSON_NANO,
    files: Mapping[str, bytes] | None = None,
) -> Iterator[Site]:
    """A host that has booted, the package not installed yet.

    With `bare` its dependencies are not installed either, else `more` packages of the release with
    them. `files` are there before it boots.
    """
    root = package.bare() if bare else package.prepared(*more)
    with writable(root) as folder, Machine(folder, files) as machine:
        if tree is not None:
            write_tree(tree, machine.devicetree)
        yield Site(machine, package, cluster)


@contextmanager
def running(
    package: Package, cluster: ApiServer, *, config: str = "", tree: Tree = JETSON_NANO
) -> Iterator[Site]:
    """A host where the package is installed, the agent is active, and its labels are published."""
    files = {DROP_IN: config.encode()} if config else {}
    with site(package, cluster, tree=tree, files=files) as host:
        host.join()
        host.install()
        host.wait_active()
        wait_for(lambda: BOARD.items() <= host.labels.items(), "the board's labels")
        yield host
