"""Who else has a hand on the Node: its kubelet, kubectl, other field managers, the controllers.

Each scenario has a key of its own, since a label that is set back three times in ten minutes is
given up.
"""

from __future__ import annotations

import datetime
import hashlib
import http
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.apiserver.certificates import now
from tests.apiserver.client import Json
from tests.process import wait_for

from . import kubelet
from .host import CONFIG, Host
from .table import Cause, Table
from .workload import DaemonSet, Pod, containers

PREFIX = "beta.devicetree.org/"
BOARD = PREFIX + "acme-board"
NODES = "/api/v1/nodes"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
PKI = "/var/lib/kubelet/pki"
CURRENT = f"{PKI}/kubelet-client-current.pem"
LIFETIME = datetime.timedelta(seconds=30)
"""Of the certificate that the kubelet is to renew."""

UNREACHABLE = "node.kubernetes.io/unreachable"
GO_LABELLER = "k8s-dt-node-labeller"
"""Its field manager: what writes without naming one is booked under its program's name."""

FEATURES = "/etc/kubernetes/node-feature-discovery/features.d/devicetree-features"
EXAMPLE = "/usr/share/doc/dtagent/examples/nfd.conf"
NFD_DROP_IN = "/etc/systemd/system/dtagent.service.d/nfd.conf"


def wait_label(node: Host, key: str, value: str | None) -> None:
    wait_for(lambda: node.labels.get(key) == value, f"{key}={value} among {node.labels}")


def device(node: Host, name: str) -> str:
    """A device by an overlay, its label on the Node: the label's key."""
    node.apply(name, **{name: f"acme,{name}"})
    wait_label(node, f"{PREFIX}acme-{name}", "1")
    return f"{PREFIX}acme-{name}"


def test_a_restart_of_the_kubelet_costs_no_patch(node: Host, table: Table) -> None:
    before, cause = node.labels, Cause(node)
    node.restart_kubelet()
    assert node.labels == before
    table.add("the kubelet restarts", "every label stays", cause)
    key = device(node, "restart")
    assert key in cause.patches[0]["requestObject"]["metadata"]["labels"]


def test_an_upgrade_of_the_kubelet_costs_no_patch_and_no_label(node: Host, table: Table) -> None:
    """The same program with another version stamped in; its --node-labels changed, which it sets
    when it makes a Node alone, and a label of its own to put right, which it does at each start."""
    machine, arch = node.machine, "kubernetes.io/arch"
    found = node.cluster.node(node.node)
    assert found is not None
    old = found["status"]["nodeInfo"]["kubeletVersion"]
    new = old[:-1] + ("8" if old[-1] == "9" else "9")
    before, right = node.labels, node.cluster.labels(node.node)[arch]
    program = machine.path(kubelet.KUBELET).read_bytes().replace(old.encode(), new.encode())
    machine.put(kubelet.KUBELET, program, 0o755)
    assert machine.run(f"{kubelet.KUBELET} --version", check=True).stdout == f"Kubernetes {new}\n"
    machine.put(kubelet.LABELS, f"LABELS={BOARD}=7\n")
    node.cluster.patch_labels(node.node, {arch: "old"}, "test")
    cause = Cause(node)
    node.restart_kubelet()

    def metadata() -> Json:
        found = node.cluster.node(node.node)
        assert found is not None
        upgraded = found["status"]["nodeInfo"]["kubeletVersion"] == new
        return found["metadata"] if upgraded and found["metadata"]["labels"][arch] == right else {}

    wait_for(metadata, "the new version on the Node, and its label right")
    machine.put(kubelet.LABELS, "LABELS=\n")
    assert node.labels == before
    fields = [each for each in metadata()["managedFields"] if BOARD in str(each["fieldsV1"])]
    assert [each["manager"] for each in fields] == ["dtagent"]
    assert not cause.patches
    table.add("the kubelet upgraded, its --node-labels changed", "every label stays ours", cause)


def test_a_deleted_node_is_labelled_when_its_kubelet_registers_again(
    node: Host, table: Table
) -> None:
    """And the agent creates none meanwhile. The kubelet's own --node-labels are those of a new
    Node: what it says of our keys is put right, and what it says of others stays."""
    theirs = {BOARD: "7", f"{PREFIX}acme-ghost": "1", "example.org/rack": "12"}
    words = ",".join(f"{key}={value}" for key, value in theirs.items())
    node.machine.put(kubelet.LABELS, f"LABELS={words}\n")
    cause = Cause(node)
    node.kubectl(f"delete node {node.node}")
    wait_for(lambda: "not there" in node.status or "no Node" in node.status, f"{node.status}")
    node.apply("meanwhile", meanwhile="acme,meanwhile")
    assert node.cluster.node(node.node) is None
    table.add("kubectl delete node", "the agent creates none, and waits", cause)
    cause = Cause(node)
    node.restart_kubelet()
    wait_label(node, f"{PREFIX}acme-meanwhile", "1")
    wait_for(lambda: f"{PREFIX}acme-ghost" not in node.labels, "nothing that is not there")
    assert node.labels[BOARD] == "1"
    assert node.labels["example.org/rack"] == "12"
    created = node.cluster.audit(user=node.user, verb="create")
    assert not [
        each
        for each in created
        if each["userAgent"].startswith("dtagent/") and each["objectRef"]["resource"] == "nodes"
    ]
    table.add("… the kubelet registers, --node-labels with our keys", "all right again", cause)
    node.machine.put(kubelet.LABELS, "LABELS=\n")
    node.wait_ready()


