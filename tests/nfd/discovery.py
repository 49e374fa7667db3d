"""nfd-master and nfd-worker as processes of this host, with the rights that NFD's manifests give.

They listen on nothing. Their metrics would be served on every address of the host; a port that
cannot be is what turns that off, since neither ends for want of it. Leader election is off of
itself.
"""

from __future__ import annotations

import contextlib
import http
import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.apiserver import ApiServer
from tests.apiserver.client import Json
from tests.apiserver.process import Process
from tests.process import wait_for

from .build import FEATURES, nfd

NAMESPACE = "default"
"""The namespace that the bindings in NFD's manifests name."""

MASTER = "nfd-master"
"""Its program, its service account, and the Node that it is on: one of its own."""

READY = 120.0
"""Seconds for a program to begin its work."""

CORE = {
    "sleepInterval": "1s",  # 60s of itself; the least that it accepts
    "featureSources": ["local"],
    "labelSources": ["local"],
    "ownerRefs": [],  # there is no Pod to own what it stores
}

NAMESPACED = ("Role", "RoleBinding", "ServiceAccount")
KINDS = ("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", *NAMESPACED)
"""What is taken of the manifests; the rest is kustomize's own."""


def user(program: str) -> str:
    """Who the program is to the server: a service account of its own."""
    return f"system:serviceaccount:{NAMESPACE}:{program}"


def apply(cluster: ApiServer, manifest: Json) -> None:
    """Make what `manifest` describes; there already, it is put right."""
    kind, version = manifest["kind"], manifest["apiVersion"]
    path = (
        f"/{'apis' if '/' in version else 'api'}/{version}"
        f"{f'/namespaces/{NAMESPACE}' if kind in NAMESPACED else ''}"
        f"/{kind.lower()}s/{manifest['metadata']['name']}?fieldManager=test&force=true"
    )
    answer = cluster.admin("PATCH", path, manifest, "application/apply-patch+yaml")
    assert answer[0] in (http.HTTPStatus.OK, http.HTTPStatus.CREATED), (path, answer)


class Discovery(contextlib.AbstractContextManager["Discovery"]):
    """NFD in `cluster`: its kinds and roles, and nfd-master from `with` to the end of its block."""

    def __init__(self, cluster: ApiServer, directory: Path, *options: str) -> None:
        self.cluster, self.programs = cluster, nfd()
        self.master = self._process(MASTER, MASTER, directory, *options)

    def __enter__(self) -> Discovery:
        for file in sorted(self.programs.glob("*.yaml")):
            for manifest in yaml.safe_load_all(file.read_text()):
                if manifest["kind"] in KINDS:
                    apply(self.cluster, manifest)
        wait_for(self._served, "the server to serve NFD's kinds")
        if self.cluster.node(MASTER) is None:
            self.cluster.create_node(MASTER)
        _start(self.master)
        return self

    def __exit__(self, *_: object) -> None:
        self.master.stop()

    @contextlib.contextmanager
    def worker(self, node: str, directory: Path) -> Iterator[Process]:
        """nfd-worker on the host of the Node `node`; it reads features.d in `directory`."""
        options = json.dumps({"core": CORE})
        worker = self._process("nfd-worker", node, directory, f"-options={options}")
        (directory / FEATURES).mkdir()
        try:
            _start(worker)
            yield worker
        finally:
            worker.stop()

    def _served(self) -> bool:
        path = "/apis/nfd.k8s-sigs.io/v1alpha1"
        kinds = ("nodefeatures", "nodefeaturerules")
        return all(self.cluster.admin("GET", f"{path}/{kind}")[0] == 200 for kind in kinds)

    def _process(self, program: str, node: str, directory: Path, *options: str) -> Process:
        """A program that knows its Node and may do what the manifests allow it."""
        directory.mkdir(exist_ok=True)
        kubeconfig = self.cluster.kubeconfig(
            program,
            path=directory / f"{program}.kubeconfig",
            user=user(program),
            groups=["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"],
        )
        command = (
            str(self.programs / program),
            f"-kubeconfig={kubeconfig}",
            f"-config={directory / 'none.conf'}",  # not this host's, should it have one
            "-port=-1",
            *options,
        )
        return Process(command, directory, NODE_NAME=node, KUBERNETES_NAMESPACE=NAMESPACE)


def _start(process: Process) -> None:
    process.start()
    process.wait_until(lambda: "http server starting" in process.log.read_text(), READY)
