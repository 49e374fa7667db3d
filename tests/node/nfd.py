"""Node Feature Discovery beside the agent: nfd-worker on the host, nfd-master in the cluster.

Built from the Go module proxy as the API server is (tests/apiserver/build.py), from the go.mod in
nfd_module, and kept with the definitions of its resources. The programs' flags: NFD's
documentation, "Commandline flags".
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from deb.cache import cached
from tests.apiserver.build import build, source
from tests.apiserver.process import Process

from .host import Host

MODULE = Path(__file__).parent / "nfd_module"
NAME = "sigs.k8s.io/node-feature-discovery"
PROGRAMS = {name: f"{NAME}/cmd/{name}" for name in ("nfd-master", "nfd-worker")}
DEFINITIONS = "nfd-api-crds.yaml"
INTERVAL = 1
"""Seconds between two looks of nfd-worker's; its default is a minute."""

WORKER = "/usr/local/bin/nfd-worker"
KUBECONFIG = "/etc/kubernetes/nfd-worker.conf"
UNIT = "/etc/systemd/system/nfd-worker.service"


def programs() -> Path:
    """The folder with both programs and DEFINITIONS."""
    files = (MODULE / "go.mod", MODULE / "go.sum")
    return cached("nfd-programs", [*files, repr(PROGRAMS), platform.machine()], _make)


def _make(made: Path, work: Path) -> None:
    build(PROGRAMS, made, work, module=MODULE)
    definitions = source(NAME, work, MODULE) / "deployment/base/nfd-crds" / DEFINITIONS
    shutil.copyfile(definitions, made / DEFINITIONS)


@contextmanager
def discovery(node: Host) -> Iterator[None]:
    """NFD at work for one host, from its definitions on."""
    made, cluster = programs(), node.cluster
    node.kubectl(f"apply --server-side -f {made / DEFINITIONS}")
    kubeconfig = cluster.admin_kubeconfig()
    master = Process(
        (str(made / "nfd-master"), f"--kubeconfig={kubeconfig}", "--port=0"), cluster.directory
    )
    inside = cluster.kubeconfig(
        "nfd", user="nfd-worker", groups=["system:masters"], inline=True
    ).read_bytes()
    node.machine.put(WORKER, (made / "nfd-worker").read_bytes(), 0o755)
    node.machine.put(KUBECONFIG, inside, 0o600)
    node.machine.put(UNIT, _unit(node.node))
    with contextlib.ExitStack() as held:
        held.callback(master.stop)
        # As its own Pod would have them; it puts its version on the Node that it runs on.
        with mock.patch.dict(os.environ, NODE_NAME=node.node, KUBERNETES_NAMESPACE="default"):
            master.start()
        node.machine.run("systemctl start nfd-worker", check=True)
        held.callback(node.machine.run, "systemctl stop nfd-worker")
        yield


def _unit(node: str) -> str:
    options = json.dumps({"core": {"sleepInterval": f"{INTERVAL}s"}}).replace('"', '\\"')
    return f"""\
[Service]
Environment=NODE_NAME={node} KUBERNETES_NAMESPACE=default
ExecStart={WORKER} --kubeconfig={KUBECONFIG} --port=0 --feature-sources=local \
--label-sources=local --options="{options}"
"""