@pytest.mark.parametrize("command", ["label --overwrite", "edit"])
def test_what_kubectl_sets_does_not_last(node: Host, table: Table, command: str) -> None:
    word = command.split()[0]
    key = device(node, word)
    words = f"{command} node {node.node}" + (f" {key}=9" if word == "label" else "")
    cause = Cause(node)
    node.kubectl(words, KUBE_EDITOR=f"sed -i '/acme-{word}:/s/1/9/'")
    wait_for(lambda: cause.patches, "a patch")
    wait_label(node, key, "1")
    table.add(f"kubectl {command}", "the label is right again", cause)
    node.remove(word, word)
    wait_label(node, key, None)


def test_a_label_that_kubectl_applied_goes_with_its_device(
    node: Host, table: Table, tmp_path: Path
) -> None:
    key = device(node, "applied")
    manifest = tmp_path / "node.yaml"
    manifest.write_text(
        f"apiVersion: v1\nkind: Node\nmetadata:\n  name: {node.node}\n"
        f'  labels:\n    {key}: "9"\n    example.org/row: "3"\n'
    )
    cause = Cause(node)
    node.kubectl(f"apply -f {manifest}")
    wait_for(lambda: cause.patches, "a patch")
    wait_label(node, key, "1")
    table.add("kubectl apply of a Node manifest", "ours right again, theirs stays", cause)
    node.remove("applied", "applied")
    wait_label(node, key, None)
    assert node.labels["example.org/row"] == "3"


def test_a_label_that_somebody_else_applied_too_goes_with_its_device(
    node: Host, table: Table
) -> None:
    key = device(node, "shared")
    path = f"{NODES}/{node.node}?fieldManager=somebody"
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.node, "labels": {key: "1", "example.org/shared": "1"}},
    }
    status, answer = node.cluster.admin("PATCH", path, body, APPLY)
    assert status == http.HTTPStatus.OK, answer
    cause = Cause(node)
    node.remove("shared", "shared")
    wait_label(node, key, None)
    assert node.labels["example.org/shared"] == "1"
    table.add("a label that another manager owns too, device gone", "the label is gone", cause)


def test_stripped_managed_fields_leave_no_label_behind(node: Host, table: Table) -> None:
    """After them nobody owns anything (Server-Side Apply, "Clearing managedFields")."""
    key = device(node, "stripped")
    cause = Cause(node)
    path = f"{NODES}/{node.node}"
    body: Json = {"metadata": {"managedFields": [{}]}}
    status, answer = node.cluster.admin("PATCH", path, body, MERGE)
    assert status == http.HTTPStatus.OK, answer
    wait_for(lambda: cause.patches, "its labels applied anew")
    table.add("managedFields stripped", "the labels are owned again", cause)
    cause = Cause(node)
    node.remove("stripped", "stripped")
    wait_label(node, key, None)
    table.add("… and the device goes", "its label is gone", cause)


def test_another_prefix_takes_the_labels_of_the_old_one_along(node: Host, table: Table) -> None:
    before = {key: value for key, value in node.labels.items() if key.startswith(PREFIX)}
    assert before
    prefix = "hardware.example.org/"
    after = {prefix + key.removeprefix(PREFIX): value for key, value in before.items()}
    for text, come, gone in (
        (f'{CONFIG}[labels]\nprefix = "{prefix}"\n', after, before),
        (CONFIG, before, after),
    ):
        cause = Cause(node)
        node.configure(text)
        node.machine.run("systemctl reload dtagent", check=True)

        def moved(come: dict[str, str] = come, gone: dict[str, str] = gone) -> bool:
            labels = node.labels
            return come.items() <= labels.items() and not gone.keys() & labels.keys()

        wait_for(moved, f"{come} and not {gone}")
        table.add("another prefix, and a reload", f"{len(come)} labels moved", cause)


