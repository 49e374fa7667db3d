"""What a host needs to be a Node: units and configuration of containerd and kubelet, as files.

Field by field: kubernetes.io, "Kubelet Configuration (v1beta1)"; containerd's CRI plugin, config.md
of 1.7, which Debian has. A machine of the tests has the kernel of this one, whose cgroup version 2
may have no controllers and whose settings are everybody's: both programs are told to keep off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from . import image

PACKAGES = ("containerd", "iproute2", "mount", "runc")
KUBELET = "/usr/local/bin/kubelet"
CONFIG = "/etc/kubelet.json"
BOOTSTRAP = "/etc/kubernetes/bootstrap-kubelet.conf"
CA = "/etc/kubernetes/pki/ca.crt"
UNIT = "/etc/systemd/system/kubelet.service"
LABELS = "/etc/kubelet.env"
"""Where `--node-labels` stands: LABELS=KEY=VALUE,... (systemd.exec(5), EnvironmentFile)."""

EXPECTED = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
"""Kernel settings that a kubelet writes where they differ. These are this machine's own, so inside
the kubelet finds files in their place that say so already."""


@dataclass(frozen=True)
class Manner:
    """Where one way of making clusters keeps a kubelet's credentials."""

    name: str
    kubeconfig: str
    certificates: str


KUBEADM = Manner("kubeadm", "/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/pki")
K3S = Manner(
    "k3s", "/var/lib/rancher/k3s/agent/kubelet.kubeconfig", "/var/lib/rancher/k3s/agent/pki"
)


def files(manner: Manner, node: str, port: int) -> dict[str, bytes]:
    """What is there before the boot: containerd starts with it, the kubelet when it is told to."""
    texts = {
        "/etc/containerd/config.toml": CONTAINERD,
        "/etc/cni/net.d/10-test.conflist": json.dumps(NETWORK),
        # Not this machine's: what the kernel says is nothing to a test, and a container has none.
        "/etc/tmpfiles.d/kmsg.conf": "L /dev/kmsg - - - - /dev/null\n",
        CONFIG: json.dumps(_configuration(port)),
        UNIT: _unit(manner, node),
        LABELS: "LABELS=\n",
        **{f"/etc/expected/{name}": f"{value}\n" for name, value in EXPECTED.items()},
    }
    return {path: text.encode() for path, text in texts.items()}


CONTAINERD = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image.NAME}"
disable_apparmor = true
disable_cgroup = true
restrict_oom_score_adj = true  # a lower one takes CAP_SYS_RESOURCE
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"  # the root may be an overlayfs already, which carries no other
"""
NETWORK = {"cniVersion": "0.4.0", "name": "test", "plugins": [{"type": "loopback"}]}
"""A Node with no network configured is not Ready; Pods here are of its own network."""


def _configuration(port: int) -> Mapping[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "address": "127.0.0.1",
        "port": port,
        "healthzPort": 0,
        "authentication": {"x509": {"clientCAFile": CA}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "rotateCertificates": True,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%"},
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,  # the network is this machine's
        "resolvConf": "",
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "10s",
        "nodeLeaseDurationSeconds": 8,
        "syncFrequency": "2s",
    }


def _unit(manner: Manner, node: str) -> str:
    covers = "".join(
        f"ExecStartPre=mount --bind /etc/expected/{name} /proc/sys/{name}\n" for name in EXPECTED
    )
    return f"""\
[Unit]
After=containerd.service
[Service]
{covers}EnvironmentFile={LABELS}
ExecStart={KUBELET} --config={CONFIG} --hostname-override={node} --node-labels=${{LABELS}} \
--bootstrap-kubeconfig={BOOTSTRAP} --kubeconfig={manner.kubeconfig} --cert-dir={manner.certificates}
Restart=on-failure
RestartSec=1
KillMode=process
Delegate=yes
"""
