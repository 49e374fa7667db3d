"""`dtagent run` as a process, against the real API server."""

from __future__ import annotations

import json
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dtagent.errors import DtagentError
from dtagent.host.log import Systemd
from dtagent.host.status import Status, read, runtime_directory
from dtagent.tree.labels import OVERLAY_PREFIX
from tests.apiserver import ApiServer
from tests.host import PREFIX, Host
from tests.process import Process, wait_for

BOARD = {PREFIX + "acme-board": "1"}


def start(host: Host, *options: str, **environ: str) -> Process:
    directory = host.config.parent
    return Process(directory, "--config", str(host.config), *options, **environ)


@pytest.fixture
def agent(host: Host) -> Iterator[Process]:
    """The agent, labels published."""
    with start(host) as agent:
        agent.wait_said("READY=1")
        wait_for(lambda: host.labels == BOARD, "labels on the Node")
        yield agent


def test_it_publishes_says_it_is_ready_and_stops_when_told(host: Host, agent: Process) -> None:
    agent.wait_said("STATUS=")
    assert agent.status.startswith(f"1 label true on Node {host.name} at ")
    assert agent.stop() == 0
    assert agent.said[-1] == "STOPPING=1"
    assert host.labels == BOARD
    assert agent.errors == [
        f"dtagent: Node {host.name} at {host.cluster.url}, by {host.kubeconfig}",
        f"dtagent: Node {host.name}: +{PREFIX}acme-board=1",
    ]


