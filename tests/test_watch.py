"""The watch on the own Node: what somebody does to it is put right, and nobody is fought."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dtagent.cluster import backoff, node
from dtagent.cluster.patch import Observed
from dtagent.errors import UnreachableError
from dtagent.publish.node import LEAVE, TIMES, WINDOW, Contention
from tests.host import PREFIX, Host
from tests.process import DEADLINE, Process, wait_for

BOARD = PREFIX + "acme-board"


@pytest.fixture
def agent(host: Host, tmp_path: Path) -> Iterator[Process]:
    """An agent whose labels are on the Node, and whose watch has seen them there."""
    with Process(tmp_path, "--config", str(host.config), DTAGENT_LOG_LEVEL="debug") as agent:
        agent.wait_said("READY=1")
        yield agent


def edit(host: Host, value: str | None) -> None:
    """As an administrator does it to our label with kubectl."""
    host.cluster.patch_labels(host.name, {BOARD: value}, manager="kubectl-edit")


def test_a_label_that_somebody_changes_is_put_right(host: Host, agent: Process) -> None:
    edit(host, "77")
    wait_for(lambda: host.labels.get(BOARD) == "1", "the label's own value")
    edit(host, None)
    wait_for(lambda: host.labels.get(BOARD) == "1", "the label back")


def test_a_node_that_is_deleted_and_comes_back_is_labelled_again(
    host: Host, agent: Process
) -> None:
    host.cluster.delete_node(host.name)
    agent.wait_error(f"there is no Node {host.name}")
    host.cluster.create_node(host.name)
    wait_for(lambda: host.labels.get(BOARD) == "1", "labels on the new Node")
    agent.wait_error(f"Node {host.name} is in reach again")


def test_a_node_that_is_replaced_in_one_go_is_labelled_again(host: Host, agent: Process) -> None:
    host.cluster.delete_node(host.name)
    host.cluster.create_node(host.name)
    wait_for(lambda: host.labels.get(BOARD) == "1", "labels on the new Node")


def test_what_others_do_to_the_node_costs_no_request(host: Host, agent: Process) -> None:
    wait_for(lambda: any(verb == "patch" for verb, _ in host.requests()), "the first patch")
    mark = host.cluster.audit_mark()
    for number in range(5):
        host.cluster.patch_labels(host.name, {"example.org/theirs": str(number)}, "kubectl")
    edit(host, "77")  # what follows on the same stream, and is answered
    wait_for(lambda: host.labels.get(BOARD) == "1", "the label's own value")
    verbs = [verb for verb, _ in host.requests(mark) if verb != "watch"]
    assert verbs == ["patch"]  # the watch has shown what there is


def test_a_resync_sends_nothing_while_the_watch_is_up(host: Host, tmp_path: Path) -> None:
    host.configure('resync_interval = "1s"')
    with Process(tmp_path, "--config", str(host.config)) as agent:
        agent.wait_said("READY=1")
        wait_for(lambda: any(verb == "patch" for verb, _ in host.requests()), "the first patch")
        edit(host, "77")
        wait_for(lambda: host.labels.get(BOARD) == "1", "the watch to be up")
        mark = host.cluster.audit_mark()
        host.add("late", {"compatible": b"acme,late\0"})  # three resyncs, the last of which sees it
        wait_for(lambda: PREFIX + "acme-late" in host.labels, "a resync")
        agent.stop()
    assert [verb for verb, _ in host.requests(mark) if verb != "watch"] == ["patch"]


def test_somebody_who_sets_a_label_again_each_time_is_not_fought(
    host: Host, agent: Process
) -> None:
    for _ in range(TIMES):
        edit(host, "77")
        wait_for(lambda: host.labels.get(BOARD) == "1", "the label's own value")
    edit(host, "77")
    agent.wait_error(f"changes label {BOARD} of Node {host.name} back each time")
    wait_for(lambda: f"left alone: {BOARD}" in agent.status, "the status line to say so")
    assert host.labels[BOARD] == "77"
    host.add("late", {"compatible": b"acme,late\0"})
    agent.reload()
    wait_for(lambda: PREFIX + "acme-late" in host.labels, "the others to be kept true")
    wait_for(lambda: host.labels[BOARD] == "1", "a reload to give it another chance")


def test_somebody_who_sets_what_we_take_off_is_not_fought(host: Host, agent: Process) -> None:
    theirs = PREFIX + "theirs"
    for _ in range(1 + TIMES):  # the first may be the Go labeller's, of long ago
        host.cluster.patch_labels(host.name, {theirs: "1"}, "gitops")
        wait_for(lambda: theirs not in host.labels, "the leftover's end")
    host.cluster.patch_labels(host.name, {theirs: "1"}, "gitops")
    agent.wait_error(f"changes label {theirs} of Node {host.name} back each time")
    agent.wait_said("STATUS=")
    wait_for(lambda: f"left alone: {theirs}" in agent.status, "the status line to say so")
    assert host.labels == {BOARD: "1", theirs: "1"}


def test_a_watch_that_is_refused_is_said_and_asks_for_nothing_else(
    host: Host, tmp_path: Path
) -> None:
    """By a role that lets it get and patch; a kubelet's own credential may always watch."""
    user = f"no-watch-{host.name}"
    host.cluster.labeller_kubeconfig(user, host.kubeconfig)
    with Process(tmp_path, "--config", str(host.config), "--node-name", host.name) as agent:
        agent.wait_error("what others do to the Node is seen at each resync")
        agent.stop()
    (warning,) = [line for line in agent.errors if "seen at each resync" in line]
    assert f'is forbidden: User "{user}" cannot watch resource "nodes"' in warning
    verbs = [event["verb"] for event in host.cluster.audit(user=user)]
    assert (verbs.count("get"), verbs.count("patch"), verbs.count("watch") >= 2) == (1, 1, True)


