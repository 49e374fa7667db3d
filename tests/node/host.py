"""A host whose kubelet has joined the cluster, and the package beside it.

The devicetree is a folder that the tests write, and so are the overlays: what a kernel does with
configfs is for tests/board to show.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from deb.container import writable
from deb.host import run
from deb.root import root
from demo.tree import Tree, add_node, remove_node, strings, write_tree
from tests.apiserver.commands import free_port
from tests.process import wait_for
from tests.system.machine import Machine
from tests.system.packages import SYSTEM, Package, built
from tests.system.site import DROP_IN, Site

from . import image, kubelet
from .control import ControlPlane
from .kubelet import KUBEADM, Manner

OVERLAYS = "/opt/overlays"
"""A folder that stands for configfs; not in /run, which a boot covers."""

CONFIG = f"""\
[devicetree]
nodes = ["/", "compatible:acme,*"]
[overlays]
path = "{OVERLAYS}"
"""
UNFILTERED = mock.patch.dict(os.environ, SYSTEMD_SECCOMP="0")
"""For a machine to start in: runc asks for bpf(2) and keyctl(2), which systemd-nspawn's filter of
system calls has not (systemd, ENVIRONMENT.md)."""

BOARD: Tree = {"compatible": strings("acme,board")}


class Host(Site):
    """A Site whose Node a kubelet registers."""

    def __init__(
        self, machine: Machine, package: Package, control: ControlPlane, node: str, manner: Manner
    ) -> None:
        self.machine, self.package, self.cluster = machine, package, control.cluster
        self.control, self.manner = control, manner
        self.node, self.user = node, f"system:node:{node}"

    def start_kubelet(self, server: str) -> None:
        """Let it join: its kubeconfig and its certificate are then the kubelet's own doing."""
        put = self.machine.put
        put(f"/opt/{image.archive().name}", image.archive().read_bytes())
        self.machine.run(
            f"ctr -n k8s.io images import --snapshotter native /opt/{image.archive().name}",
            check=True,
        )
        put(kubelet.KUBELET, (self.control.programs / "kubelet").read_bytes(), 0o755)
        put(kubelet.CA, self.cluster.ca_file.read_bytes())
        with tempfile.TemporaryDirectory() as folder:
            content = self.control.bootstrap_kubeconfig(Path(folder, "kubeconfig"), server)
        put(kubelet.BOOTSTRAP, content, 0o600)
        self.machine.run("systemctl start kubelet", check=True)
        self.wait_ready()

    def restart_kubelet(self) -> None:
        """Let it start anew, and wait until it has asked to be registered, as each start does."""
        mark = self.cluster.audit_mark()
        self.machine.run("systemctl restart kubelet", check=True)
        wait_for(lambda: self._registered(mark), "a kubelet that registers")

    def _registered(self, since: int) -> bool:
        events = self.cluster.audit(user=self.user, verb="create", since=since)
        return any(each["objectRef"]["resource"] == "nodes" for each in events)

    @property
    def ready(self) -> bool:
        """Whether the Node is, by what the kubelet says of it."""
        node = self.cluster.node(self.node) or {}
        conditions = node.get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def wait_ready(self) -> None:
        try:
            wait_for(lambda: self.ready, f"{self.node} Ready")
        except AssertionError:
            print(self.machine.run("journalctl -u kubelet -u containerd -n 60 --no-pager").stdout)
            raise

    @property
    def labels(self) -> dict[str, str]:
        """The Node's labels in domains that are ours to set."""
        labels = self.cluster.labels(self.node)
        return {key: value for key, value in labels.items() if "kubernetes.io/" not in key}

    def asked(self, since: int = 0) -> list[dict[str, Any]]:
        """What the agent asked of the server: the kubelet, with the same credential, left out."""
        events = self.cluster.audit(user=self.user, since=since)
        return [each for each in events if each["userAgent"].startswith("dtagent/")]

    def kubectl(self, words: str, **environ: str) -> str:
        """kubectl as an administrator types it; what it prints."""
        kubeconfig = self.cluster.admin_kubeconfig()
        kubectl = self.control.programs / "kubectl"
        return run(kubectl, f"--kubeconfig={kubeconfig}", *shlex.split(words), env=environ)

    def device(self, name: str, compatible: str) -> None:
        """A device that the devicetree has from now on."""
        add_node(self.machine.devicetree, name, {"compatible": strings(compatible)})

    def apply(self, name: str, **devices: str) -> None:
        """An overlay, as the kernel has it when it is applied, with its devices."""
        for device, compatible in devices.items():
            self.device(device, compatible)
        folder = self.machine.path(f"{OVERLAYS}/{name}")
        folder.mkdir()
        for file, content in (("path", "\n"), ("dtbo", "blob"), ("status", "applied\n")):
            (folder / file).write_text(content)

    def remove(self, name: str, *devices: str) -> None:
        """The overlay and what came with it, gone."""
        for device in devices:
            remove_node(self.machine.devicetree, device)
        shutil.rmtree(self.machine.path(f"{OVERLAYS}/{name}"))


@contextmanager
def host(control: ControlPlane, manner: Manner = KUBEADM, server: str = "") -> Iterator[Host]:
    """A host where the kubelet has joined and the agent's first labels are on the Node."""
    package = built("trixie")
    lower = root(package.suite, (*SYSTEM, *package.depends, *kubelet.PACKAGES))
    name = f"{manner.name}-{uuid.uuid4().hex[:6]}"
    files = kubelet.files(manner, name, free_port()) | {DROP_IN: CONFIG.encode()}
    with writable(lower) as folder, UNFILTERED, Machine(folder, files) as machine:
        write_tree(BOARD, machine.devicetree)
        machine.path(OVERLAYS).mkdir()
        node = Host(machine, package, control, name, manner)
        try:
            node.start_kubelet(server or control.cluster.url)
            node.install()
            node.wait_active()
            yield node
        finally:
            print(machine.run("journalctl -u dtagent -u kubelet -n 80 -o short-monotonic").stdout)
            if control.cluster.node(name):  # else Pods of later tests would be bound to it
                control.cluster.delete_node(name)
