"""Faults of what either side proves itself with, and of where the kubeconfig says the server is.

An agent that is connected, or has read its files, needs them no more: the server goes first, and is
back when the files are as they should not be.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

from tests.apiserver.certificates import Authority, now
from tests.apiserver.kubeconfig import write_kubeconfig
from tests.process import wait_for

from .by_network import REFUSED
from .fault import Fault
from .renewal import K3s, Kubeadm
from .scene import Scene
from .tcp import TcpProxy

AGO = datetime.timedelta(minutes=-5)
UNTRUSTED = "TLS: certificate verify failed"


def show(scene: Scene, host: str = "127.0.0.1", not_after: datetime.datetime | None = None) -> None:
    """The server has another certificate from now on."""
    assert scene.https
    scene.https.present(*scene.authority.issue("proxy", hosts=(host,), not_after=not_after))
    scene.https.cut()


def show_expired(scene: Scene) -> None:
    show(scene, not_after=now() + AGO)


def show_of_another_host(scene: Scene) -> None:
    show(scene, host="another.example")


def show_own(scene: Scene) -> None:
    assert scene.https
    scene.https.present()


def new_authority(scene: Scene) -> None:
    """The cluster's CA is another, and the host does not know it yet."""
    scene.authority = Authority()
    show(scene)


def trust(scene: Scene) -> None:
    scene.ca_file.write_bytes(scene.authority.pem)


def with_token(scene: Scene, token: str) -> None:
    write_kubeconfig(
        scene.host.kubeconfig, server=scene.tcp.url, ca_file=scene.ca_file, token=token
    )


def revoke(scene: Scene) -> None:
    """The token is one that the server does not know."""
    scene.break_off()
    with_token(scene, "revoked")
    scene.tcp.accept()


def hide(scene: Scene) -> None:
    scene.break_off()
    scene.host.kubeconfig.rename(away(scene))
    scene.tcp.accept()


def away(scene: Scene) -> Path:
    return scene.host.kubeconfig.with_suffix(".away")


def bring(scene: Scene) -> None:
    away(scene).rename(scene.host.kubeconfig)


def start_without(scene: Scene) -> None:
    """The agent starts on a host that has not joined a cluster yet."""
    scene.agent.stop()
    scene.host.kubeconfig.rename(away(scene))
    before = len(scene.journal)
    scene.start()
    wait_for(lambda: scene.warnings(before), "an attempt without a kubeconfig")


def half_written(scene: Scene) -> None:
    scene.break_off()
    text = scene.host.kubeconfig.read_text()
    away(scene).write_text(text)
    scene.host.kubeconfig.write_text(text[: len(text) // 2])
    scene.tcp.accept()


def move(scene: Scene) -> None:
    """The server is nowhere to be found where it was."""
    scene.tcp.refuse()
    scene.tcp.cut()


def follow(scene: Scene) -> None:
    """The kubeconfig says where it is."""
    scene.tcp = TcpProxy(scene.cluster.port)
    scene.open.callback(scene.tcp.close)
    scene.certify()


def expired(scene: Scene) -> None:
    """The certificate on disk is out of date, and its renewal late."""
    scene.break_off()
    scene.renewal.begin(AGO)
    scene.renewal.end()
    scene.tcp.accept()


def renew(scene: Scene) -> None:
    scene.renewal.begin()
    scene.renewal.end()


def halfway(scene: Scene) -> None:
    """The renewal stops where a reader finds two files that do not go together, or none."""
    scene.break_off()
    scene.renewal.begin()
    scene.tcp.accept()


def complete(scene: Scene) -> None:
    scene.renewal.end()


def k3s(scene: Scene) -> None:
    scene.renewal = K3s(scene)


def kubeadm(scene: Scene) -> None:
    scene.renewal = Kubeadm(scene)


def renewed(style: Callable[[Scene], None]) -> list[Fault]:
    name = style.__name__
    return [
        Fault(f"expired-{name}", expired, renew, "401", style),
        Fault(f"halfway-{name}", halfway, complete, "no pair|No such file", style),
    ]


FAULTS = [
    *renewed(k3s),
    *renewed(kubeadm),
    Fault("kubeconfig-gone", hide, bring, "No such file|no kubeconfig"),
    Fault("kubeconfig-late", start_without, bring, "No such file|no kubeconfig"),
    Fault("kubeconfig-half-written", half_written, bring, "not YAML|not a kubeconfig|has no"),
    Fault("server-moved", move, follow, REFUSED),
    Fault("token-revoked", revoke, lambda scene: with_token(scene, scene.token), "401", token=True),
    Fault("new-ca", new_authority, trust, UNTRUSTED, token=True),
    Fault("server-certificate-expired", show_expired, show_own, UNTRUSTED, token=True),
    Fault("server-of-another-name", show_of_another_host, show_own, UNTRUSTED, token=True),
]
