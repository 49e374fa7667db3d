"""Where the node's own kubeconfig may be."""

from __future__ import annotations

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
    moved = None
    for file in (config, *_drop_ins(config.with_name("config.yaml.d"), files)):
        try:
            settings = files.yaml(file)
        except CredentialsError:
            continue  # theirs to complain about
        if isinstance(settings, dict):
            moved = settings.get("data-dir", moved)
    return host / str(moved).lstrip("/") if moved else host / f"var/lib/rancher/{name}"


def _drop_ins(folder: Path, files: Files) -> list[Path]:
    """Those that k3s reads, in its order (k3s-io/k3s, pkg/configfilearg)."""
    files.note(folder)
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    return [file for file in found if file.name.lower().endswith((".yaml", ".yml"))]
