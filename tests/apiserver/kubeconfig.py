"""A kubeconfig file, with its credentials beside it or in it (kubernetes.io, kubeconfig (v1))."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

SUFFIXES = {"client-certificate": "crt", "client-key": "key"}
"""The file beside the kubeconfig for each field that names one."""


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    ca_file: Path,
    certificate: bytes = b"",
    key: bytes = b"",
    token: str | None = None,
    inline: bool = False,
) -> None:
    """Write the kubeconfig to `path`; where it is not `inline`, PATH.crt and PATH.key before it.

    A `token` stands in for certificate and key. Each file is 0600 and takes its place whole. It is
    JSON, which is YAML too.
    """
    files = {"client-certificate": certificate, "client-key": key} if token is None else {}
    user = {} if token is None else {"token": token}
    for field, content in files.items():
        if inline:
            user[f"{field}-data"] = _base64(content)
        else:
            beside = path.with_name(f"{path.name}.{SUFFIXES[field]}")
            write_private(beside, content)
            user[field] = str(beside)
    cluster = {"server": server}
    if inline:
        cluster["certificate-authority-data"] = _base64(ca_file.read_bytes())
    else:
        cluster["certificate-authority"] = str(ca_file)
    write_private(path, json.dumps(_config(cluster, user), indent=2).encode())


def write_private(path: Path, content: bytes) -> None:
    """Put `content` at `path`, mode 0600, in one step."""
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    aside.rename(path)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _config(cluster: dict[str, str], user: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
