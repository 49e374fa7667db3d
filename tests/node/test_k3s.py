"""As k3s does it: its own place for the kubeconfig, and a local load balancer for an address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.tcp import TcpProxy
from tests.process import wait_for

from .control import ControlPlane
from .host import Host, host
from .kubelet import K3S
from .table import Cause, Table

LABEL = "beta.devicetree.org/acme-lora"


@pytest.fixture(scope="module")
def balancer(control: ControlPlane) -> Iterator[TcpProxy]:
    proxy = TcpProxy(control.cluster.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def node(control: ControlPlane, balancer: TcpProxy) -> Iterator[Host]:
    with host(control, K3S, balancer.url) as joined:
        yield joined


def test_an_overlay_is_labelled_through_the_load_balancer(
    node: Host, balancer: TcpProxy, table: Table
) -> None:
    kubeconfig = node.machine.run(f"cat {K3S.kubeconfig}", check=True).stdout
    assert balancer.url in kubeconfig
    assert f"{K3S.certificates}/kubelet-client-current.pem" in kubeconfig
    assert any(K3S.kubeconfig in each.message for each in node.entries())
    cause = Cause(node)
    node.apply("lora", radio="acme,lora")
    wait_for(lambda: node.labels.get(LABEL) == "1", "its label")
    table.add("k3s: an overlay is applied", "its label is on the Node", cause)


def test_a_load_balancer_that_was_away_costs_no_label(
    node: Host, balancer: TcpProxy, table: Table
) -> None:
    balancer.refuse()
    balancer.cut()
    wait_for(lambda: "waiting" in node.status or "since" in node.status, "an outage")
    node.remove("lora", "radio")
    assert node.labels[LABEL] == "1"
    cause = Cause(node)
    balancer.accept()
    wait_for(lambda: LABEL not in node.labels, "the label gone")
    table.add("k3s: the load balancer was away", "what vanished meanwhile is gone", cause)
