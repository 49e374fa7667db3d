"""What the project is for: a Pod runs where its hardware is, and there it goes when it comes.

docs/walkthrough.md tells the same with the commands of a user.
"""

from __future__ import annotations

from tests.process import wait_for

from .host import Host
from .table import Cause, Table
from .workload import DaemonSet, Pod, more_than

PREFIX = "beta.devicetree.org/"
HAT = {PREFIX + "acme-imx219": "1"}
CONVERTER = PREFIX + "acme-ads1115"
TAINT = {"key": "devicetree.org/camera-gone", "effect": "NoExecute"}


def test_a_pod_for_a_hat_waits_for_its_overlay_and_runs_then(node: Host, table: Table) -> None:
    camera = Pod(node.cluster, "camera", nodeSelector=HAT)
    camera.wait_unschedulable()
    cause = Cause(node)
    node.apply("imx219", camera="acme,imx219")
    wait_for(lambda: HAT.items() <= node.labels.items(), "the label of the HAT")
    table.add("the overlay of a HAT is applied", "its label is on the Node", cause)
    wait_for(lambda: camera.scheduled, "a Node for the Pod")
    scheduled = cause.elapsed
    camera.wait_running()
    table.add("… its Pod was Pending", "it has the Node", cause, scheduled)
    table.add("… and then", "it runs", cause, cause.elapsed)
    wait_for(
        lambda: node.labels.get("overlay.devicetree.org/imx219") == "applied", "the overlay's label"
    )
    table.add("… the overlay's own label", "it comes when the scans are over", cause)


def test_when_the_overlay_goes_the_label_goes_and_the_pod_stays(node: Host, table: Table) -> None:
    """`IgnoredDuringExecution`: a nodeSelector is for the scheduler, and it has done its work."""
    cause = Cause(node)
    node.remove("imx219", "camera")
    wait_for(lambda: not HAT.keys() & node.labels.keys(), "no label of the HAT")
    later = Pod(node.cluster, "camera-2", nodeSelector=HAT)
    later.wait_unschedulable()
    camera = node.cluster.admin("GET", "/api/v1/namespaces/default/pods/camera")[1]
    assert camera["status"]["phase"] == "Running"
    assert "deletionTimestamp" not in camera["metadata"]
    assert "overlay.devicetree.org/imx219" not in node.labels
    table.add("the overlay is removed", "labels gone, Pod runs on, the next one waits", cause)


def test_who_wants_it_gone_sets_a_noexecute_taint(node: Host, table: Table) -> None:
    """By choice, and by hand: no label of the agent's ends a Pod that runs."""
    cause = Cause(node)
    node.kubectl(f"taint node {node.node} {TAINT['key']}=:{TAINT['effect']}")
    wait_for(
        lambda: node.cluster.admin("GET", "/api/v1/namespaces/default/pods/camera")[0] == 404,
        "the Pod evicted",
    )
    assert not cause.patches
    table.add("a NoExecute taint, set by hand", "the Pod is evicted", cause, cause.elapsed)
    node.kubectl(f"taint node {node.node} {TAINT['key']}-")


def test_a_pod_that_needs_two_converters_waits_for_the_second(node: Host, table: Table) -> None:
    node.apply("ads1115-1", **{"adc@48": "acme,ads1115"})
    wait_for(lambda: node.labels.get(CONVERTER) == "1", "one converter")
    pod = Pod(node.cluster, "measure", affinity=more_than(CONVERTER, 1))
    pod.wait_unschedulable()
    cause = Cause(node)
    node.apply("ads1115-2", **{"adc@49": "acme,ads1115"})
    wait_for(lambda: node.labels.get(CONVERTER) == "2", "two converters")
    table.add("a second converter by an overlay", "its label counts 2", cause)
    pod.wait_running()
    table.add("… nodeAffinity Gt 1", "its Pod runs", cause, cause.elapsed)


def test_a_daemonset_comes_and_goes_with_the_label(node: Host, table: Table) -> None:
    """Unlike a Pod of its own: the DaemonSet controller deletes what no longer fits."""
    label = {PREFIX + "acme-lora": "1"}
    radio = DaemonSet(node.cluster, "radio", nodeSelector=label)
    radio.wait_pods(0)
    cause = Cause(node)
    node.apply("lora", radio="acme,lora")
    radio.wait_pods(1)
    table.add("a DaemonSet for a HAT, overlay applied", "one Pod available", cause, cause.elapsed)
    cause = Cause(node)
    node.remove("lora", "radio")
    radio.wait_pods(0)
    table.add("… overlay removed", "its controller ended the Pod", cause, cause.elapsed)
