"""What the Node is told of, where `kubectl describe node` shows it; and when it is told nothing."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from demo.tree import add_node, strings
from dtagent.cluster import credentials
from dtagent.cluster.credentials import Files
from dtagent.cluster.node import NodeApi
from dtagent.cluster.transport import Transport
from dtagent.config.settings import NodeTable
from dtagent.errors import DtagentError, UnreachableError
from dtagent.host.log import Systemd
from dtagent.host.status import Status
from dtagent.publish.node import MESSAGE_MAX, NodePublisher, node_event
from dtagent.publish.reconcile import (
    DRIFT,
    GATHER,
    INTERVAL,
    OUTAGE_TOLD,
    RELOAD,
    START,
    Outcome,
    Publisher,
    Reconciler,
)
from tests.host import PREFIX, Host
from tests.process import Process, wait_for

BOARD = {PREFIX + "acme-board": "1"}
HARDWARE = "the devicetree changed"


def described(host: Host) -> list[dict[str, Any]]:
    """The Events that kubectl finds, by the Node's name as the uid: its second search."""
    about = {"kind": "Node", "name": host.name, "namespace": "", "uid": host.name}
    fields = ",".join(f"involvedObject.{key}={value}" for key, value in about.items())
    query = urlencode({"fieldSelector": fields})
    status, answer = host.cluster.admin("GET", f"/api/v1/events?{query}")
    assert status == 200
    return list(answer["items"])


def created(host: Host, since: int = 0) -> list[str]:
    return [uri for verb, uri in host.requests(since) if verb == "create" and "/events" in uri]


def test_an_overlays_labels_are_one_event_on_the_node_and_the_start_is_none(
    host: Host, tmp_path: Path
) -> None:
    """Made by the node's own credential."""
    overlays = tmp_path / "overlays"
    overlays.mkdir()
    host.configure(f'overlays.path = "{overlays}"')
    with Process(tmp_path, "--config", str(host.config)) as agent:
        agent.wait_said("STATUS=1 label true")
        agent.wait_error("overlays are watched in ")
        overlay = tmp_path / "hat"
        overlay.mkdir()
        for name, text in (("status", "applied\n"), ("path", "hat.dtbo\n"), ("dtbo", "")):
            (overlay / name).write_text(text)
        add_node(host.base, "/hat", {"compatible": strings("acme,hat")})
        overlay.rename(overlays / "hat")
        wait_for(lambda: len(described(host)) > 0, "the Event")
    [told] = described(host)
    # In which order the two became true is the folder's and the tree's matter.
    cause, _, labels = told["message"].rpartition(": ")
    assert cause.endswith("overlay hat applied")
    expected = {f"+{PREFIX}acme-hat=1", "+overlay.devicetree.org/hat=applied"}
    assert set(labels.split(", ")) == expected
    assert (told["type"], told["reason"], told["count"]) == ("Normal", "LabelsChanged", 1)
    assert told["source"] == {"component": "dtagent", "host": host.name}
    assert told["firstTimestamp"] == told["lastTimestamp"]
    assert told["metadata"]["name"].startswith(f"{host.name}-")
    assert created(host) == ["/api/v1/namespaces/default/events"]


def test_no_event_is_sent_where_the_configuration_says_so(host: Host) -> None:
    for events in (False, True):
        publisher = NodePublisher(NodeTable(kubeconfig=str(host.kubeconfig), events=events))
        publisher.publish(BOARD)
        publisher.tell("LabelsChanged", "it happened")
        assert len(created(host)) == len(described(host)) == int(events)
        publisher.close()


def test_no_connection_is_made_for_an_event(host: Host) -> None:
    publisher = NodePublisher(NodeTable(kubeconfig=str(host.kubeconfig)))
    publisher.tell("LabelsChanged", "it happened")
    assert host.requests() == []


