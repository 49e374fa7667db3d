"""`publish = "nfd"` with Node Feature Discovery itself: from the features file to the Node."""

from __future__ import annotations

import http
from collections.abc import Iterator

import pytest

from tests.process import wait_for

from .control import ControlPlane
from .host import CONFIG, Host, host
from .nfd import discovery
from .table import Cause, Table

PREFIX = "beta.devicetree.org/"
CAMERA = f"{PREFIX}acme-imx219"
EXAMPLE = "/usr/share/doc/dtagent/examples/nfd.conf"
DROP_IN = "/etc/systemd/system/dtagent.service.d/nfd.conf"
RULES = "/apis/nfd.k8s-sigs.io/v1alpha1/nodefeaturerules"


@pytest.fixture(scope="module")
def node(control: ControlPlane) -> Iterator[Host]:
    """A host whose agent leaves the Node to NFD."""
    with host(control) as joined:
        run = joined.machine.run
        run(f"install -D -m 644 {EXAMPLE} {DROP_IN} && systemctl daemon-reload", check=True)
        run("systemctl stop dtagent && dtagent clear", check=True)
        joined.configure(f'publish = "nfd"\n{CONFIG}')
        with discovery(joined):
            run("systemctl start dtagent", check=True)
            try:
                yield joined
            finally:
                print(run("journalctl -u nfd-worker -n 40").stdout)


def test_the_labels_come_to_the_node_through_nfd(node: Host, table: Table) -> None:
    cause = Cause(node)
    wait_for(lambda: node.labels.get(f"{PREFIX}acme-board") == "1", "the board's label")
    assert not cause.patches
    table.add('publish = "nfd", and NFD', "the labels are on the Node", cause, cause.elapsed)


def test_an_overlay_comes_and_goes_through_nfd(node: Host, table: Table) -> None:
    cause = Cause(node)
    node.apply("imx219", camera="acme,imx219")
    wait_for(lambda: node.labels.get(CAMERA) == "1", "the HAT's label")
    table.add("NFD: an overlay is applied", "its label is on the Node", cause, cause.elapsed)
    cause = Cause(node)
    node.remove("imx219", "camera")
    wait_for(lambda: CAMERA not in node.labels, "no label of the HAT")
    table.add("NFD: the overlay is removed", "its label is gone", cause, cause.elapsed)


def test_a_node_feature_rule_can_build_on_our_labels(node: Host, table: Table) -> None:
    """The rule of docs/walkthrough.md: a label of the user's own for any of several cameras."""
    matches = {
        "feature": "local.label",
        "matchExpressions": {CAMERA: {"op": "Gt", "value": ["0"]}},
    }
    rule = {
        "metadata": {"name": "camera"},
        "spec": {
            "rules": [
                {
                    "name": "a camera",
                    "labels": {"example.org/camera": "true"},
                    "matchFeatures": [matches],
                }
            ]
        },
    }
    status, answer = node.cluster.admin(
        "POST", RULES, {"apiVersion": "nfd.k8s-sigs.io/v1alpha1", "kind": "NodeFeatureRule", **rule}
    )
    assert status == http.HTTPStatus.CREATED, answer
    cause = Cause(node)
    node.apply("imx219", camera="acme,imx219")
    wait_for(lambda: node.labels.get("example.org/camera") == "true", "the rule's label")
    table.add("NFD: a NodeFeatureRule on our label", "the rule's label comes", cause, cause.elapsed)
