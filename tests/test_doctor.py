"""`dtagent doctor` on hosts that are broken: what it prints, and that its remedy is one."""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dtagent.doctor import examine
from dtagent.doctor import host as checks
from dtagent.errors import DtagentError, TlsError
from tests.apiserver.certificates import Authority
from tests.apiserver.commands import free_port
from tests.faults.test_clock import library
from tests.host import PREFIX, Host

Doctor = Callable[..., str]
KEY = f"{PREFIX}acme-board"


@pytest.fixture
def doctor(host: Host, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """What it prints of the host, less what is another each time; `ok` says how it must end."""

    def run(*, ok: bool) -> str:
        capsys.readouterr()
        status = host.run("doctor", "--no-unit")
        text = told(host, capsys.readouterr().out)
        assert status == (0 if ok else 1), text
        return text

    return run


def told(host: Host, text: str) -> str:
    uid = (host.cluster.node(host.name) or {}).get("metadata", {}).get("uid", "no uid")
    for what, name in {
        str(host.base.parent): "HOST", host.cluster.url: "SERVER", host.name: "NODE", uid: "UID",
    }.items():  # fmt: skip
        text = text.replace(what, name)
    text = re.sub(r"user \d+", "user 0", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "DATE", text)


WELL = """\
OK       configuration: valid
OK       devicetree: HOST/base: 1 label
skipped  overlays: [devicetree] root is not this host's own tree, and [overlays] path is empty
OK       nfd: not in use, and no features file is left
OK       kubeconfig: HOST/kubelet.kubeconfig (-rw-------, user 0): SERVER by certificate
OK       server: SERVER answers directly
OK       clock: within 60 s of the server's
OK       certificates: HOST/kubelet.kubeconfig and its server trust each other, valid until DATE
OK       identity: Node NODE, by HOST/kubelet.kubeconfig
OK       node: Node NODE is there, uid UID
OK       permission: the server accepts the patch of Node NODE
OK       changes: due on the Node: +beta.devicetree.org/acme-board=1
OK       second-writer: nobody else sets these labels
"""


def well_but(text: str) -> str:
    """WELL with the lines of `text` for those of the same checks."""
    lines = _by_name(text)
    return "".join(lines.get(name, line) for name, line in _by_name(WELL).items())


def _by_name(text: str) -> dict[str, str]:
    return {m[1]: m[0] for m in re.finditer(r"\w+ +([a-z0-9-]+): .*\n(?: {9}> .*\n)?", text)}


def test_all_is_well(doctor: Doctor) -> None:
    assert doctor(ok=True) == WELL


def test_nothing_is_written_and_nothing_is_changed(host: Host, doctor: Doctor) -> None:
    files, since = {*host.base.parent.rglob("*")}, host.cluster.audit_mark()
    doctor(ok=True)
    assert {*host.base.parent.rglob("*")} == files
    assert host.labels == {}
    uris = [uri for verb, uri in host.requests(since) if verb in ("patch", "update", "delete")]
    assert uris
    assert all("dryRun=All" in uri for uri in uris)


def test_no_tree(host: Host, doctor: Doctor) -> None:
    away = host.base.rename(host.base.with_name("away"))
    assert doctor(ok=False) == well_but("""\
failure  devicetree: no devicetree at HOST/base: this host has none, or [devicetree] root and \
--root name another place
         > correct [devicetree] root and nodes; a PC has no devicetree, and no labels
skipped  permission: needs devicetree
skipped  changes: needs devicetree
skipped  second-writer: needs devicetree
""")
    away.rename(host.base)
    assert doctor(ok=True) == WELL


NO_CREDENTIAL = """\
skipped  server: needs kubeconfig
skipped  clock: needs server
skipped  certificates: needs kubeconfig
"""
NO_IDENTITY = """\
skipped  node: needs identity
skipped  permission: needs identity
skipped  changes: needs node
skipped  second-writer: needs node
"""
NO_CERTIFICATE = "skipped  identity: needs certificates\n" + NO_IDENTITY


def test_no_kubeconfig(host: Host, doctor: Doctor) -> None:
    host.config.write_text(f'[devicetree]\nroot = "{host.base}"\n')
    assert doctor(ok=False) == well_but(
        NO_CREDENTIAL
        + NO_CERTIFICATE
        + """\
failure  kubeconfig: no kubeconfig of a node found: this host runs no known Kubernetes, or it is \
not up yet; [node] kubeconfig names one
         > have this host join its cluster, or set [node] kubeconfig to the node's own
"""
    )
    host.configure()
    assert doctor(ok=True) == WELL


def test_an_expired_certificate(host: Host, doctor: Doctor) -> None:
    lifetime = datetime.timedelta(hours=-1)
    host.cluster.kubeconfig(host.name, path=host.kubeconfig, lifetime=lifetime)
    assert doctor(ok=False) == well_but(
        NO_CERTIFICATE
        + """\
failure  certificates: HOST/kubelet.kubeconfig: its client certificate expired on DATE
         > if the clock is right: restart the kubelet (k3s), which renews it
"""
    )
    host.cluster.kubeconfig(host.name, path=host.kubeconfig)
    assert doctor(ok=True) == WELL


def rewrite(host: Host, **fields: str) -> None:
    """The kubeconfig's cluster with other fields."""
    config = json.loads(host.kubeconfig.read_text())
    config["clusters"][0]["cluster"].update(fields)
    host.kubeconfig.write_text(json.dumps(config))


def test_a_wrong_ca(host: Host, doctor: Doctor) -> None:
    other = host.base.with_name("ca.crt")
    other.write_bytes(Authority().pem)
    rewrite(host, **{"certificate-authority": str(other)})
    assert doctor(ok=False) == well_but(
        NO_CERTIFICATE
        + """\
failure  certificates: SERVER: TLS: certificate verify failed: unable to get local issuer \
certificate (directly)
         > give certificate-authority this cluster's CA: have the host join again
"""
    )
    rewrite(host, **{"certificate-authority": str(host.cluster.ca_file)})
    assert doctor(ok=True) == WELL


def test_an_old_ca_beside_the_new_one(host: Host, doctor: Doctor) -> None:
    both = host.base.with_name("ca.crt")
    old = Authority(lifetime=datetime.timedelta(hours=-1))
    both.write_bytes(old.pem + host.cluster.ca_file.read_bytes())
    rewrite(host, **{"certificate-authority": str(both)})
    assert doctor(ok=True) == well_but("""\
warning  certificates: HOST/kubelet.kubeconfig: its CA expired on DATE
         > give it the cluster's new CA, and that alone
""")
    rewrite(host, **{"certificate-authority": str(host.cluster.ca_file)})
    assert doctor(ok=True) == WELL


def test_a_ca_whose_dates_are_of_no_known_form_does_not_end_the_doctor(
    host: Host, doctor: Doctor
) -> None:
    """OpenSSL takes it from a file, too; nothing in it is trusted."""
    both = host.base.with_name("ca.crt")
    der = ssl.PEM_cert_to_DER_cert(Authority().pem.decode())
    odd = re.sub(rb"(\x17\x0d\d{12})Z", rb"\1z", der)
    assert odd != der
    both.write_text(ssl.DER_cert_to_PEM_cert(odd) + host.cluster.ca_file.read_text())
    rewrite(host, **{"certificate-authority": str(both)})
    assert doctor(ok=True) == WELL


def test_of_several_kubeconfigs_the_one_that_the_agent_takes_is_examined(
    host: Host, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, stale = json.loads(host.kubeconfig.read_text()), host.base.with_name("stale")
    gone = f"https://127.0.0.1:{free_port()}"
    config["clusters"][0]["cluster"]["server"] = gone
    stale.write_text(json.dumps(config))
    host.config.write_text(f'[devicetree]\nroot = "{host.base}"\n')
    monkeypatch.setenv("KUBECONFIG", f"{stale}:{host.kubeconfig}")
    assert doctor(ok=True) == WELL
    rewrite(host, server=gone)
    stale.chmod(0o600)
    assert doctor(ok=False).replace(gone, "GONE") == well_but(
        NO_CERTIFICATE
        + """\
OK       kubeconfig: HOST/stale (-rw-------, user 0): GONE by certificate
failure  server: GONE: Connection refused (directly)
         > see that the address is right and the server up; the agent waits for it
skipped  clock: needs server
skipped  certificates: needs server
"""
    )


@pytest.mark.parametrize(
    ("warning", "failure", "remedy"),
    [
        ("", "is not yet valid", "set this host's clock"),
        (
            "k: its CA expired on DATE",
            "has expired",
            "give it the cluster's new CA, and that alone",
        ),
        (
            "k: its client certificate was not renewed, and expires on DATE",
            "self-signed certificate",
            "give certificate-authority this cluster's CA: have the host join again",
        ),
    ],
)
def test_a_remedy_is_the_failures_and_not_that_of_a_warning_beside_it(
    warning: str, failure: str, remedy: str
) -> None:
    def certificates() -> tuple[None, str]:
        if warning:
            checks.log.warning("%s", warning)
        raise TlsError(f"s: TLS: certificate verify failed: {failure} (directly)")

    assert examine._made(certificates, {}).remedy == remedy


def test_a_certificate_without_a_key_is_shown_to_nobody(host: Host, doctor: Doctor) -> None:
    config = json.loads(host.kubeconfig.read_text())
    pem = b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"
    data = base64.b64encode(pem).decode()
    config["users"][0]["user"] = {"client-certificate-data": data, "token": "none"}
    host.kubeconfig.write_text(json.dumps(config))
    said = doctor(ok=False)
    assert "by token\n" in said
    assert "OK       certificates: HOST/kubelet.kubeconfig and its server trust each other" in said
    assert "failure  identity: HOST/kubelet.kubeconfig: the server does not accept" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="installs libfaketime, if need be")
def test_a_clock_that_is_off(host: Host, doctor: Doctor) -> None:
    def at(time: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dtagent", "doctor", "--no-unit", "--config", host.config],
            env={**os.environ, "LD_PRELOAD": library(), "FAKETIME": time,
                 "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        return told(host, done.stdout)

    said = re.sub(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", "DATE", at("@1970-01-01 00:01:00"))
    assert said == well_but(
        NO_CERTIFICATE
        + """\
warning  clock: it is DATE here, and DATE at the server
         > set the clock, and let it be kept: `timedatectl set-ntp true`
failure  certificates: HOST/kubelet.kubeconfig: its client certificate is not valid before DATE
         > set this host's clock
"""
    )
    assert at("+0") == WELL


def test_a_wrong_node(host: Host, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTAGENT_NODE__NAME", "another")
    assert doctor(ok=False) == well_but(
        NO_IDENTITY
        + """\
failure  identity: HOST/kubelet.kubeconfig is the credential of Node NODE, and [node] name says \
another; leave the name empty, or give the kubeconfig of that Node
         > leave [node] name empty, or set [node] kubeconfig to this Node's own
"""
    )
    monkeypatch.delenv("DTAGENT_NODE__NAME")
    assert doctor(ok=True) == WELL


def test_a_credential_that_may_not(
    host: Host, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.cluster.kubeconfig(host.name, path=host.kubeconfig, user="somebody", groups=())
    monkeypatch.setenv("DTAGENT_NODE__NAME", host.name)
    assert doctor(ok=False) == well_but("""\
failure  node: GET /api/v1/nodes/NODE: 403 nodes "NODE" is forbidden: User "somebody" cannot get \
resource "nodes" in API group "" at the cluster scope
         > use the node's own kubeconfig: leave [node] kubeconfig empty
skipped  permission: needs node
skipped  changes: needs node
skipped  second-writer: needs node
""")
    host.cluster.kubeconfig(host.name, path=host.kubeconfig)
    assert doctor(ok=True) == WELL


def test_a_proxy_that_is_not_there(host: Host, doctor: Doctor) -> None:
    before, proxy = host.kubeconfig.read_text(), f"http://127.0.0.1:{free_port()}"
    rewrite(host, **{"proxy-url": proxy.replace("127", "user:secret@127")})
    said = doctor(ok=False)
    assert said.replace(proxy, "PROXY") == well_but(
        NO_CERTIFICATE
        + """\
failure  server: SERVER: Connection refused (by the proxy PROXY)
         > correct proxy-url, HTTPS_PROXY or NO_PROXY, or have the proxy run
skipped  clock: needs server
skipped  certificates: needs server
"""
    )
    host.kubeconfig.write_text(before)
    assert doctor(ok=True) == WELL


def test_a_second_writer(host: Host, doctor: Doctor) -> None:
    assert host.run("publish") == 0  # from the first apply on the server keeps these books
    host.cluster.patch_labels(host.name, {KEY: "2"}, "k8s-dt-node-labeller")
    assert doctor(ok=True) == well_but("""\
warning  second-writer: label beta.devicetree.org/acme-board is set by k8s-dt-node-labeller, too
         > stop who sets it, then take it off: `kubectl label node NAME KEY-`
""")
    host.cluster.patch_labels(host.name, {KEY: None}, "kubectl")
    assert doctor(ok=True) == WELL


def test_an_overlay_folder_that_is_missing(
    host: Host, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = host.base.with_name("overlays")
    monkeypatch.setenv("DTAGENT_OVERLAYS__PATH", str(folder))
    assert doctor(ok=True) == well_but("""\
warning  overlays: [overlays] path HOST/overlays is not there; looked for every 2 s
         > have the folder there and readable, or correct [overlays] path
""")
    folder.mkdir()
    watched = "OK       overlays: overlays are watched in HOST/overlays\n"
    assert doctor(ok=True) == well_but(watched)


def test_a_metrics_folder_that_is_missing(host: Host, doctor: Doctor) -> None:
    folder = host.base.with_name("node-exporter")
    host.configure(f'metrics.textfile = "{folder}/dtagent.prom"')
    assert doctor(ok=True) == well_but("""\
warning  configuration: HOST/node-exporter/dtagent.prom: No such file or directory; its folder \
must be there, and the unit must be allowed to write in it: see the drop-in metrics.conf among the \
examples
         > make the folder, and use the unit's drop-in metrics.conf
""")
    folder.mkdir()
    assert doctor(ok=True) == WELL


NFD = (
    NO_CREDENTIAL
    + NO_CERTIFICATE
    + """\
OK       nfd: HOST/features.d/devicetree can be written
skipped  kubeconfig: publish = "nfd" leaves the API to nfd-master
"""
)
NFD_DENIED = """\
failure  nfd: HOST/features.d/devicetree: cannot be written
         > use the unit's drop-in nfd.conf, which makes the folder; see docs/nfd.md
"""


@pytest.fixture
def features(host: Host) -> Path:
    """The folder of a host that publishes by NFD; it is not there yet."""
    folder = host.base.with_name("features.d")
    host.configure(f'publish = "nfd"\nnfd.features_file = "{folder}/devicetree"')
    return folder


def test_a_features_folder_that_is_missing(features: Path, doctor: Doctor) -> None:
    assert doctor(ok=False) == well_but(NFD + NFD_DENIED)
    features.touch()
    assert doctor(ok=False) == well_but(NFD + NFD_DENIED)
    features.unlink()
    features.mkdir()
    assert doctor(ok=True) == well_but(NFD)
    assert [*features.iterdir()] == [], "nothing is written by looking"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a folder read-only")
def test_a_features_folder_that_is_read_only(host: Host, features: Path) -> None:
    """As the unit has it without the drop-in: by a mount, which binds root, too."""
    features.mkdir()
    mounted = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    doctor = [sys.executable, "-m", "dtagent", "doctor", "--no-unit", "--config", str(host.config)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, str(features), *doctor],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told(host, done.stdout) == well_but(NFD + NFD_DENIED), done.stderr
    assert done.returncode == 1


def test_labels_of_ours_on_a_node_that_nfd_labels_now(host: Host, doctor: Doctor) -> None:
    assert host.run("publish") == 0
    folder = host.base.with_name("features.d")
    folder.mkdir()
    host.configure(f'publish = "nfd"\nnfd.features_file = "{folder}/devicetree"')
    assert doctor(ok=True) == well_but(
        NFD
        + """\
warning  nfd: Node NODE still bears labels that dtagent set itself, and nfd-master would fight \
over them: systemctl stop dtagent && dtagent clear && systemctl start dtagent
         > do as it says
"""
    )
    assert host.run("clear") == 0
    assert doctor(ok=True) == well_but(NFD)


def test_a_features_file_that_stays_when_the_node_is_patched_again(
    host: Host, features: Path, doctor: Doctor
) -> None:
    features.mkdir()
    assert host.run("publish") == 0
    host.configure(f'nfd.features_file = "{features}/devicetree"')
    said = doctor(ok=True)
    stays = "warning  nfd: HOST/features.d/devicetree stays from publish"
    assert [line for line in said.splitlines() if line.startswith(stays)]
    assert "         > remove the file\n" in said
    (features / "devicetree").unlink()
    assert doctor(ok=True) == WELL


def test_a_unit_whose_file_was_removed_under_systemd_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a daemon-reload systemd still has the service, and `systemctl cat` nothing of it."""
    gone = "No files found for dtagent.service."
    monkeypatch.setattr(examine, "_output", lambda *_, **__: ("", f"{gone}\n"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(DtagentError, match=f"^it cannot be tried: {gone}$"):
        examine.unit_sandbox({}, [], given=False)


def test_json_has_a_row_for_each_check(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.run("doctor", "-o", "json") == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert all(each.keys() == {"name", "status", "message", "remedy"} for each in checks)
    unit = {each["name"]: each["status"] for each in checks if each["name"].startswith("unit")}
    assert len(unit) == 5
    if not Path("/run/systemd/system").is_dir():
        assert set(unit.values()) == {"skipped"}
