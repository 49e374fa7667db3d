"""Where the node's own kubeconfig may be, and whether one of them has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from dtagent.cluster.credentials import current, parsed
from dtagent.errors import CredentialsError

KNOWN_PLACES = (
    "etc/kubernetes/kubelet.conf",  # kubeadm
    "var/snap/microk8s/current/credentials/kubelet.config",
    "var/lib/k0s/kubelet.conf",
    "var/lib/microshift/resources/kubelet/kubeconfig",
)


def find(configured: str = "", host: Path = Path("/")) -> list[Path]:
    """The kubeconfigs to try, in order: the configured one alone, else those that exist.

    `host` is the root below which the known places of k3s, RKE2, kubeadm, microk8s, k0s and
    MicroShift are looked for; `$KUBECONFIG` comes last.
    """
    if configured:
        return [Path(configured)]
    places = [_data_dir(host, name) / "agent/kubelet.kubeconfig" for name in ("k3s", "rke2")]
    places += [host / place for place in KNOWN_PLACES]
    places += [Path(text) for text in os.environ.get("KUBECONFIG", "").split(":") if text]
    return [place for place in places if _exists(place)]


def _exists(place: Path) -> bool:
    try:
        place.stat()
    except (OSError, ValueError) as error:
        return isinstance(error, PermissionError)  # let reading it say so
    return True


def _data_dir(host: Path, name: str) -> Path:
    """As its configuration has it: the last value stands, be it none."""
    config = host / f"etc/rancher/{name}/config.yaml"
    moved = None
    for file in (config, *_drop_ins(config.with_name("config.yaml.d"))):
        try:
            settings = parsed(file.read_bytes())
        except (OSError, yaml.YAMLError):
            continue  # theirs to complain about
        if isinstance(settings, dict):
            moved = settings.get("data-dir", moved)
    return host / str(moved).lstrip("/") if moved else host / f"var/lib/rancher/{name}"


def _drop_ins(folder: Path) -> list[Path]:
    """Those that k3s reads, in its order (k3s-io/k3s, pkg/configfilearg)."""
    try:
        files = sorted(folder.iterdir())
    except OSError:
        return []
    return [file for file in files if file.name.lower().endswith((".yaml", ".yml"))]


def fingerprint(configured: str = "", host: Path = Path("/")) -> tuple[object, ...]:
    """What changes when a kubeconfig, or a file that one names, is written, replaced or appears.

    Links are followed, so kubeadm's `kubelet-client-current.pem` counts by what it points to.
    """
    return tuple(
        (file, *_stamp(file))
        for source in find(configured, host)
        for file in (source, *_named(source))
    )


def _named(source: Path) -> Iterator[Path]:
    try:
        cluster, user = current(source)
    except CredentialsError:
        return
    for table, key in (
        (cluster, "certificate-authority"),
        (user, "client-certificate"),
        (user, "client-key"),
        (user, "tokenFile"),
    ):
        if table.get(key):
            yield source.parent / str(table[key])


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_size)
