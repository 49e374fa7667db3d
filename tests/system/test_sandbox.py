"""What the unit's sandbox allows and denies, asked by a process that runs in the very same one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.process import wait_for

from .site import KUBECONFIG, Site

EXPOSURE = 1.5
"""What `systemd-analyze security` may say at the most."""

DENIED = (
    "/root/secret",
    "/home/somebody/secret",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssl/private/server.key",
    "/etc/kubernetes/pki/ca.key",
    "/var/lib/rancher/k3s/server/cred/admin.kubeconfig",
    "/var/lib/rancher/rke2/server/cred/admin.kubeconfig",
)
KUBECONFIGS = (
    KUBECONFIG,
    "/mnt/nvme/k3s/agent/kubelet.kubeconfig",  # a data-dir of its own
    "/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
    "/etc/kubernetes/kubelet.conf",
    "/var/snap/microk8s/current/credentials/kubelet.config",
    "/var/lib/k0s/kubelet.conf",
    "/var/lib/microshift/resources/kubelet/kubeconfig",
)
RUNTIME = "/run/dtagent"
OUTPUT, GO, SCRIPT = "/run/probe.out", "/opt/go", "/opt/probe.py"
UNIT = "/run/systemd/system/probe.service"
AS_A_PROBE = f"""
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecReload=
ExecStart=
ExecStart=/usr/bin/python3 -I {SCRIPT} {GO} {" ".join((*DENIED, *KUBECONFIGS))}
StandardOutput=truncate:{OUTPUT}
"""


@pytest.fixture(scope="module")
def found(place: Site) -> dict[str, Any]:
    """What a process in the agent's sandbox can do: the unit's own text with another ExecStart.

    The secrets are there when it starts, the kubeconfigs come later.
    """
    machine = place.machine
    machine.run(f"rm {KUBECONFIG}; systemctl stop dtagent", check=True)
    shown = machine.run("systemctl cat dtagent", check=True).stdout
    for path in DENIED:
        machine.put(path, "secret", 0o600)
    machine.put("/tmp/somebody", "private")  # noqa: S108
    machine.put(SCRIPT, Path(__file__).with_name("probe.py").read_bytes())
    machine.put(UNIT, shown + AS_A_PROBE)
    machine.run("systemctl daemon-reload && systemctl start --no-block probe", check=True)
    output = machine.path(OUTPUT)
    wait_for(lambda: output.exists() and "started" in output.read_text(), "the probe's start")
    machine.run("mkdir -p /var/snap/microk8s/7 && ln -s 7 /var/snap/microk8s/current", check=True)
    for path in KUBECONFIGS:
        machine.put(path, "kubeconfig", 0o600)
    machine.put(GO, "")
    wait_for(lambda: output.read_text().endswith("}\n"), "the probe's findings")
    findings: dict[str, Any] = json.loads(output.read_text().splitlines()[1])
    return findings


def test_the_security_score_is_low(site: Site) -> None:
    said = site.machine.run("systemd-analyze security dtagent", check=True).stdout
    (score,) = re.findall(r"Overall exposure level for dtagent.service: ([\d.]+)", said)
    assert float(score) <= EXPOSURE


def test_it_can_write_in_its_runtime_directory_and_a_tmp_of_its_own_alone(
    found: dict[str, Any],
) -> None:
    assert set(found["writable"]) == {RUNTIME, "/tmp", "/var/tmp"}  # noqa: S108
    assert "somebody" not in found["tmp"]


def test_what_is_none_of_its_business_is_denied(found: dict[str, Any]) -> None:
    assert not set(DENIED) & set(found["readable"])


def test_kubeconfigs_are_readable_at_each_known_place_also_when_they_appear_later(
    found: dict[str, Any],
) -> None:
    assert set(KUBECONFIGS) <= set(found["readable"])


def test_it_has_no_privilege_and_can_gain_none(found: dict[str, Any]) -> None:
    assert found["privileges"] == {
        "CapBnd": "0" * 16,
        "CapEff": "0" * 16,
        "NoNewPrivs": "1",
        "Seccomp": "2",  # a filter; seccomp(2)
    }


def test_it_leaves_nothing_but_its_runtime_directory_while_it_runs(site: Site) -> None:
    """The last of this machine's tests: systemd makes the folder, and takes it away."""
    site.machine.run(f"rm -f {' '.join(KUBECONFIGS)}", check=True)
    site.join()
    site.machine.run("systemctl restart dtagent", check=True)
    folder = site.machine.path(RUNTIME)
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o022 == 0
    site.machine.run("systemctl stop dtagent", check=True)
    assert not folder.exists()