def lost(labels: dict[str, str], uid: str = "u") -> Observed:
    return Observed(uid, labels)


def sent(contention: Contention, labels: dict[str, str], uid: str = "u") -> None:
    """What a publication does that the server answers."""
    contention.sending(labels, labels)
    contention.uid = uid


def test_a_label_is_left_alone_for_an_hour_when_it_is_lost_too_often() -> None:
    contention = Contention()
    for turn in range(TIMES):
        sent(contention, {"a": "1", "b": "1"})
        assert contention.found(lost({"a": "9", "b": "1"}), 10.0 * turn) == []
    sent(contention, {"a": "1", "b": "1"})
    assert contention.found(lost({"b": "1"}), 50.0) == ["a"]
    assert contention.left_alone(50.0 + LEAVE - 1) == ("a",)
    assert contention.left_alone(50.0 + LEAVE) == ()


def test_a_label_that_is_left_alone_is_counted_no_more() -> None:
    """It is somebody else's now, and other labels are published meanwhile."""
    contention = Contention()
    for turn in range(4 * TIMES):
        sent(contention, {"a": "1"} if turn <= TIMES else {})
        assert contention.found(lost({"a": "9"}), float(turn)) == (["a"] if turn == TIMES else [])
    assert contention.left_alone(TIMES + LEAVE) == ()


def test_losses_that_are_far_apart_are_no_fight() -> None:
    contention = Contention()
    for turn in range(3 * TIMES):
        sent(contention, {"a": "1"})
        assert contention.found(lost({}), turn * (WINDOW / TIMES + 1)) == []


def test_a_node_made_anew_is_no_fight() -> None:
    contention = Contention()
    for turn in range(3 * TIMES):
        sent(contention, {"a": "1"}, f"u{turn}")
        assert contention.found(lost({}, uid=f"u{turn + 1}"), float(turn)) == []


def test_what_a_lost_answer_leaves_open_is_no_loss_and_ours_all_the_same() -> None:
    contention = Contention()
    for turn in range(3 * TIMES):
        contention.sending({"a": "1"}, ("a", "b"))
        assert contention.found(lost({"b": "1"}), float(turn)) == []
    assert contention.ours == {"a": "1", "b": None}


def test_one_loss_that_is_seen_twice_counts_once() -> None:
    contention = Contention()
    sent(contention, {"a": "1"})
    for turn in range(3 * TIMES):
        assert contention.found(lost({}), float(turn)) == []


@pytest.mark.parametrize(
    ("lasted", "bounds"), [(-1.0, [1.0] * 8), (math.inf, [1, 2, 4, 8, 16, 32, 60, 60])]
)
def test_a_watch_that_an_idle_time_out_cuts_is_begun_again_soon_and_one_that_fails_later(
    lasted: float, bounds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load balancer may cut idle connections sooner than the server's bookmarks come."""
    waits: list[float] = []
    enough = threading.Event()

    def no_time(_: float, bound: float) -> float:
        waits.append(bound)
        if len(waits) >= len(bounds):
            enough.set()
        return 0.0

    class Cut:
        def watch(self, lifetime: float, silence: float) -> Iterator[Observed]:
            yield lost({})
            raise UnreachableError("cut")

    monkeypatch.setattr(node, "LASTED", lasted)
    monkeypatch.setattr(backoff, "random", SimpleNamespace(uniform=no_time))
    cut = node.NodeWatch(Cut(), lambda: None)  # type: ignore[arg-type]
    assert enough.wait(DEADLINE)
    cut.close()
    assert waits[: len(bounds)] == bounds
