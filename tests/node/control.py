"""What a cluster has beside its API server: the scheduler, and controllers that sign, evict and run
DaemonSets. Both programs ask the server as an administrator, and listen on nothing.

A kubelet joins as kubeadm lets it: what it may ask for before it has a certificate, and who answers
(kubernetes.io, "TLS bootstrapping").
"""

from __future__ import annotations

import contextlib
import http
from pathlib import Path

from tests.apiserver import ApiServer
from tests.apiserver.build import node_programs
from tests.apiserver.process import Process

BOOTSTRAPPERS = "system:bootstrappers"
RBAC = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
BINDINGS = {
    "system:node-bootstrapper": BOOTSTRAPPERS,
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": BOOTSTRAPPERS,
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": "system:nodes",
}
"""A role, and the group that has it: to ask for a certificate; to be given one; to renew it."""

CONTROLLERS = (
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-signing-controller",
    "daemonset-controller",
    "node-lifecycle-controller",
    "taint-eviction-controller",
)

ALONE = ("--leader-elect=false", "--secure-port=0")
"""One of each is all there is, and nobody asks them anything."""


class ControlPlane(contextlib.AbstractContextManager["ControlPlane"]):
    """Controllers and scheduler of `cluster`, from `with` to the end of its block."""

    def __init__(self, cluster: ApiServer) -> None:
        self.cluster = cluster
        self.programs = node_programs()
        self._held = contextlib.ExitStack()

    def __enter__(self) -> ControlPlane:
        for role, group in BINDINGS.items():
            self._bind(role, group)
        kubeconfig = self.cluster.admin_kubeconfig()
        with contextlib.ExitStack() as held:
            for command in (self._controller_manager(), self._scheduler()):
                process = Process(
                    (*command, f"--kubeconfig={kubeconfig}", *ALONE), self.cluster.directory
                )
                held.callback(process.stop)
                process.start()
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def bootstrap_kubeconfig(self, path: Path, server: str) -> bytes:
        """Of somebody who may ask for a Node's certificate and for nothing else."""
        return self.cluster.kubeconfig(
            "bootstrap",
            path=path,
            user="system:bootstrap:test",
            groups=[BOOTSTRAPPERS],
            server=server,
            inline=True,
        ).read_bytes()

    def _controller_manager(self) -> tuple[str, ...]:
        """It runs in the cluster's folder, where the authority's files are."""
        return (
            str(self.programs / "kube-controller-manager"),
            f"--controllers={','.join(CONTROLLERS)}",
            "--cluster-signing-cert-file=ca.crt",
            "--cluster-signing-key-file=ca.key",
            # A Node whose kubelet is silent for so long is tainted, and its Pods go.
            "--node-monitor-period=1s",
            "--node-monitor-grace-period=12s",
        )

    def _scheduler(self) -> tuple[str, ...]:
        return (str(self.programs / "kube-scheduler"),)

    def _bind(self, role: str, group: str) -> None:
        subject = {"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}
        binding = {
            "metadata": {"name": f"test:{role}"},
            "roleRef": {
                "kind": "ClusterRole",
                "name": role,
                "apiGroup": "rbac.authorization.k8s.io",
            },
            "subjects": [subject],
        }
        status, answer = self.cluster.admin("POST", RBAC, binding)
        assert status in (http.HTTPStatus.CREATED, http.HTTPStatus.CONFLICT), answer
