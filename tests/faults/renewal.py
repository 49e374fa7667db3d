"""How distributions renew a node's certificate on disk, and in which order that can be seen.

k3s writes certificate, key and kubeconfig anew at each start, one after the other and in place
(pkg/agent/config). A kubelet with rotation, as kubeadm sets it up, writes one file with both and
replaces a link to it, which for a moment is not there (client-go, util/certificate, FileStore).
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from tests.apiserver.certificates import DAY, now

from .scene import Scene


class K3s:
    """Three files, written in place one after the other."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._kubeconfig = scene.host.kubeconfig
        self._key = b""

    def begin(self, lifetime: datetime.timedelta = DAY) -> None:
        """The certificate is the new one, and the key still the old one."""
        certificate, self._key = _issue(self._scene, lifetime)
        self._beside("crt").write_bytes(certificate)

    def end(self) -> None:
        self._beside("key").write_bytes(self._key)
        self._kubeconfig.write_text(self._kubeconfig.read_text())

    def _beside(self, suffix: str) -> Path:
        return self._kubeconfig.with_name(f"{self._kubeconfig.name}.{suffix}")


class Kubeadm:
    """A link to a file with certificate and key, which the kubeconfig names for both."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._link = scene.directory / "kubelet-client-current.pem"
        self._number = 0
        config = json.loads(scene.host.kubeconfig.read_text())
        user = config["users"][0]["user"]
        user["client-certificate"] = user["client-key"] = str(self._link)
        self.begin()
        self.end()
        scene.host.kubeconfig.write_text(json.dumps(config))

    def begin(self, lifetime: datetime.timedelta = DAY) -> None:
        """There is a new file, and no link."""
        self._number += 1
        self._file().write_bytes(b"".join(_issue(self._scene, lifetime)))
        self._file().chmod(0o600)
        self._link.unlink(missing_ok=True)

    def end(self) -> None:
        self._link.symlink_to(self._file())

    def _file(self) -> Path:
        return self._link.with_name(f"kubelet-client-{self._number}.pem")


def _issue(scene: Scene, lifetime: datetime.timedelta) -> tuple[bytes, bytes]:
    user = f"system:node:{scene.name}"
    return scene.cluster.issue(user, ["system:nodes"], not_after=now() + lifetime)
