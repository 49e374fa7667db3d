"""Whose credential it is, where the server serves no SelfSubjectReview: before Kubernetes 1.28.

Such a server authorizes before it looks: 404 to whom a rule allows the review, 403 to all others.
A server of today gives the same 403 once the rule is taken out of its ClusterRole.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtagent.cluster import connection
from dtagent.cluster.connection import Connection
from dtagent.config.settings import NodeTable
from dtagent.errors import NodeError
from tests.apiserver import ApiServer
from tests.apiserver.cluster import MERGE_PATCH
from tests.host import PREFIX, Host
from tests.process import wait_for

BOARD = {PREFIX + "acme-board": "1"}
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
REMEDY = "set [node] name, or give the node's own kubeconfig\n"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ACCOUNT = "/api/v1/namespaces/default/serviceaccounts"
LABELLER = "system:serviceaccount:default:labeller"
KUBELET = "a-bearer"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    directory = tmp_path_factory.mktemp("without-review")
    with ApiServer(directory, tokens={KUBELET: "own"}) as running:
        running.create_node("own", boot_id=BOOT_ID.read_text().strip())
        running.create_node("other", boot_id="another-boot")
        yield running


@pytest.fixture
def without_review(server: ApiServer) -> ApiServer:
    """Nobody may ask who he is; a restart of the server puts the rule back."""
    role = f"{RBAC}/clusterroles/system:basic-user"
    assert server.admin("PATCH", role, {"rules": []}, MERGE_PATCH)[0] == 200
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    wait_for(lambda: server.as_node("own", "POST", REVIEW, review)[0] == 403, "no review")
    return server


@pytest.fixture
def host(without_review: ApiServer, tmp_path: Path) -> Host:
    without_review.patch_labels("own", dict.fromkeys(BOARD), manager="dtagent")
    return Host(without_review, "own", tmp_path / "host")


@pytest.fixture(scope="module")
def account_token(server: ApiServer) -> str:
    """That of a service account which may read and patch any Node."""
    named = {"metadata": {"name": "labeller"}}
    nodes = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]}
    to = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "labeller"}
    whom = {"kind": "ServiceAccount", "namespace": "default", "name": "labeller"}
    for path, body in (
        (ACCOUNT, named),
        (f"{RBAC}/clusterroles", {**named, "rules": [nodes]}),
        (f"{RBAC}/clusterrolebindings", {**named, "roleRef": to, "subjects": [whom]}),
    ):
        assert server.admin("POST", path, body)[0] == 201
    status, answer = server.admin("POST", f"{ACCOUNT}/labeller/token", {"spec": {"audiences": []}})
    assert status == 201
    path = "/api/v1/nodes/own"
    wait_for(lambda: server.request("GET", path, user=LABELLER, groups=())[0] == 200, "its rights")
    return str(answer["status"]["token"])


@pytest.mark.parametrize("token", [None, KUBELET])
def test_a_kubelets_credential_names_its_node_whatever_the_host_is_called(
    host: Host, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "another-name")
    host.cluster.kubeconfig("own", path=host.kubeconfig, token=token)
    mark = host.cluster.audit_mark()
    assert host.run("publish") == 0
    assert host.labels == BOARD
    path = "/api/v1/nodes/own"
    assert host.requests(mark) == [
        ("create", REVIEW),
        ("get", path),
        ("patch", f"{path}?fieldManager=dtagent&force=true"),
    ]


def test_a_configured_name_that_the_credential_does_not_bear_is_refused(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.run("publish", "--node-name", "other") == 1
    assert "is the credential of Node own, and [node] name says other" in capsys.readouterr().err
    assert host.run("publish", "--node-name", "own") == 0


def test_any_other_credential_labels_the_node_of_this_boot_alone(
    host: Host,
    account_token: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    host.cluster.kubeconfig("labeller", path=host.kubeconfig, token=account_token)
    monkeypatch.setattr(socket, "gethostname", lambda: "other")
    assert host.run("publish") == 1
    assert capsys.readouterr().err == (
        f"dtagent: the credential is {LABELLER}'s and Node other is not this host; {REMEDY}"
    )
    monkeypatch.setattr(socket, "gethostname", lambda: "Own")
    assert host.run("publish") == 0
    assert host.labels == BOARD
    assert host.cluster.labels("other") == {}
    assert host.run("publish", "--node-name", "other") == 0


def test_a_credential_that_may_not_read_the_hosts_node_is_told_the_remedy(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.cluster.kubeconfig("x", path=host.kubeconfig, user="nobody", groups=())
    monkeypatch.setattr(socket, "gethostname", lambda: "own")
    assert host.run("publish") == 1
    message = capsys.readouterr().err
    assert message.startswith('dtagent: GET /api/v1/nodes/own: 403 nodes "own" is forbidden: ')
    assert message.endswith(f"; {REMEDY}")


@pytest.mark.parametrize("user", ["admin", "kubelet"])
def test_where_the_answer_names_nobody_the_boot_decides(
    host: Host, user: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the server knows nothing of is 404 to the one, and 403 in other words to the other."""
    monkeypatch.setattr(connection, "_REVIEW", REVIEW.replace("selfsubject", "no"))
    if user == "admin":
        shutil.copy(host.cluster.admin_kubeconfig(), host.kubeconfig)
    else:
        host.cluster.kubeconfig("own", path=host.kubeconfig, token=KUBELET)
    monkeypatch.setattr(socket, "gethostname", lambda: "other")
    assert host.run("publish") == 1
    assert capsys.readouterr().err.endswith(f"; {REMEDY}")
    monkeypatch.setattr(socket, "gethostname", lambda: "own")
    assert host.run("publish") == 0
    assert host.labels == BOARD


def test_a_server_that_starts_is_waited_for_and_gives_no_other_node(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment it says 403 to everything, and then knows us."""
    host = Host(server, "own", tmp_path / "host")
    server.create_node("neighbour", boot_id=BOOT_ID.read_text().strip())  # as two in containers
    monkeypatch.setattr(socket, "gethostname", lambda: "neighbour")
    server.stop_server()
    starting = threading.Thread(target=server.start_server)
    starting.start()
    names: set[str] = set()
    while starting.is_alive() or not names:
        try:
            api = Connection(NodeTable(kubeconfig=str(host.kubeconfig))).api()
        except NodeError:
            continue
        names.add(api.name)
        api.close()
    starting.join()
    assert names == {"own"}