def test_an_event_that_is_refused_is_a_debug_line_and_labels_go_on(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """A service account, say, that may patch its Node and nothing else."""
    caplog.set_level("DEBUG", "dtagent")
    user = f"no-events-{host.name}"
    kubeconfig = host.cluster.labeller_kubeconfig(user)
    publisher = NodePublisher(NodeTable(name=host.name, kubeconfig=str(kubeconfig)))

    def published(labels: Mapping[str, str]) -> bool:
        try:
            return publisher.publish(labels).labels == labels
        except DtagentError:  # the server looks at roles a moment later
            return False

    wait_for(lambda: published(BOARD), "the role to be in force")
    mark = host.cluster.audit_mark()
    publisher.tell("LabelsChanged", "it happened")
    assert [record.levelname for record in caplog.records if "no Event" in record.message] == [
        "DEBUG"
    ]
    assert "POST /api/v1/namespaces/default/events: 403" in caplog.text
    assert publisher.publish({}).changes == [f"-{PREFIX}acme-board"]
    verbs = [event["verb"] for event in host.cluster.audit(user=user, since=mark)]
    assert verbs == ["create", "patch"]  # by the connection that there was
    assert described(host) == []


def test_a_server_that_does_not_answer_holds_an_event_for_five_seconds(host: Host) -> None:
    """And not for the twenty that a request for labels may take."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        loaded = credentials.load(host.cluster.kubeconfig(host.name, server=url), Files())
        api = NodeApi(Transport(loaded), loaded, host.name)
        with pytest.raises(UnreachableError, match=re.escape(f"{url}: no whole answer in 5 s")):
            api.create_event(node_event(host.name, "LabelsChanged", "it happened"))
        api.close()


class Told(Publisher):
    """A Node that is out of reach while there is a `failure`, and what it was told."""

    def __init__(self) -> None:
        self.failure: DtagentError | None = None
        self.told: list[tuple[str, str]] = []
        self._before: Mapping[str, str] = {}

    def publish(self, labels: Mapping[str, str]) -> Outcome:
        if self.failure:
            raise self.failure
        changes = sorted(f"+{key}={value}" for key, value in labels.items() - self._before.items())
        changes += sorted(f"-{key}" for key in self._before.keys() - labels.keys())
        self._before = labels
        return Outcome("the Node", changes, labels)

    def tell(self, reason: str, message: str) -> None:
        assert self.failure is None, "told while nobody listens"
        self.told.append((reason, message))


class Clocked:
    """A Reconciler on a clock that the test moves."""

    def __init__(self) -> None:
        self.now, self.node = 0.0, Told()
        self.reconciler = Reconciler(Status(Systemd({})), lambda: self.now)
        self.reconciler.use(self.node)

    def want(self, labels: Mapping[str, str], why: str) -> None:
        self.reconciler.want(labels, resync=False, why=why)
        self.reconciler.step()

    def until(self, end: float) -> None:
        """Step whenever there is something to do, up to that time."""
        steps = 0
        while (due := self.reconciler.due) <= end:
            self.now = max(self.now, due)
            self.reconciler.step()
            steps += 1
            assert steps < 10_000, "it is due for ever"
        self.now = end


@pytest.mark.parametrize("why", [START, RELOAD, DRIFT])
def test_what_was_no_hardware_is_told_to_nobody(why: str) -> None:
    clocked = Clocked()
    clocked.want({"a": "1"}, why)
    clocked.until(INTERVAL)
    assert clocked.node.told == []


def test_labels_come_first_and_the_event_later_and_alone() -> None:
    clocked = Clocked()
    clocked.want({"a": "1"}, HARDWARE)
    assert clocked.node.told == []
    clocked.now = GATHER
    clocked.want({"a": "2"}, HARDWARE)  # due together with the Event
    assert clocked.node.told == []
    clocked.until(GATHER)
    assert clocked.node.told == [("LabelsChanged", f"{HARDWARE}: +a=2")]


def test_a_storm_of_changes_is_an_event_a_minute_and_none_is_left_out() -> None:
    clocked, minutes = Clocked(), 10
    for second in range(minutes * 60):
        clocked.until(second)
        labels = {f"label-{second}": "1"} if second % 2 else {}
        clocked.want(labels, f"overlay hat {'applied' if second % 2 else 'gone'}")
    told = clocked.node.told
    assert minutes - 1 <= len(told) <= minutes
    assert told[1][1].startswith("overlay hat gone, overlay hat applied: ")
    clocked.until(clocked.now + INTERVAL)
    for second in range(1, minutes * 60 - 1, 2):
        assert sum(f"label-{second}" in message.replace("=", ",") for _, message in told) >= 1


def test_a_message_is_bounded_and_one_line(host: Host) -> None:
    publisher = NodePublisher(NodeTable(kubeconfig=str(host.kubeconfig)))
    publisher.publish(BOARD)
    publisher.tell("LabelsChanged", "overlay \n\udcff applied: " + "+example.org/a=1, " * 1000)
    [told] = described(host)
    assert len(told["message"]) == MESSAGE_MAX
    assert told["message"].startswith("overlay \\n\\udcff applied: +example.org/a=1, ")
    assert told["message"].endswith(" ...")
    publisher.close()


@pytest.mark.parametrize("lasted", [OUTAGE_TOLD - 120, OUTAGE_TOLD + 120])
def test_the_end_of_an_outage_is_told_if_that_was_longer_than_an_hour(lasted: float) -> None:
    clocked = Clocked()
    clocked.node.failure = UnreachableError("the server is away")
    clocked.want({"a": "1"}, START)
    clocked.until(lasted)
    clocked.node.failure = None
    clocked.until(lasted + INTERVAL + GATHER + 5)
    text = "labels are true again after 1.0 hours without: the server is away"
    assert clocked.node.told == ([("OutageEnded", text)] if lasted > OUTAGE_TOLD else [])


def test_an_event_waits_for_the_end_of_an_outage() -> None:
    clocked = Clocked()
    clocked.want({"a": "1"}, HARDWARE)
    clocked.node.failure = UnreachableError("the server is away")
    clocked.want({"a": "2"}, HARDWARE)
    clocked.until(INTERVAL)
    clocked.node.failure = None
    clocked.until(3 * INTERVAL)
    assert clocked.node.told == [("LabelsChanged", f"{HARDWARE}: +a=2")]
