"""Kubeconfigs: which are tried, what is read from them, and what a wrong one is told."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from dtagent.cluster import credentials
from dtagent.cluster.connection import Connection
from dtagent.cluster.credentials import Files, load
from dtagent.config.settings import NodeTable
from dtagent.errors import BusyError, CredentialsError
from tests.apiserver.certificates import Authority, now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kubelet.kubeconfig"


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


def write(
    file: Path,
    cluster: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
) -> None:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [
            {"name": "k", "cluster": {"server": "https://127.0.0.1:6443"} | (cluster or {})}
        ],
        "users": [{"name": "u", "user": user or {}}],
    }
    file.write_text(json.dumps(config))


def find(host: Path, configured: str = "") -> list[Path]:
    return credentials.find(configured, host, Files())


def refusal(file: Path) -> str:
    with pytest.raises(CredentialsError) as caught:
        load(file, Files())
    return str(caught.value).replace(str(file), "FILE").replace(str(file.parent), "DIR")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "FILE, line 1: not YAML"),
        ("a: 1\nb: 2: 3\n", "FILE, line 2: not YAML"),
        ("a: !!bool none", "FILE: not YAML"),
        ("a: !!int ''", "FILE: not YAML"),
        ("", "FILE: not a kubeconfig"),
        ("{}", "FILE: has no context None"),
        ("current-context: x", "FILE: has no context 'x'"),
        ("{current-context: x, contexts: [{name: x, context: {cluster: k}}]}",
         "FILE: has no cluster 'k'"),
        ("{current-context: x, contexts: 5}", "FILE: has no context 'x'"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_kubeconfig_is_told_so(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    assert refusal(file) == message


@pytest.mark.parametrize(
    ("cluster", "user", "message"),
    [
        ({}, {"exec": {"command": "aws"}},
         "FILE: uses an exec plugin, which dtagent does not run; "
         "give [node] kubeconfig a file with a certificate or a token"),
        ({}, {"auth-provider": {"name": "gcp"}},
         "FILE: uses an auth-provider plugin, which dtagent does not run; "
         "give [node] kubeconfig a file with a certificate or a token"),
        ({"server": "http://127.0.0.1"}, {},
         "FILE: server 'http://127.0.0.1' is not an https:// address"),
        ({"server": None}, {}, "FILE: server 'None' is not an https:// address"),
        ({"insecure-skip-tls-verify": True}, {},
         "FILE: insecure-skip-tls-verify is not supported; name its certificate-authority"),
        ({"certificate-authority": "ca.crt"}, {}, "DIR/ca.crt: No such file or directory"),
        ({"certificate-authority-data": "%"}, {},
         "FILE: certificate-authority-data is not base64"),
        ({"certificate-authority-data": "bm8="}, {},
         "FILE: its certificate-authority is not PEM"),
        ({}, {"client-certificate-data": "bm8=", "client-key-data": "bm8="},
         "FILE: its client certificate and key are no pair in PEM, or are encrypted"),
        ({}, {"tokenFile": "token"}, "DIR/token: No such file or directory"),
    ],
)  # fmt: skip
def test_a_kubeconfig_that_cannot_be_used_is_told_why(
    file: Path, cluster: dict[str, Any], user: dict[str, Any], message: str
) -> None:
    write(file, cluster, user)
    assert refusal(file) == message


def test_a_kubeconfig_that_cannot_be_read_is_told_why(file: Path) -> None:
    assert refusal(file) == "FILE: No such file or directory"
    file.mkdir()
    assert refusal(file) == "FILE: Is a directory"


def test_a_certificate_with_another_ones_key_is_told(file: Path, authority: Authority) -> None:
    """As k3s leaves them on the disk for a moment at each start."""
    certificate, _ = authority.issue("a", (), not_after=now())
    _, key = authority.issue("a", (), not_after=now())
    user = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    write(file, user=user)
    assert refusal(file) == (
        "FILE: its client certificate and key are no pair in PEM, or are encrypted"
    )


def test_an_encrypted_key_asks_nobody_for_a_password(file: Path, authority: Authority) -> None:
    from cryptography.hazmat.primitives import serialization as s

    certificate, key = authority.issue("a", (), not_after=now())
    encrypted = s.load_pem_private_key(key, None).private_bytes(
        s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret")
    )
    user = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(encrypted).decode(),
    }
    write(file, user=user)
    assert refusal(file) == (
        "FILE: its client certificate and key are no pair in PEM, or are encrypted"
    )


def test_chain_and_host_name_are_checked_and_strictness_is_not(file: Path) -> None:
    write(file)
    context = load(file, Files()).context
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_files_are_found_beside_the_kubeconfig_and_a_token_in_its_file(file: Path) -> None:
    (file.parent / "token").write_text("s3cret\n")
    write(file, {"tls-server-name": "kubernetes"}, {"tokenFile": "token"})
    loaded = load(file, Files())
    assert (loaded.token, loaded.tls_server_name) == ("s3cret", "kubernetes")
    assert "s3cret" not in repr(loaded)


def test_the_known_places_are_tried_in_order_and_then_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [
        "var/lib/rancher/k3s/agent/kubelet.kubeconfig",
        "var/lib/rancher/rke2/agent/kubelet.kubeconfig",
        "etc/kubernetes/kubelet.conf",
        "var/snap/microk8s/current/credentials/kubelet.config",
        "var/lib/k0s/kubelet.conf",
        "var/lib/microshift/resources/kubelet/kubeconfig",
        "home/config",
    ]
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / places[-1]}:{tmp_path / 'missing'}")
    assert find(tmp_path) == []
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    assert find(tmp_path) == [tmp_path / place for place in places]
    assert find(tmp_path, "/configured") == [Path("/configured")]


def test_a_data_dir_that_was_moved_is_followed(tmp_path: Path) -> None:
    config = tmp_path / "etc/rancher/k3s/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("data-dir: /mnt/nvme/k3s\n")
    config.with_name("config.yaml.d").touch()  # no folder to read
    moved = tmp_path / "mnt/nvme/k3s/agent/kubelet.kubeconfig"
    moved.parent.mkdir(parents=True)
    moved.touch()
    assert find(tmp_path) == [moved]
    config.write_text("][")
    assert find(tmp_path) == []


@pytest.mark.parametrize("name", ["k3s", "rke2"])
def test_a_drop_in_moves_the_data_dir_again_and_the_last_one_wins(
    tmp_path: Path, name: str
) -> None:
    config = tmp_path / f"etc/rancher/{name}/config.yaml"
    drop_ins = config.with_name("config.yaml.d")
    drop_ins.mkdir(parents=True)
    for folder in (f"var/lib/rancher/{name}", "a", "b", "c"):
        (tmp_path / folder / "agent").mkdir(parents=True)
        (tmp_path / folder / "agent/kubelet.kubeconfig").touch()

    def found() -> str:
        (place,) = find(tmp_path)
        return str(place.relative_to(tmp_path).parent.parent)

    (drop_ins / "10.yaml").write_text("data-dir: /a")
    assert found() == "a"  # there need be no config.yaml
    config.write_text("data-dir: /b")
    assert found() == "a"
    (drop_ins / "9.YML").write_text("data-dir: /b")
    assert found() == "b"  # in the order of names, not of numbers
    (drop_ins / "97.yaml").write_text("debug: true")
    (drop_ins / "98.yaml").write_text("][")
    (drop_ins / "99.yaml").mkdir()
    (drop_ins / "99.conf").write_text("data-dir: /c")
    assert found() == "b"
    files = Files()
    credentials.find("", tmp_path, files)
    assert not files.changed()
    (drop_ins / "a.yaml").write_text("data-dir: /c")
    assert files.changed()
    assert found() == "c"
    (drop_ins / "b.yaml").write_text("data-dir:")
    assert found() == f"var/lib/rancher/{name}"


def read(file: Path) -> Files:
    """What loading a kubeconfig, be it of use or not, looks at."""
    files = Files()
    with contextlib.suppress(CredentialsError):
        load(file, files)
    return files


def test_each_file_that_is_read_is_known_to_have_changed_and_only_then(
    file: Path, tmp_path: Path
) -> None:
    absent = read(file)
    assert not absent.changed()
    pem, other = tmp_path / "1.pem", tmp_path / "2.pem"
    for each in (pem, other):
        each.write_text(each.name)
    current = tmp_path / "current.pem"
    current.symlink_to(pem)
    write(file, user={"client-certificate": "current.pem", "client-key": "current.pem"})
    assert absent.changed()
    files = read(file)
    assert not files.changed()
    current.unlink()  # kubeadm's style: the link is briefly absent
    assert files.changed()
    missing = read(file)
    assert not missing.changed()
    current.symlink_to(other)
    assert files.changed()
    assert missing.changed()


@pytest.mark.parametrize("key", ["certificate-authority", "client-key", "tokenFile"])
def test_a_file_that_a_kubeconfig_names_is_looked_at_whatever_is_wrong_with_it(
    file: Path, tmp_path: Path, key: str
) -> None:
    (tmp_path / "c").touch()
    named = {"client-certificate": "c", key: "named"}
    write(file, named, named)
    files = read(file)
    (tmp_path / "named").write_text("no PEM, and two words")
    assert files.changed()
    files = read(file)
    (tmp_path / "named").unlink()
    assert files.changed()


def test_a_known_place_of_a_kubeconfig_is_looked_at_before_there_is_one(tmp_path: Path) -> None:
    for place in ("etc/kubernetes/kubelet.conf", "var/lib/rancher/k3s/agent/kubelet.kubeconfig"):
        files = Files()
        credentials.find("", tmp_path, files)
        assert not files.changed()
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
        assert files.changed()


def test_no_key_is_left_in_memory_under_a_name(file: Path, authority: Authority) -> None:
    certificate, key = authority.issue("a", (), not_after=now())
    user = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    write(file, user=user)
    before = len(list(Path("/proc/self/fd").iterdir()))
    load(file, Files())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("where", ["token", "tokenFile"])
def test_a_token_that_is_none_is_refused_and_never_shown(
    file: Path, tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").write_text("secret-1\nsecret-2")
    write(file, user={where: "file" if where == "tokenFile" else "secret-1\nsecret-2"})
    assert refusal(file) == "FILE: its token is not one word of ASCII"


@pytest.mark.parametrize(
    "key",
    ["-----BEGIN\nsecret" * 20, "secret/" * 40, "secret" * 50],
    ids=["PEM", "base64", "token"],
)
def test_a_key_where_its_files_name_belongs_is_never_shown(file: Path, key: str) -> None:
    write(file, user={"client-certificate": "c", "client-key": key})
    (file.parent / "c").touch()
    assert "secret" not in refusal(file)


def test_of_several_failures_all_are_told_and_the_first_one_keeps_what_it_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = iter([BusyError("busy", 7.0), CredentialsError("none")])

    def fail(*_: object) -> None:
        raise next(failures)

    monkeypatch.setattr(credentials, "load", fail)
    monkeypatch.setattr(credentials, "find", lambda *_: [Path("a"), Path("b")])
    with pytest.raises(BusyError) as caught:
        Connection(NodeTable()).api()
    assert (str(caught.value), caught.value.retry_after) == ("busy; none", 7.0)
