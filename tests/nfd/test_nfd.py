"""`publish = "nfd"` with NFD itself: what arrives on the Node, what is refused, the way back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from demo.tree import add_node, remove_node, strings
from dtagent.publish.nfd import SIZE_MAX
from tests.apiserver.process import Process
from tests.host import PREFIX, Host
from tests.process import wait_for
from tests.test_overlays import OVERLAY, apply
from tests.test_run import start

from . import discovery as nfd
from .conftest import DENIED, features, labels, settings
from .discovery import Discovery

BOARD = {PREFIX + "acme-board": "1"}
DOCS = Path(__file__).parents[2] / "docs" / "nfd.md"


def rule(label: str) -> str:
    """One more label, with the board's compatible as its value."""
    return f'[[rules]]\nlabel = "{label}"\nproperty = "compatible"\n'


@pytest.fixture
def overlays(host: Host, worker: Process, tmp_path: Path) -> Path:
    """Where the host's overlays come and go."""
    folder = tmp_path / "overlays"
    folder.mkdir()
    host.configure(settings(host, f'overlays.path = "{folder}"\n'))
    return folder


def test_labels_arrive_through_nfd_and_none_from_the_agent(
    host: Host, worker: Process, overlays: Path
) -> None:
    apply(overlays, "hat")
    mark = host.cluster.audit_mark()
    assert host.run("publish") == 0
    wait_for(lambda: labels(host) == {**BOARD, OVERLAY + "hat": "applied"}, "labels on the Node")
    assert "patch" not in [verb for verb, _ in host.requests(mark)]


def test_an_overlays_device_comes_and_goes_through_nfd(
    host: Host, worker: Process, overlays: Path
) -> None:
    with start(host) as agent:
        agent.wait_error("overlays are watched in ")
        agent.wait_said("READY=1")
        wait_for(lambda: labels(host) == BOARD, "the board's label")
        add_node(host.base, "/hat", {"compatible": strings("acme,hat")})
        apply(overlays, "hat")
        wait_for(lambda: labels(host).get(PREFIX + "acme-hat") == "1", "the device's label")
        remove_node(host.base, "/hat")
        shutil.rmtree(overlays / "hat")
        wait_for(lambda: labels(host) == BOARD, "the end of all that came")


def test_every_board_of_many_odd_compatibles_is_taken_as_it_is(
    host: Host, discovery: Discovery, worker: Process
) -> None:
    """No comment, directive, `@` reference or broken line can come of what a devicetree says."""
    odd = (
        "#,+expiry-time=2000",
        "@local.label.x",
        "=,=",
        "acme,a=b",
        " acme,c ",
        "acme,\nd",
        "é,f",
    )
    host.compatible("acme,board", *(f"acme,{i}" for i in range(200)), *odd)
    assert host.run("publish") == 0
    lines = features(host).read_text().splitlines()
    wanted = dict(line.split("=") for line in lines)
    assert len(wanted) == len(lines) > 200
    wait_for(lambda: labels(host) == wanted, "every label")
    assert "ignoring" not in worker.log.read_text()


def test_labels_stay_when_the_agent_stops(host: Host, worker: Process) -> None:
    with start(host) as agent:
        agent.wait_said("READY=1")
    (features(host).parent / "other").write_text("example.org/later=1\n")
    wait_for(lambda: "example.org/later" in labels(host), "another scan of nfd-worker's")
    assert labels(host) == {**BOARD, "example.org/later": "1"}


def test_the_go_labellers_file_is_taken_over_and_no_right_label_is_off_the_node(
    host: Host, worker: Process
) -> None:
    gone = PREFIX + "acme-gone"
    features(host).write_text(f"{gone}=1\n{PREFIX}acme-board=1\n")
    wait_for(lambda: labels(host) == {**BOARD, gone: "1"}, "its labels")
    mark = host.cluster.audit_mark()
    assert host.run("publish") == 0
    wait_for(lambda: labels(host) == BOARD, "the end of what is not there")
    changes = [
        (change["op"], change["path"])
        for event in host.cluster.audit(user=nfd.user(nfd.MASTER), verb="patch", since=mark)
        if event["objectRef"]["name"] == host.name
        for change in event["requestObject"]
        if "/labels/" in change["path"]
    ]
    assert changes == [("remove", f"/metadata/labels/{gone.replace('/', '~1')}")]


