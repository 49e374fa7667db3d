"""A label that is said to be gone is gone, whoever else holds it; on the real API server.

Server-side apply drops our ownership of a key, and the label stays where another manager owns it.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dtagent.cluster.node import NodeApi
from dtagent.cluster.patch import Observed, Patch
from dtagent.config.settings import NodeTable
from dtagent.errors import UnreachableError
from dtagent.publish.node import TIMES, NodePublisher
from tests.host import PREFIX, Host
from tests.process import Process, wait_for

OWN_PREFIX = "hw.example.org/"
APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"


def update(manager: str) -> Callable[[Host, dict[str, str]], None]:
    def claim(host: Host, labels: dict[str, str]) -> None:
        host.cluster.patch_labels(host.name, labels, manager=manager)

    return claim


def apply(host: Host, labels: dict[str, str]) -> None:
    """As `kubectl apply --server-side` of a Node manifest does."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"labels": labels}}
    path = f"/api/v1/nodes/{host.name}?fieldManager=kubectl&force=true"
    status, answer = host.cluster.admin("PATCH", path, node, APPLY_PATCH)
    assert status == 200, answer


def reset(host: Host, labels: dict[str, str] | None = None) -> None:
    """Strip managedFields, in the way that Kubernetes documents; nobody owns anything then."""
    body: dict[str, Any] = {"metadata": {"managedFields": [{}]}}
    status, answer = host.cluster.admin("PATCH", f"/api/v1/nodes/{host.name}", body, MERGE_PATCH)
    assert status == 200, answer


CLAIMS = {
    "the-go-labeller": update("k8s-dt-node-labeller"),
    "a-label-by-hand": update("kubectl-label"),
    "a-kubelets-node-labels": update("kubelet"),
    "a-node-manifest": apply,
    "a-reset-of-managed-fields": reset,
}
"""Each was there before us: an Update that changes nothing gives its manager no claim."""
claims = pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
prefixes = pytest.mark.parametrize("prefix", [PREFIX, OWN_PREFIX])


def configure(host: Host, prefix: str) -> dict[str, str]:
    """A board with a device that goes: its labels, a count and a rule's, under `prefix`."""
    host.configure(
        f'resync_interval = "1s"\nlabels.prefix = "{prefix}"\n'
        f'[[rules]]\nlabel = "{prefix}late"\nnode = "late"'
    )
    host.add("late", {"compatible": b"acme,late\0"})
    return {prefix + "acme-late": "1", prefix + "late": "1"}


def unplug(host: Host) -> None:
    shutil.rmtree(host.base / "late")


def reset_again(host: Host, claim: Callable[..., None]) -> None:
    """A reset counts once we own something."""
    if claim is reset:
        reset(host)


def managers(host: Host, key: str) -> set[str]:
    """Who owns a label, by the server's books."""
    node = host.cluster.node(host.name)
    assert node is not None
    return {
        entry["manager"]
        for entry in node["metadata"].get("managedFields", ())
        if f"f:{key}" in entry["fieldsV1"].get("f:metadata", {}).get("f:labels", {})
    }


