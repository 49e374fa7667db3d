"""The agent as its unit on the board: real overlays, real systemd, the real API server."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from functools import partial

import pytest

from tests.apiserver import ApiServer
from tests.process import wait_for

from .agent import board_with_agent
from .blobs import overlay
from .machine import Board
from .test_board_machine import BAD, OVERLAYS, set_driver

ROUNDS = 20
DEVICE = "beta.devicetree.org/acme-"
OVERLAY = "overlay.devicetree.org/"
LONGEST_STEP = 150  # milliseconds; half of the time that a device must be away to be gone
RENUMBERINGS = 10  # tries at most, of which one is quicker than that
SYSCTL = "/proc/sys/fs/inotify/max_user_instances"


@pytest.fixture(scope="module")
def machine(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A board that has booted with the agent as a unit, and has published."""
    with board_with_agent(cluster, tmp_path_factory.mktemp("board")) as board:
        yield board


@pytest.fixture
def board(machine: Board) -> Iterator[Board]:
    """No overlay and no delay, before and after; the agent's journal, for when a test fails."""
    yield machine
    machine.run(f"cd {OVERLAYS} && for each in $(ls -r); do rmdir $each; done", check=True)
    set_driver(machine, mode="vendor", delay_ms=0)
    print(machine.run("journalctl -u dtagent -o short-monotonic -n 60 --no-pager").stdout)


@pytest.fixture
def base(cluster: ApiServer, board: Board) -> dict[str, str]:
    """The labels without any overlay."""
    wait_for(lambda: not any("acme" in key for key in cluster.labels("board")), "a clean board")
    wait_for(lambda: not any(OVERLAY in key for key in cluster.labels("board")), "a clean board")
    return cluster.labels("board")


def add(board: Board, name: str, blob: str, folder: str = OVERLAYS) -> None:
    """mkdir and write in one go."""
    board.run(f"mkdir {folder}/{name} && cat /lib/firmware/{blob}.dtbo > {folder}/{name}/dtbo",
              check=True)  # fmt: skip


def remove(board: Board, *names: str) -> None:
    board.run("".join(f"rmdir {OVERLAYS}/{name};" for name in names), check=True)


def journal(board: Board) -> str:
    """What the agent has told since it was started last."""
    invocation = "_SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID dtagent)"
    return board.run(f"journalctl {invocation} --no-pager", check=True).stdout


def has(cluster: ApiServer, *keys: str) -> bool:
    return all(key in cluster.labels("board") for key in keys)


@pytest.mark.parametrize("mode", ["vendor", "xilinx", "switch"])
def test_each_overlay_is_a_label_while_it_is_applied(
    cluster: ApiServer, board: Board, base: dict[str, str], mode: str
) -> None:
    """With the table of how long that took: medians and worst of twenty rounds."""
    set_driver(board, mode=mode)
    run = board.run(f"python3 /usr/lib/dtagent/rounds.py {mode} {ROUNDS}", timeout=900, check=True)
    added, removed = zip(*json.loads(run.stdout), strict=True)
    print(
        f"{mode}: {ROUNDS} rounds, node to patch in ms: "
        f"added median {statistics.median(added):.0f}, worst {max(added)}; "
        f"removed median {statistics.median(removed):.0f}, worst {max(removed)}"
    )
    assert len(added) == ROUNDS
    wait_for(lambda: cluster.labels("board") == base, "the labels of before")


@pytest.mark.parametrize("delay", [300, 1000, 2500])
def test_a_slow_apply_is_seen(
    cluster: ApiServer, board: Board, base: dict[str, str], delay: int
) -> None:
    set_driver(board, mode="vendor", delay_ms=delay)
    run = board.run("python3 /usr/lib/dtagent/rounds.py vendor 3", timeout=900, check=True)
    added = [row[0] for row in json.loads(run.stdout)]
    print(f"vendor, {delay} ms to apply: label {added} ms after the node")
    assert len(added) == 3


def test_overlays_written_by_path_and_their_own_labels(
    cluster: ApiServer, board: Board, base: dict[str, str]
) -> None:
    for mode, name in (("vendor", "b"), ("xilinx", "c")):
        set_driver(board, mode=mode)
        hat = f"{OVERLAYS}/3_hat-{name}"
        board.run(f"mkdir {hat} && echo -n widget-{name}.dtbo > {hat}/path", check=True)
        wait_for(partial(has, cluster, f"{DEVICE}widget-{name}"), f"widget-{name}")
    wait_for(lambda: has(cluster, OVERLAY + "hat-b", OVERLAY + "hat-c"), "the overlays' labels")
    remove(board, "3_hat-c", "3_hat-b")
    wait_for(lambda: cluster.labels("board") == base, "the labels of before")


def test_a_failed_overlay_leaves_everything_as_it_was(
    cluster: ApiServer, board: Board, base: dict[str, str]
) -> None:
    mark = cluster.audit_mark()
    for mode in ("vendor", "xilinx", "switch"):
        set_driver(board, mode=mode)
        board.run(f"mkdir {OVERLAYS}/bad-{mode}", check=True)
        board.put(f"{OVERLAYS}/bad-{mode}/dtbo", BAD)
        if mode == "switch":
            board.put(f"{OVERLAYS}/bad-{mode}/status", b"1")
    # Their series of scans are over when a good one's, which begins later, is.
    set_driver(board, mode="vendor")
    add(board, "good", "widget-d")
    wait_for(lambda: has(cluster, OVERLAY + "good"), "the good overlay's label")
    assert not [key for key in cluster.labels("board") if "bad" in key]
    patched = cluster.audit(user="system:node:board", verb="patch", since=mark)
    for event in patched:
        assert base.items() <= event["requestObject"]["metadata"]["labels"].items()


