"""Labels on a real Node of a real API server, with the node's own credential."""

from __future__ import annotations

import dataclasses
import datetime
import email
import json
import shutil
import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from dtagent.cluster import credentials
from dtagent.cluster.client import connections
from dtagent.cluster.connection import Connection
from dtagent.cluster.credentials import Files
from dtagent.cluster.patch import APPLY, Observed, Patch, plan
from dtagent.config.settings import NodeTable
from dtagent.errors import (
    ForbiddenError,
    NodeReplacedError,
    RefusedError,
    UnauthorizedError,
)
from dtagent.host.log import Systemd
from dtagent.host.status import Status
from dtagent.publish.node import NodePublisher
from dtagent.publish.reconcile import Reconciler
from tests.apiserver import ApiServer
from tests.host import PREFIX, Host

BOARD = {PREFIX + "acme-board": "1"}


def test_labels_appear_on_the_node(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.run("publish") == 0
    assert host.labels == BOARD
    assert capsys.readouterr().out == f"Node {host.name}: +{PREFIX}acme-board=1\n"


def test_a_second_publish_sends_no_patch(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.run("publish")
    mark = host.cluster.audit_mark()
    assert host.run("publish") == 0
    assert [verb for verb, _ in host.requests(mark)] == ["create", "get"]
    assert capsys.readouterr().out.endswith(f"Node {host.name}: nothing to change\n")


def test_only_what_a_node_may_ask_is_asked(host: Host) -> None:
    host.run("publish")
    path = f"/api/v1/nodes/{host.name}"
    assert host.requests() == [
        ("create", "/apis/authentication.k8s.io/v1/selfsubjectreviews"),
        ("get", path),
        ("patch", f"{path}?fieldManager=dtagent&force=true"),
    ]


@pytest.mark.parametrize("prefix", [PREFIX, "custom.example/"])
def test_another_managers_labels_stay(host: Host, prefix: str) -> None:
    theirs = {"kubernetes.io/os": "linux", "custom.example/theirs": "1", "plain": "x"}
    host.cluster.patch_labels(host.name, theirs, manager="someone")
    host.configure(f'labels.prefix = "{prefix}"')
    assert host.run("publish") == 0
    host.compatible("acme,other")
    assert host.run("publish") == 0
    assert host.labels == {**theirs, prefix + "acme-other": "1"}


def test_the_go_labellers_leftovers_go_and_what_is_right_becomes_ours(host: Host) -> None:
    leftovers = {PREFIX + "acme-board": "7", PREFIX + "acme-gone": "1"}
    host.cluster.patch_labels(host.name, leftovers, manager="k8s-dt-node-labeller")
    assert host.run("publish") == 0
    assert host.labels == BOARD
    host.compatible("acme,new")
    assert host.run("publish") == 0
    assert host.labels == {PREFIX + "acme-new": "1"}


def test_a_rule_that_was_removed_while_we_were_down_takes_its_label_along(host: Host) -> None:
    host.configure('[[rules]]\nlabel = "other.example/fans"\nnode = "/"')
    host.run("publish")
    assert host.labels == {**BOARD, "other.example/fans": "1"}
    host.configure()
    assert host.run("publish") == 0
    assert host.labels == BOARD


def test_a_label_of_ours_that_was_edited_or_deleted_is_put_right(host: Host) -> None:
    host.run("publish")
    host.cluster.patch_labels(host.name, {PREFIX + "acme-board": "9"}, manager="someone")
    host.run("publish")
    assert host.labels == BOARD
    host.cluster.patch_labels(host.name, {PREFIX + "acme-board": None}, manager="someone")
    host.run("publish")
    assert host.labels == BOARD


def test_compatibles_that_are_no_labels_do_not_fail_the_patch(host: Host) -> None:
    host.compatible("nvidia,p3768-0000+p3767-0005", "solidrun,cubox-i/q", "+", f"acme,{'x' * 80}")
    assert host.run("publish") == 0
    names = sorted(key.removeprefix(PREFIX) for key in host.labels)
    assert names[1:] == ["nvidia-p3768-0000-p3767-0005", "solidrun-cubox-i-q"]
    assert names[0].startswith("acme-xxxx")


def test_a_node_that_does_not_exist_is_never_created(
    cluster: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = Host(cluster, "never-was", tmp_path / "host")
    assert host.run("publish") == 1
    assert cluster.node("never-was") is None
    assert capsys.readouterr().err.splitlines()[-1] == (
        "dtagent: there is no Node never-was (yet): a kubelet registers it, dtagent never does"
    )


def test_a_node_that_vanishes_between_reading_and_patching_is_not_created(host: Host) -> None:
    api = Connection(NodeTable(kubeconfig=str(host.kubeconfig))).api()
    (request,) = plan(host.name, {"a": "1"}, api.get(), ())
    host.cluster.delete_node(host.name)
    with pytest.raises(NodeReplacedError):
        api.send(request)
    assert host.cluster.node(host.name) is None
    api.close()


def test_a_node_that_was_replaced_meanwhile_is_not_patched_and_then_labelled_anew(
    host: Host,
) -> None:
    api = Connection(NodeTable(kubeconfig=str(host.kubeconfig))).api()
    (request,) = plan(host.name, {"a": "1"}, api.get(), ())
    host.cluster.delete_node(host.name)
    host.cluster.create_node(host.name)
    with pytest.raises(NodeReplacedError):
        api.send(request)
    api.close()
    assert host.labels == {}
    assert host.run("publish") == 0
    assert host.labels == BOARD


def test_a_label_that_nodes_may_not_set_is_refused_with_the_servers_words(host: Host) -> None:
    api = Connection(NodeTable(kubeconfig=str(host.kubeconfig))).api()
    (request,) = plan(host.name, {"node-restriction.kubernetes.io/x": "1"}, api.get(), ())
    with pytest.raises(ForbiddenError, match="is not allowed to modify labels"):
        api.send(request)
    (request,) = plan(host.name, {"a b": "1"}, api.get(), ())
    with pytest.raises(RefusedError, match="422 "):
        api.send(request)
    body = {"metadata": {"uid": "x"}}
    with pytest.raises(RefusedError, match="400 "):
        api.send(Patch(APPLY, "fieldManager=dtagent", body))
    api.close()


def test_clear_takes_our_labels_off_and_no_others(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.cluster.patch_labels(host.name, {"theirs": "1"}, manager="someone")
    host.run("publish")
    assert host.run("clear") == 0
    assert host.labels == {"theirs": "1"}
    assert host.run("clear") == 0
    assert capsys.readouterr().out.endswith(f"Node {host.name}: nothing to change\n")


def test_an_administrators_kubeconfig_does_not_label_another_hosts_node(
    cluster: ApiServer,
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(cluster.admin_kubeconfig(), host.kubeconfig)
    monkeypatch.setattr(socket, "gethostname", host.name.upper)
    assert host.run("publish") == 1  # same name, but no kubelet of this boot
    assert capsys.readouterr().err == (
        f"dtagent: the credential is admin's and Node {host.name} is not this host; "
        "set [node] name, or give the node's own kubeconfig\n"
    )
    monkeypatch.setattr(socket, "gethostname", lambda: "no-such-host")
    assert host.run("publish") == 1
    assert capsys.readouterr().err == (
        'dtagent: GET /api/v1/nodes/no-such-host: 404 nodes "no-such-host" not found; '
        "set [node] name, or give the node's own kubeconfig\n"
    )
    assert host.labels == {}
    assert host.run("publish", "--node-name", host.name) == 0
    assert host.labels == BOARD


def test_an_administrators_kubeconfig_labels_the_node_of_this_boot(
    cluster: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    host = Host(cluster, "same-boot", tmp_path / "host")
    cluster.create_node("same-boot", boot_id=boot_id)
    shutil.copy(cluster.admin_kubeconfig(), host.kubeconfig)
    monkeypatch.setattr(socket, "gethostname", lambda: "Same-Boot")
    assert host.run("publish") == 0
    assert host.labels == BOARD


def test_a_configured_name_that_the_credential_does_not_bear_is_refused(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.run("publish", "--node-name", "other") == 1
    assert capsys.readouterr().err == (
        f"dtagent: {host.kubeconfig} is the credential of Node {host.name}, and [node] name says "
        "other; leave the name empty, or give the kubeconfig of that Node\n"
    )


def test_an_expired_certificate_is_told(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.cluster.kubeconfig(
        host.name, path=host.kubeconfig, lifetime=datetime.timedelta(minutes=-5)
    )
    assert host.run("publish") == 1
    assert capsys.readouterr().err == (
        f"dtagent: {host.kubeconfig}: the server does not accept this credential (401): "
        "it has expired, or is another cluster's\n"
    )


def test_of_several_kubeconfigs_the_first_that_authenticates_wins(
    host: Host, tmp_path: Path
) -> None:
    """A host moved from k3s to kubeadm keeps k3s's expired file."""
    k3s = tmp_path / "root/var/lib/rancher/k3s/agent/kubelet.kubeconfig"
    kubeadm = tmp_path / "root/etc/kubernetes/kubelet.conf"
    for file in (k3s, kubeadm):
        file.parent.mkdir(parents=True)
    host.cluster.kubeconfig("old", path=k3s, lifetime=datetime.timedelta(minutes=-5))
    host.cluster.kubeconfig(host.name, path=kubeadm)
    api = Connection(NodeTable(), tmp_path / "root").api()
    assert (api.name, api.source) == (host.name, kubeadm)
    api.close()
    shutil.copy(k3s, kubeadm)
    with pytest.raises(UnauthorizedError, match=rf"^{k3s}: .* cluster's; {kubeadm}: "):
        Connection(NodeTable(), tmp_path / "root").api()


def test_inline_data_and_tokens_work_and_no_key_touches_a_disk(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    host.cluster.kubeconfig(host.name, path=host.kubeconfig, inline=True)
    assert host.run("publish") == 0
    assert host.labels == BOARD


def test_a_server_of_another_authority_is_not_talked_to(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.apiserver.certificates import Authority

    other = tmp_path / "other-ca.crt"
    other.write_bytes(Authority().pem)
    config = json.loads(host.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["certificate-authority"] = str(other)
    host.kubeconfig.write_text(json.dumps(config))
    mark = host.cluster.audit_mark()
    assert host.run("publish") == 1
    assert host.requests(mark) == []
    assert "TLS: certificate verify failed: " in capsys.readouterr().err


def test_an_authority_without_extensions_is_accepted(tmp_path: Path) -> None:
    """As microk8s makes them; Python 3.13 with urllib3 2.4 and newer is strict by itself."""
    directory = tmp_path / "cluster"
    directory.mkdir()
    with ApiServer(directory, ca_extensions=False) as cluster:
        host = Host(cluster, "microk8s", tmp_path / "host")
        cluster.create_node("microk8s")
        assert host.run("publish") == 0
        assert host.labels == BOARD


def test_a_proxy_of_the_environment_is_not_for_loopback(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert host.run("publish") == 0
    assert host.labels == BOARD


@pytest.mark.parametrize(
    ("server", "no_proxy", "through"),
    [
        ("https://[::1]:6443", "", False),  # loopback, as 127.0.0.1 is
        ("https://[2001:db8::1]:6443", "2001:db8::1", False),
        ("https://[2001:db8::1]:6443", "[2001:db8::1]", False),
        ("https://[2001:db8::1]:6443", "2001:db8::2", True),
    ],
)
def test_an_ipv6_address_is_known_to_no_proxy_and_as_loopback(
    host: Host, monkeypatch: pytest.MonkeyPatch, server: str, no_proxy: str, through: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    loaded = credentials.load(host.kubeconfig, Files())
    pool = connections(dataclasses.replace(loaded, server=server))
    assert (getattr(pool, "proxy", None) is not None) == through


@pytest.mark.parametrize(
    ("user", "authorization"),
    [
        ("", b""),
        ("node:pass%20word@", b"node:pass word"),
        ("token@", b"token:"),
        ("node:%E2%82%AC@", "node:\u20ac".encode()),  # as Go's programs send it
    ],
)
def test_a_proxy_of_the_kubeconfig_is_used_as_the_user_that_it_names(
    host: Host, proxy: ConnectProxy, user: str, authorization: bytes
) -> None:
    config = json.loads(host.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["proxy-url"] = proxy.url.replace("//", f"//{user}")
    host.kubeconfig.write_text(json.dumps(config))
    assert host.run("publish") == 0
    assert host.labels == BOARD
    assert proxy.asked == [f"CONNECT {host.cluster.url.removeprefix('https://')}"]
    assert b64decode(proxy.authorization.removeprefix("Basic ")) == authorization


@pytest.mark.parametrize("url", ["http://u:pa#ss@10.0.0.1:3128", "http://proxy:${PORT}"])
def test_a_proxy_that_is_none_is_no_matter_to_a_server_that_needs_none(
    host: Host, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    assert host.run("publish") == 0
    assert host.labels == BOARD


class ConnectProxy:
    """An HTTP proxy that tunnels one connection and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.authorization = ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # closed before anybody came
        with client:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += client.recv(1)
            self.asked.append(request.decode().partition(" HTTP/")[0])
            headers = email.message_from_bytes(request.partition(b"\r\n")[2])
            self.authorization = headers.get("Proxy-Authorization", "")
            host, port = request.split()[1].decode().split(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                _pump(client, server)
                back.join()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other end has gone


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    proxy = ConnectProxy()
    yield proxy
    proxy.close()


def test_an_observed_node_has_labels_uid_and_nothing_of_ours(host: Host) -> None:
    api = Connection(NodeTable(kubeconfig=str(host.kubeconfig))).api()
    found = host.cluster.node(host.name)
    assert found is not None
    assert api.get() == Observed(found["metadata"]["uid"], {}, frozenset())
    api.close()


def test_a_kubeconfig_is_read_once_for_a_connection_and_not_for_each_change(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[object] = []
    load = yaml.safe_load

    def counted(content: bytes) -> object:
        parsed.append(content)
        return load(content)

    monkeypatch.setattr(yaml, "safe_load", counted)
    publisher = NodePublisher(NodeTable(kubeconfig=str(host.kubeconfig)))
    reconciler = Reconciler(Status(Systemd({})))
    reconciler.use(publisher)
    for number in "1", "2", "3":
        reconciler.want({PREFIX + "a": number}, resync=False)
        reconciler.step()
        assert host.labels == {PREFIX + "a": number}
    assert len(parsed) == 1
    publisher.close()


def test_a_refusal_costs_no_new_connection(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    handshakes: list[object] = []
    do_handshake = ssl.SSLSocket.do_handshake

    def counted(self: ssl.SSLSocket, block: bool = False) -> None:
        handshakes.append(self)
        do_handshake(self, block)

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", counted)
    with closing(Connection(NodeTable(kubeconfig=str(host.kubeconfig)))) as connection:
        api = connection.api()
        (request,) = plan(host.name, {"a b": "1"}, api.get(), ())
        for _ in range(3):
            with pytest.raises(RefusedError, match="422 "):
                api.send(request)
        assert api.get().labels == {}
    assert len(handshakes) == 1


def test_a_dry_run_of_publish_shows_what_would_change_and_changes_nothing(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the Go labeller's Node is taken over, say."""
    left = {PREFIX + "acme-gone": "1", "theirs.example/label": "1"}
    host.cluster.patch_labels(host.name, left, manager="k8s-dt-labeller")
    mark = host.cluster.audit_mark()
    assert host.run("publish", "--dry-run") == 0
    *patches, change = capsys.readouterr().out.splitlines()
    assert [line for line in patches if line.startswith("PATCH ")]
    assert change == f"dry run for Node {host.name}: +{PREFIX}acme-board=1, -{PREFIX}acme-gone"
    assert "patch" not in [verb for verb, _ in host.requests(mark)]
    assert host.labels == left