def test_nfd_reads_a_file_up_to_that_size_and_none_that_is_larger(
    host: Host, worker: Process
) -> None:
    line = "example.org/whole=1\n"
    features(host).write_text(line + "#" * (SIZE_MAX - len(line)))
    wait_for(lambda: labels(host) == {"example.org/whole": "1"}, "the label of the largest file")
    features(host).write_text(line + "#" * (SIZE_MAX - len(line) + 1))
    wait_for(lambda: labels(host) == {}, "the end of it")
    assert "file size limit exceeded" in worker.log.read_text()


def test_a_key_without_a_domain_is_noted_since_nfd_gives_it_one(
    host: Host, worker: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    host.configure(settings(host, rule("model")))
    assert host.run("scan") == 0
    assert "model: nfd-master puts it in feature.node.kubernetes.io" in capsys.readouterr().err
    assert host.run("publish") == 0
    wait_for(
        lambda: labels(host) == {**BOARD, "feature.node.kubernetes.io/model": "acme-board"},
        "the key",
    )


def test_a_key_of_kubernetes_is_refused_by_the_agent_as_by_nfd(
    host: Host, discovery: Discovery, worker: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "node.kubernetes.io/model"
    host.configure(settings(host, rule(key)))
    assert host.run("publish") == 2
    assert "Kubernetes' own" in capsys.readouterr().err
    features(host).write_text(f"{key}=x\nexample.org/model=x\n")
    wait_for(lambda: labels(host) == {"example.org/model": "x"}, "the label that it may set")
    assert refused(discovery, key)


def test_a_namespace_that_the_administrator_denies_costs_no_other_label(
    host: Host, discovery: Discovery, worker: Process
) -> None:
    host.configure(settings(host, rule(f"{DENIED}/model") + rule("example.org/model")))
    assert host.run("publish") == 0
    wait_for(lambda: labels(host) == {**BOARD, "example.org/model": "acme-board"}, "the others")
    assert refused(discovery, f"{DENIED}/model")


def test_the_rule_of_the_docs_makes_a_label_of_ours_another(
    host: Host, discovery: Discovery, worker: Process
) -> None:
    block = DOCS.read_text().partition("```yaml\n")[2].partition("```")[0]
    nfd.apply(discovery.cluster, yaml.safe_load(block))
    host.compatible("acme,board", "acme,lora")
    assert host.run("publish") == 0
    wait_for(lambda: labels(host).get("example.org/radio") == "true", "the rule's label")


def test_from_the_node_to_nfd_and_back_by_clear(host: Host, worker: Process) -> None:
    through_nfd = host.config.read_text()
    host.configure()
    host.run("publish")
    assert labels(host) == BOARD
    assert host.run("clear") == 0
    assert labels(host) == {}

    host.config.write_text(through_nfd)
    host.run("publish")
    wait_for(lambda: labels(host) == BOARD, "the label through NFD")
    assert host.run("clear") == 0
    assert not features(host).exists()
    wait_for(lambda: labels(host) == {}, "NFD to take it off")

    host.configure()
    assert host.run("publish") == 0
    assert labels(host) == BOARD


def test_back_without_clear_the_agent_puts_right_what_nfd_takes_off(
    host: Host, worker: Process
) -> None:
    host.run("publish")
    wait_for(lambda: labels(host) == BOARD, "the label through NFD")
    host.configure(f'nfd.features_file = "{features(host)}"\n')
    with start(host) as agent:
        agent.wait_error("nfd-master goes on publishing it: remove it")
        agent.wait_said("READY=1")
        features(host).unlink()
        agent.wait_error(f"+{PREFIX}acme-board=1")
        wait_for(lambda: labels(host) == BOARD, "the label by the agent")


def refused(discovery: Discovery, key: str) -> bool:
    """Whether nfd-master has said so."""
    lines = discovery.master.log.read_text().splitlines()
    return any("is not allowed" in line and key in line for line in lines)