def test_removing_the_first_of_three_takes_no_other_label_off(
    cluster: ApiServer, board: Board, base: dict[str, str]
) -> None:
    """dtoverlay takes the later ones down in reverse, and puts them up again renumbered."""
    stay = {DEVICE + "widget-b", DEVICE + "widget-c", OVERLAY + "two", OVERLAY + "three"}
    for _ in range(RENUMBERINGS):
        names = {"0_one": "widget-a", "1_two": "widget-b", "2_three": "widget-c"}
        for name, blob in names.items():
            add(board, name, blob)
        wait_for(lambda: has(cluster, DEVICE + "widget-a", OVERLAY + "one", *stay), "all three")
        mark = cluster.audit_mark()
        run = board.run("python3 /usr/lib/dtagent/renumber.py", check=True)
        wait_for(lambda: not has(cluster, DEVICE + "widget-a"), "the first one's label to go")
        wait_for(lambda: not has(cluster, OVERLAY + "one"), "the first overlay's label to go")
        if int(run.stdout) < LONGEST_STEP:
            break
        # What was away for longer than the agent waits was away: that tells nothing of it.
        remove(board, "1_three", "0_two")
        wait_for(lambda: cluster.labels("board") == base, "a clean board")
    else:
        pytest.fail(f"{RENUMBERINGS} times, two steps of the removal were {LONGEST_STEP} ms apart")
    patches = cluster.audit(user="system:node:board", verb="patch", since=mark)
    assert patches
    for event in patches:
        assert stay <= event["requestObject"]["metadata"]["labels"].keys()
    assert has(cluster, *stay)


def test_configfs_may_come_after_the_agent_and_go_and_come_again(
    cluster: ApiServer, board: Board, base: dict[str, str]
) -> None:
    board.run("systemctl stop dtagent && umount /sys/kernel/config", check=True)
    board.run("systemctl start dtagent", check=True)
    for name in ("first", "second"):
        board.run("mount -t configfs none /sys/kernel/config", check=True)
        add(board, name, "widget-a")
        wait_for(lambda: has(cluster, DEVICE + "widget-a"), "a label after the mount")
        remove(board, name)
        wait_for(lambda: cluster.labels("board") == base, "the label's end")
        # It is busy at the moment in which a scan of the series reads it.
        wait_for(lambda: board.run("umount /sys/kernel/config").status == 0, "no more reading")
    board.run("mount -t configfs none /sys/kernel/config", check=True)
    assert "no overlay folder under configfs" in journal(board)


def test_what_is_applied_while_the_server_is_away_is_published_on_its_return(
    cluster: ApiServer, board: Board, base: dict[str, str]
) -> None:
    cluster.stop_server()
    add(board, "away", "widget-b")
    wait_for(lambda: "trying again" in journal(board), "the outage's line")
    cluster.start_server()
    wait_for(lambda: has(cluster, DEVICE + "widget-b", OVERLAY + "away"), "labels after the outage")


def test_an_overlay_outlives_a_restart_of_the_agent(
    cluster: ApiServer, board: Board, base: dict[str, str]
) -> None:
    add(board, "kept", "widget-b")
    labels = {DEVICE + "widget-b", OVERLAY + "kept"}
    wait_for(lambda: has(cluster, *labels), "both labels")
    mark = cluster.audit_mark()
    board.run("systemctl restart dtagent", check=True)
    remove(board, "kept")
    wait_for(lambda: cluster.labels("board") == base, "the end of both labels")
    events = cluster.audit(user="system:node:board", since=mark)
    # A watch comes into the log when it ends: the old agent's first of all.
    # The old one may tell the Node of the overlay before that.
    own = [event for event in events if event["objectRef"]["resource"] != "events"]
    first, *_ = (event["verb"] for event in own if event["verb"] != "watch")
    assert first == "create", "a new agent asks who it is"


def test_without_inotify_it_lists_and_says_so_and_recovers(
    cluster: ApiServer, board: Board, base: dict[str, str]
) -> None:
    before = board.run(f"cat {SYSCTL}", check=True).stdout.strip()
    board.run(f"systemctl stop dtagent; echo 0 > {SYSCTL}; systemctl start dtagent", check=True)
    sysctl = "raise sysctl fs.inotify.max_user_instances"
    wait_for(lambda: sysctl in journal(board), "the line that names the sysctl")
    add(board, "listed", "widget-c")
    wait_for(lambda: has(cluster, DEVICE + "widget-c"), "a label by listing")
    board.run(f"echo {before} > {SYSCTL}", check=True)
    wait_for(lambda: "overlays are watched in" in journal(board), "inotify's return")
    remove(board, "listed")
    wait_for(lambda: cluster.labels("board") == base, "the labels of before")


def test_a_blob_that_takes_the_xilinx_drivers_time_is_no_label_too_early(
    cluster: ApiServer, board: Board, base: dict[str, str]
) -> None:
    """`status` says applied during the apply; the overlay's label comes after its device's."""
    set_driver(board, mode="xilinx", delay_ms=1000)
    mark = cluster.audit_mark()
    board.run(f"mkdir {OVERLAYS}/slow", check=True)
    board.put(f"{OVERLAYS}/slow/dtbo", overlay("widget-a"))
    wait_for(lambda: has(cluster, OVERLAY + "slow"), "the overlay's label")
    patches = cluster.audit(user="system:node:board", verb="patch", since=mark)
    firsts = [
        next(i for i, event in enumerate(patches)
             if key in event["requestObject"]["metadata"]["labels"])
        for key in (DEVICE + "widget-a", OVERLAY + "slow")
    ]  # fmt: skip
    assert firsts[0] < firsts[1]
