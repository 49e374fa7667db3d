"""Where the node's own kubeconfig may be."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from dtagent.cluster.files import Files
from dtagent.errors import CredentialsError

KNOWN_PLACES = (
    "etc/kubernetes/kubelet.conf",  # kubeadm
    "var/snap/microk8s/current/credentials/kubelet.config",
    "var/lib/k0s/kubelet.conf",
    "var/lib/microshift/resources/kubelet/kubeconfig",
)


def find(configured: str, host: Path, files: Files) -> list[Path]:
    """The kubeconfigs to try, in order: the configured one alone, else those that exist.

    `host` is the root below which the known places of k3s, RKE2, kubeadm, microk8s, k0s and
    MicroShift are looked for; `$KUBECONFIG` comes last. `files` notes what the choice depends on.
    """
    if configured:
        return [Path(configured)]
    places = [_data_dir(host, name, files) / "agent/kubelet.kubeconfig" for name in ("k3s", "rke2")]
    places += [host / place for place in KNOWN_PLACES]
    places += [Path(text) for text in os.environ.get("KUBECONFIG", "").split(":") if text]
    return [place for place in places if files.note(place)]


def _data_dir(host: Path, name: str, files: Files) -> Path:
    """As its configuration has it: the last value stands, be it none."""
    config = host / f"etc/rancher/{name}/config.yaml"
    drop_ins = config.with_name("config.yaml.d")
    files.note(drop_ins)
    read = [config]
    with contextlib.suppress(OSError):  # those that k3s reads, in its order (pkg/configfilearg)
        listed = sorted(drop_ins.iterdir())
        read += [file for file in listed if file.name.lower().endswith((".yaml", ".yml"))]
    moved = None
    for file in read:
        try:
            settings = files.yaml(file)
        except CredentialsError:
            continue  # theirs to complain about
        if isinstance(settings, dict):
            moved = settings.get("data-dir", moved)
    return host / str(moved).lstrip("/") if moved else host / f"var/lib/rancher/{name}"
