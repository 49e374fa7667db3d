"""The command lines of etcd and kube-apiserver, for one cluster in one folder.

Both run in that folder, so its files are named without it: a socket's path must be shorter than
108 bytes (unix(7)), and a test's folder often is not. What a flag does: kubernetes.io,
"kube-apiserver"; etcd.io, "Configuration options".
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from tests.apiserver import audit

ETCD_DATA = "etcd"
ETCD_SOCKET = "etcd.sock"
TOKENS = "tokens.csv"


def etcd(assets: Path) -> tuple[str, ...]:
    """On sockets alone, out of everyone else's reach; what it stores need outlive no crash."""
    client, peer = f"unix://{ETCD_SOCKET}", "unix://peer.sock"
    return (
        str(assets / "etcd"),
        f"--data-dir={ETCD_DATA}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def kube_apiserver(assets: Path, port: int) -> tuple[str, ...]:
    """kube-apiserver as kubeadm and k3s authorize with it, less what only pods need."""
    return (
        str(assets / "kube-apiserver"),
        f"--etcd-servers=unix://{ETCD_SOCKET}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",  # else it wants a default route, to advertise that
        f"--secure-port={port}",
        "--tls-cert-file=server.crt",
        "--tls-private-key-file=server.key",
        "--client-ca-file=ca.crt",
        f"--token-auth-file={TOKENS}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-key-file=service-account.key",
        "--service-account-signing-key-file=service-account.key",
        f"--audit-policy-file={audit.POLICY}",
        f"--audit-log-path={audit.LOG}",
        "--audit-log-mode=blocking",  # a request that is answered is in the log
        "--audit-log-maxsize=0",  # never a second file
    )


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no outgoing connection is given.

    The kernel takes those from 32768 up (ip(7), ip_local_port_range); one of them might be taken
    while the server is down and its port free.
    """
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port on 127.0.0.1 between 20000 and 32000")