def test_status_tells_what_is_on_the_node_and_when_it_is_not_all_well(
    host: Host, agent: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_for(lambda: host.run("status") == 0, "a healthy agent's status")
    first, *_, last = capsys.readouterr().out.splitlines()
    assert [first, last] == [agent.status, f"{PREFIX}acme-board: 1"]
    host.base.rename(host.base.with_name("away"))
    agent.reload()
    wait_for(lambda: host.run("status") == 1, "the failure to be told")
    assert "cannot read the devicetree" in capsys.readouterr().err
    host.base.with_name("away").rename(host.base)
    agent.reload()
    wait_for(lambda: host.run("status") == 0, "its end to be told")
    agent.popen.kill()
    agent.popen.wait()
    assert host.run("status") == 1
    assert "was killed" in capsys.readouterr().err


def status(host: Host, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `status -o json` prints, of an agent that has something to say."""
    capsys.readouterr()
    host.run("status", "-o", "json")
    text = capsys.readouterr().out
    return dict(json.loads(text)) if text else {"healthy": False, "last_change": {}}


def test_status_tells_what_was_changed_last_and_which_overlay_did_it(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlays = tmp_path / "overlays"
    overlays.mkdir()
    host.configure(f'overlays.path = "{overlays}"')
    with start(host) as agent:
        wait_for(lambda: status(host, capsys)["healthy"], "a healthy agent's status")
        first = status(host, capsys)
        assert first["status"] == agent.status
        assert first["labels"] == BOARD
        assert first["overlays"] == first["left_alone"] == []
        assert first["last_error"] == {}
        assert first["last_change"]["changes"] == [f"+{PREFIX}acme-board=1"]
        assert first["last_change"]["why"] == "start"
        for at in (first["since"], first["next_resync"], first["last_change"]["at"]):
            assert datetime.fromisoformat(at).tzinfo
        host.add("hat", {"compatible": b"acme,hat\0"})
        wait_for(lambda: "overlays are watched" in "".join(agent.errors), "the watch")
        overlay = tmp_path / "hat"
        overlay.mkdir()
        for name, text in (("status", "applied\n"), ("path", "hat.dtbo\n"), ("dtbo", "")):
            (overlay / name).write_text(text)
        overlay.rename(overlays / "hat")
        # A scan of the start's series may have told of the node alone, before its overlay.
        change = f"+{OVERLAY_PREFIX}hat=applied"
        wait_for(lambda: change in status(host, capsys)["last_change"]["changes"], "its label")
        last = status(host, capsys)
        assert last["labels"] == BOARD | {
            f"{PREFIX}acme-hat": "1",
            f"{OVERLAY_PREFIX}hat": "applied",
        }
        assert last["overlays"] == ["hat"]
        assert last["since"] == first["since"]
        assert last["last_change"]["why"] == "overlay hat applied"
        host.run("status")
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].endswith("; overlays: hat")
        assert re.fullmatch(r"  last change: +\S+ \S+: .+ \(overlay hat applied\)", lines[2])


def test_status_tells_the_last_error_while_it_lasts_and_after_it(
    host: Host, agent: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    away = host.base.with_name("away")
    host.base.rename(away)
    agent.reload()
    wait_for(lambda: not status(host, capsys)["healthy"], "the failure to be told")
    last = status(host, capsys)
    assert last["labels"] == BOARD
    assert last["status"] == f"cannot read the devicetree: {last['last_error']['message']}"
    away.rename(host.base)
    agent.reload()
    wait_for(lambda: status(host, capsys)["healthy"], "its end to be told")
    assert status(host, capsys)["last_error"] == last["last_error"]


def test_a_state_that_cannot_be_written_is_told_and_none_that_is_old_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """/dev/full has no room, whatever the disk has (full(4))."""
    caplog.set_level("INFO", "dtagent")
    reports = Status(Systemd({}), tmp_path)
    reports.update(place="Node a")
    for place in ("no route", "no route to host"):
        (tmp_path / ".state.json.new").symlink_to("/dev/full")
        reports.failed(place, outage=place)
    with pytest.raises(DtagentError, match=r"state\.json: could not be written"):
        read(tmp_path)
    reports.update()
    assert read(tmp_path).outage == "no route to host"
    state = tmp_path / "state.json"
    assert [record.message for record in caplog.records] == [
        f"{state}: No space left on device; dtagent status shows nothing until it can be written",
        f"{state} can be written again",
    ]


def test_status_without_an_agent_says_where_to_look(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.run("status") == 1
    message = "dtagent: dtagent does not run: systemctl status dtagent says why\n"
    assert capsys.readouterr().err == message


def test_a_key_that_everybody_can_read_is_one_warning_with_the_remedy(
    host: Host, tmp_path: Path
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="dtagent-"))  # pytest's own folders are closed to others
    try:
        folder.chmod(0o755)
        kubeconfig = folder / "kubelet.kubeconfig"
        host.cluster.kubeconfig(host.name, path=kubeconfig, inline=True)
        kubeconfig.chmod(0o644)
        host.kubeconfig = kubeconfig
        host.configure()
        with start(host) as agent:
            agent.wait_said("READY=1")
            agent.reload()
            agent.wait_error("configuration reloaded")
            agent.wait_error(f"{kubeconfig}: every user of this host can read the node's secret")
            wait_for(lambda: sum(f"by {kubeconfig}" in line for line in agent.errors) == 2, "both")
            agent.stop()
        assert len([line for line in agent.errors if "chmod 600" in line]) == 1
    finally:
        shutil.rmtree(folder)


def test_a_reload_rescans_the_tree(host: Host, agent: Process) -> None:
    host.add("sensor@1", {"compatible": b"acme,sensor\0"})
    agent.reload()
    wait_for(lambda: PREFIX + "acme-sensor" in host.labels, "the sensor's label")


def test_a_reload_takes_the_new_configuration(host: Host, agent: Process) -> None:
    host.configure('labels.prefix = "other.example/"')
    agent.reload()
    wait_for(lambda: host.labels == {"other.example/acme-board": "1"}, "the new prefix")


def test_the_node_that_another_configuration_leaves_behind_is_named_with_the_remedy(
    host: Host,
) -> None:
    other = f"{host.name}-other"
    host.cluster.create_node(other)
    shutil.copy(host.cluster.admin_kubeconfig(), host.kubeconfig)
    dropin = host.config.with_name("dtagent.toml.d") / "node.toml"
    dropin.parent.mkdir()
    dropin.write_text(f'node.name = "{host.name}"')
    with start(host) as agent:
        wait_for(lambda: host.labels == BOARD, "labels on the first Node")
        dropin.write_text(f'node.name = "{other}"')
        agent.reload()
        wait_for(lambda: host.cluster.labels(other) == BOARD, "labels on the other Node")
        remedy = f"dtagent clear --node-name {host.name}"
        agent.wait_error(f"Node {host.name} keeps the labels that were set on it: {remedy}")
    assert host.run("clear", "--node-name", host.name) == 0
    assert host.labels == {}


def test_a_wrong_configuration_is_not_taken_and_the_old_one_stays(
    host: Host, agent: Process
) -> None:
    host.configure("publish = 5")
    host.add("sensor@1", {"compatible": b"acme,sensor\0"})
    agent.reload()
    agent.wait_error("configuration not reloaded, the old one stays: ")
    wait_for(lambda: PREFIX + "acme-sensor" in host.labels, "a scan with the old configuration")
    assert agent.stop() == 0


def test_a_wrong_configuration_at_the_start_is_exit_status_2(host: Host) -> None:
    host.configure("publish = 5")
    with start(host) as agent:
        agent.wait_said("STATUS=wrong configuration: ")
        agent.popen.wait(60)
        assert agent.stop() == 2


def test_drift_is_put_right_at_the_next_resync(host: Host) -> None:
    host.configure('resync_interval = "1s"')
    with start(host) as agent:
        agent.wait_said("READY=1")
        host.cluster.patch_labels(host.name, {PREFIX + "acme-board": None}, manager="someone")
        wait_for(lambda: host.labels == BOARD, "the label that somebody deleted")


def test_it_is_ready_without_a_cluster_and_publishes_when_one_appears(host: Host) -> None:
    kubeconfig = host.kubeconfig.read_text()
    host.kubeconfig.unlink()
    with start(host) as agent:
        agent.wait_said("READY=1")
        agent.wait_said("STATUS=waiting since ")
        host.kubeconfig.write_text(kubeconfig)
        wait_for(lambda: host.labels == BOARD, "labels after the kubeconfig came")
        agent.wait_error("is in reach again")
        assert len([line for line in agent.errors if "trying again until it works" in line]) == 1


def test_an_outage_is_one_warning_and_one_notice(tmp_path: Path) -> None:
    directory = tmp_path / "cluster"
    directory.mkdir()
    with ApiServer(directory) as cluster:
        host = Host(cluster, "n", tmp_path / "host")
        cluster.create_node("n")
        host.configure('resync_interval = "1s"')
        with start(host) as agent:
            wait_for(lambda: host.labels == BOARD, "labels on the Node")
            cluster.stop_server()
            agent.wait_error("trying again until it works")
            host.compatible("acme,changed-meanwhile")
            cluster.start_server()
            expected = {PREFIX + "acme-changed-meanwhile": "1"}
            wait_for(lambda: host.labels == expected, "the newest result, after the outage")
            agent.wait_error("is in reach again")
            assert agent.stop() == 0
        warnings = [line for line in agent.errors if "trying again" in line]
        assert len(warnings) == 1
        assert f"{cluster.url}: " in warnings[0]


def test_a_stop_does_not_wait_for_a_server_that_never_answers(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        host.cluster.kubeconfig(host.name, path=host.kubeconfig, server=url)
        with start(host) as agent:
            connection, _ = silent.accept()
            connection.recv(1)  # it waits for our side of the handshake now
            assert agent.stop() == 0
            connection.close()
        assert "STOPPING=1" in agent.said
        assert not [line for line in agent.errors if "no whole answer" in line], "its own deadline"


def test_a_tree_that_cannot_be_read_takes_no_label_off(host: Host, agent: Process) -> None:
    away = host.base.with_name("away")
    host.base.rename(away)
    mark = host.cluster.audit_mark()
    agent.reload()
    agent.wait_error("no devicetree at ")
    agent.wait_said("STATUS=cannot read the devicetree: ")
    assert host.labels == BOARD
    assert "patch" not in [verb for verb, _ in host.requests(mark)]
    away.rename(host.base)
    agent.reload()
    agent.wait_error("the devicetree can be read again")


def test_one_writer_on_the_host(
    host: Host, agent: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("publish", "clear", "run"):
        assert host.run(command) == 1
        assert "keeps the labels; first: systemctl stop dtagent" in capsys.readouterr().err
    agent.stop()
    assert host.run("publish") == 0


def test_a_dry_run_prints_the_patch_and_sends_and_writes_nothing(host: Host) -> None:
    mark = host.cluster.audit_mark()
    with start(host, "--dry-run") as agent:
        wait_for(lambda: "" in agent.output, "a whole patch")
        agent.stop()
    node = host.cluster.node(host.name)
    assert node is not None
    assert agent.output == [
        f"PATCH /api/v1/nodes/{host.name}?fieldManager=dtagent&force=true",
        "Content-Type: application/apply-patch+yaml",
        "",
        "apiVersion: v1",
        "kind: Node",
        "metadata:",
        "  labels:",
        f"    {PREFIX}acme-board: '1'",
        f"  name: {host.name}",
        f"  uid: {node['metadata']['uid']}",
        "",
    ]
    assert {verb for verb, _ in host.requests(mark)} == {"create", "get"}
    assert host.labels == {}
    assert list(runtime_directory().iterdir()) == []


def test_a_dry_run_with_no_server_compares_with_an_empty_node(host: Host) -> None:
    host.kubeconfig.unlink()
    with start(host, "--dry-run", "--node-name", "n") as agent:
        wait_for(lambda: agent.output.count("") == 2, "a whole patch")
    assert agent.output[0].startswith("# compared with an empty Node: ")
    assert agent.output[-3:] == ["  name: n", "  uid: unknown", ""]


def test_the_watchdog_is_fed(host: Host) -> None:
    with start(host, WATCHDOG_USEC="200000") as agent:
        wait_for(lambda: agent.said.count("WATCHDOG=1") >= 3, "three feedings")


def test_control_characters_of_a_tree_begin_no_line_of_the_journal(host: Host) -> None:
    host.compatible("acme,board\n<0>forged\x1b[31m")
    with start(host) as agent:
        agent.wait_said("READY=1")
        agent.stop()
    assert not [line for line in agent.errors if line.startswith("<0>")]
    assert "\x1b" not in "".join(agent.errors)


def test_only_light_modules_are_loaded(host: Host) -> None:
    """The kubernetes client's API models alone would double the memory of the agent."""
    import subprocess
    import sys

    program = (
        "import sys, dtagent.agent, dtagent.publish.node;"
        "print('kubernetes.client.rest' in sys.modules, len([m for m in sys.modules if "
        "m.startswith(('kubernetes.client.models', 'kubernetes.client.api'))]),"
        "[m for m in ('aiohttp', 'oauthlib', 'websocket', 'requests', 'multiprocessing',"
        "'importlib.metadata') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["True", "0", "[]"]