def test_what_was_sent_and_never_answered_is_taken_off_after_a_reset(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server took the patch, and its books about it were lost in the same outage."""
    publisher, send = NodePublisher(NodeTable(kubeconfig=str(host.kubeconfig))), NodeApi.send

    def unanswered(api: NodeApi, patch: Patch) -> Observed:
        send(api, patch)
        raise UnreachableError("the answer was lost")

    with monkeypatch.context() as outage:
        outage.setattr(NodeApi, "send", unanswered)
        with pytest.raises(UnreachableError):
            publisher.publish({OWN_PREFIX + "late": "1"})
    reset(host)
    assert host.labels == {OWN_PREFIX + "late": "1"}
    assert publisher.publish({}).changes == [f"-{OWN_PREFIX}late"]
    assert host.labels == {}
    publisher.close()


@claims
@prefixes
def test_publish_takes_off_what_another_holds_too(
    host: Host, prefix: str, claim: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    late = configure(host, prefix)
    claim(host, late)
    assert host.run("publish") == 0
    reset_again(host, claim)
    assert host.run("publish") == 0  # ours again, where a reset made it nobody's
    unplug(host)
    capsys.readouterr()
    mark = host.cluster.audit_mark()
    assert host.run("publish") == 0
    assert host.labels == {prefix + "acme-board": "1"}
    gone = ", ".join(f"-{key}" for key in sorted(late))
    assert capsys.readouterr().out == f"Node {host.name}: {gone}\n"
    assert len([verb for verb, _ in host.requests(mark) if verb == "patch"]) <= 2


@claims
@prefixes
def test_run_takes_off_what_another_holds_too_and_tells_it_once(
    host: Host, tmp_path: Path, prefix: str, claim: Callable[..., None]
) -> None:
    late = configure(host, prefix)
    board = {prefix + "acme-board": "1"}
    claim(host, late)
    with Process(tmp_path, "--config", str(host.config)) as agent:
        wait_for(lambda: host.labels == board | late, "labels on the Node")
        reset_again(host, claim)
        wait_for(lambda: "dtagent" in managers(host, prefix + "acme-late"), "ours again")
        unplug(host)
        wait_for(lambda: host.labels == board, "only what is there to stay")
        agent.wait_error(f"-{prefix}acme-late, -{prefix}late")
        agent.stop()
    assert len([line for line in agent.errors if f"-{prefix}late" in line]) == 1, agent.errors


@claims
@prefixes
def test_clear_takes_off_what_another_holds_too(
    host: Host, prefix: str, claim: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    late = configure(host, prefix)
    claim(host, late)
    assert host.run("publish") == 0
    host.cluster.patch_labels(host.name, {f"{prefix}foreign": "1"}, manager="someone")
    reset_again(host, claim)
    capsys.readouterr()
    assert host.run("clear") == 0
    assert host.labels == {f"{prefix}foreign": "1"}
    gone = ", ".join(f"-{key}" for key in sorted([*late, prefix + "acme-board"]))
    assert capsys.readouterr().out == f"Node {host.name}: {gone}\n"


@prefixes
def test_an_overlays_label_goes_with_it(host: Host, tmp_path: Path, prefix: str) -> None:
    overlays = tmp_path / "overlays"
    overlay = overlays / "hat"
    overlay.mkdir(parents=True)
    for name, text in (("status", "applied\n"), ("path", "hat.dtbo\n"), ("dtbo", "")):
        (overlay / name).write_text(text)
    host.configure(f'labels.prefix = "{prefix}"\noverlays.path = "{overlays}"')
    update("kubectl-label")(host, {"overlay.devicetree.org/hat": "applied"})
    assert host.run("publish") == 0
    shutil.rmtree(overlay)
    assert host.run("publish") == 0
    assert host.labels == {prefix + "acme-board": "1"}


def test_a_removal_that_we_alone_own_is_one_request(host: Host) -> None:
    configure(host, OWN_PREFIX)
    assert host.run("publish") == 0
    unplug(host)
    mark = host.cluster.audit_mark()
    assert host.run("publish") == 0
    assert [verb for verb, _ in host.requests(mark)] == ["create", "get", "patch"]


def test_a_foreign_label_under_our_prefix_stays(host: Host) -> None:
    late = configure(host, OWN_PREFIX)
    foreign = {OWN_PREFIX + "theirs": "1"}
    update("someone")(host, foreign)
    assert host.run("publish") == 0
    unplug(host)
    assert host.run("publish") == 0
    assert host.labels == {OWN_PREFIX + "acme-board": "1"} | foreign
    assert late.keys().isdisjoint(host.labels)


def test_a_device_that_goes_while_managed_fields_are_reset_takes_its_label_along(
    host: Host, tmp_path: Path
) -> None:
    late = configure(host, OWN_PREFIX)
    board = {OWN_PREFIX + "acme-board": "1"}
    with Process(tmp_path, "--config", str(host.config)) as agent:
        wait_for(lambda: host.labels == board | late, "labels on the Node")
        agent.popen.send_signal(signal.SIGSTOP)
        unplug(host)
        reset(host)
        agent.popen.send_signal(signal.SIGCONT)
        wait_for(lambda: host.labels == board, "what we set before to go")


def test_a_manager_that_insists_on_what_is_gone_is_named(host: Host, tmp_path: Path) -> None:
    late = configure(host, OWN_PREFIX)
    key = OWN_PREFIX + "acme-late"
    with Process(tmp_path, "--config", str(host.config)) as agent:
        wait_for(lambda: late.keys() <= host.labels.keys(), "labels on the Node")
        unplug(host)
        for _ in range(1 + TIMES):
            wait_for(lambda: key not in host.labels, "the label's end")
            update("kubelet")(host, {key: "1"})
        agent.wait_error(f"kubelet changes label {key} of Node {host.name} back each time")
        wait_for(lambda: f"left alone: {key}" in agent.status, "the status line to say so")
    assert host.labels[key] == "1"


def test_dry_run_prints_both_requests(host: Host, tmp_path: Path) -> None:
    late = configure(host, OWN_PREFIX)
    update("kubelet")(host, late)
    assert host.run("publish") == 0
    unplug(host)
    host.compatible("acme,other")
    with Process(tmp_path, "--config", str(host.config), "--dry-run") as agent:
        wait_for(lambda: agent.output.count("kind: Node") == 1, "the apply")
        agent.stop()
    assert [line for line in agent.output if line.startswith("Content-Type")] == [
        "Content-Type: application/merge-patch+json",
        "Content-Type: application/apply-patch+yaml",
    ]