def test_from_node_to_nfd_and_back(node: Host, table: Table) -> None:
    ours = {key: value for key, value in node.labels.items() if key.startswith(PREFIX)}
    machine = node.machine
    machine.run(f"install -D -m 644 {EXAMPLE} {NFD_DROP_IN} && systemctl daemon-reload", check=True)
    cause = Cause(node)
    node.configure(f'publish = "nfd"\n{CONFIG}')
    machine.run("systemctl restart dtagent", check=True)
    wait_for(lambda: machine.run(f"test -e {FEATURES}").status == 0, "the features file")
    told = [each.message for each in node.entries() if "dtagent clear" in each.message]
    assert told
    assert ours.items() <= node.labels.items()
    machine.run("systemctl stop dtagent && dtagent clear && systemctl start dtagent", check=True)
    assert not [key for key in node.labels if key.startswith(PREFIX)]
    kept = machine.run(f"cat {FEATURES}", check=True).stdout.splitlines()
    assert {f"{key}={value}" for key, value in ours.items()} <= set(kept)
    table.add('publish = "nfd", dtagent clear', "in the file, none on the Node", cause)
    cause = Cause(node)
    machine.run("systemctl stop dtagent && dtagent clear", check=True)
    node.configure(CONFIG)
    machine.run("systemctl start dtagent", check=True)
    wait_for(lambda: ours.items() <= node.labels.items(), "the labels, on the Node again")
    assert machine.run(f"test -e {FEATURES}").status == 1
    table.add('dtagent clear, publish = "node"', "all on the Node, the file gone", cause)


def test_what_the_go_labeller_wrote_is_taken_over_and_no_pod_ends(node: Host, table: Table) -> None:
    """It writes the whole Node back, and so does this test, under its name."""
    gone = f"{PREFIX}acme-unplugged"
    node.machine.run("systemctl stop dtagent && dtagent clear", check=True)

    def written() -> bool:
        """Not when the kubelet wrote between reading and writing: it tries again, as they do."""
        found = node.cluster.node(node.node)
        assert found is not None
        found["metadata"]["labels"] |= {BOARD: "1", gone: "1"}
        path = f"{NODES}/{node.node}?fieldManager={GO_LABELLER}"
        status, answer = node.cluster.admin("PUT", path, found)
        assert status in (http.HTTPStatus.OK, http.HTTPStatus.CONFLICT), answer
        return status == http.HTTPStatus.OK

    wait_for(written, "the labels of the Go labeller")
    pod = Pod(node.cluster, "on-a-board", nodeSelector={BOARD: "1"})
    daemons = DaemonSet(node.cluster, "boards", nodeSelector={BOARD: "1"})
    pod.wait_running()
    daemons.wait_pods(1)
    before = containers(node.cluster)
    cause = Cause(node)
    node.machine.run("systemctl start dtagent", check=True)
    wait_for(lambda: gone not in node.labels, "what is not there, gone")
    assert node.labels[BOARD] == "1"
    assert BOARD in cause.patches[-1]["requestObject"]["metadata"]["labels"]
    daemons.wait_pods(1)
    assert containers(node.cluster) == before
    table.add("labels of the Go labeller", "taken over or removed, no Pod ends", cause)


@pytest.fixture
def short_lived(node: Host) -> datetime.datetime:
    """The agent's and the kubelet's certificate nears its end, and the kubelet is about to start;
    the end."""
    end = now() + LIFETIME
    pair = node.cluster.issue(node.user, ["system:nodes"], not_after=end)
    node.machine.run("systemctl stop kubelet", check=True)
    node.machine.put(f"{PKI}/short.pem", b"".join(pair), 0o600)
    node.machine.run(f"ln -sfn {PKI}/short.pem {CURRENT} && systemctl restart dtagent", check=True)
    return end


def test_a_certificate_that_the_real_signer_renews_is_taken_up(
    node: Host, short_lived: datetime.datetime, table: Table
) -> None:
    node.restart_kubelet()
    device(node, "renewing")
    readlink = f"readlink {CURRENT}"
    wait_for(lambda: "short" not in node.machine.run(readlink).stdout, "a new certificate")
    wait_for(lambda: now() > short_lived, "the old one's end")
    cause = Cause(node)
    device(node, "renewed")
    pem = node.machine.run(f"cat {CURRENT}", check=True).stdout.encode()
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    credential = f"X509SHA256={hashlib.sha256(der).hexdigest()}"
    who = cause.patches[-1]["user"]["extra"]["authentication.kubernetes.io/credential-id"]
    assert who == [credential]
    table.add("the certificate ended, renewed by the signer", "the patch bears the new", cause)


def test_a_node_whose_kubelet_is_silent_is_labelled_all_the_same(node: Host, table: Table) -> None:
    """Tainted by node lifecycle, so that its Pods go; and back."""

    def taints() -> set[str]:
        found = node.cluster.node(node.node)
        assert found is not None
        return {each["key"] for each in found["spec"].get("taints", [])}

    node.machine.run("systemctl stop kubelet", check=True)
    wait_for(lambda: UNREACHABLE in taints(), "the taint of a Node that is not heard of")
    cause = Cause(node)
    key = device(node, "silent")
    table.add("the kubelet is down, the Node tainted", "an overlay's label comes", cause)
    cause = Cause(node)
    node.machine.run("systemctl start kubelet", check=True)
    wait_for(lambda: not taints(), "no taint any more")
    assert node.labels[key] == "1"
    table.add("… the kubelet is back", "the taint is gone, the labels stay", cause)
