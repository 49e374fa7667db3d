"""What the test board promises, so that a test of the agent on it can rely on its kernel.

The names of the dialects, and what each gets wrong, are explained in driver/dialects.h.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machine import CommandTimeout, MachineError

from .blobs import overlay, overlays
from .machine import Board

OVERLAYS = "/sys/kernel/config/device-tree/overlays"
PARAMETERS = "/sys/module/overlay_dialects/parameters"
TREE = "/proc/device-tree"
SLOW = 5000
"""Milliseconds, in which a machine under load too has answered two requests."""

UPTIME = 0.02  # seconds that a difference of two readings can be short of (proc(5), uptime)
BAD = b"\xd0\x0d\xfe\xed, and nothing that follows it"


@pytest.fixture(scope="module")
def machine() -> Iterator[Board]:
    files = {f"/lib/firmware/{name}.dtbo": blob for name, blob in overlays().items()}
    with Board({**files, "/etc/greeting": b"hello\n"}) as board:
        board.run("systemctl is-system-running --wait", check=True)
        yield board


@pytest.fixture
def board(machine: Board) -> Iterator[Board]:
    """The board with no overlay and no delay, before and after."""
    yield machine
    machine.run(f"cd {OVERLAYS} && for each in $(ls -r); do rmdir $each; done", check=True)
    set_driver(machine, mode="vendor", delay_ms=0)


def set_driver(board: Board, **parameters: object) -> None:
    for name, value in parameters.items():
        board.put(f"{PARAMETERS}/{name}", f"{value}\n".encode())


def make(board: Board, name: str) -> str:
    board.run(f"mkdir {OVERLAYS}/{name}", check=True)
    return f"{OVERLAYS}/{name}"


def there(board: Board, node: str) -> bool:
    return board.run(f"test -d {TREE}/{node}").status == 0


def read(board: Board, path: str) -> str:
    return board.run(f"cat {path}", check=True).stdout.strip("\0\n")


def test_it_is_a_debian_with_systemd_and_the_agents_libraries(board: Board) -> None:
    assert read(board, "/etc/hostname") == "board"
    assert read(board, "/etc/greeting") == "hello"
    assert read(board, f"{TREE}/compatible") == "raspberrypi,4-model-b\0brcm,bcm2711"
    imports = "import kubernetes, watchdog, pydantic_settings, sdnotify"
    board.run(f"python3 -c '{imports}'", check=True)
    assert board.run("dpkg --audit && dpkg -s python3-kubernetes", check=True).stdout


@pytest.mark.parametrize("mode", ["vendor", "xilinx"])
def test_closing_dtbo_applies_and_rmdir_removes(board: Board, mode: str) -> None:
    set_driver(board, mode=mode)
    folder = make(board, "b")
    assert not there(board, "widget-b0")
    board.put(f"{folder}/dtbo", overlay("widget-b"))
    assert read(board, f"{folder}/status") == "applied"
    assert read(board, f"{TREE}/widget-b1/compatible") == "acme,widget-b"
    board.run(f"rmdir {folder}", check=True)
    assert not there(board, "widget-b0")


@pytest.mark.parametrize("mode", ["vendor", "xilinx"])
def test_writing_path_applies_what_the_firmware_folder_holds(board: Board, mode: str) -> None:
    set_driver(board, mode=mode)
    folder = make(board, "c")
    board.put(f"{folder}/path", b"widget-c.dtbo\n")
    assert read(board, f"{folder}/path") == "widget-c.dtbo"
    assert read(board, f"{TREE}/widget-c/compatible") == "acme,widget-c-v2\0acme,widget-c"
    board.run(f"rmdir {folder}", check=True)
    assert not there(board, "widget-c")


def test_vendor_status_says_what_is(board: Board) -> None:
    folder = make(board, "bad")
    assert read(board, f"{folder}/status") == "unapplied"
    board.put(f"{folder}/dtbo", BAD)  # close() cannot fail
    assert read(board, f"{folder}/status") == "unapplied"
    with pytest.raises(MachineError, match="FileNotFoundError"):
        board.put(f"{folder}/path", b"no-such.dtbo")
    board.put(f"{folder}/path", b"widget-a.dtbo")  # a failure leaves the folder as new
    assert there(board, "widget-a")


def test_xilinx_status_lies_after_a_failure_and_path_never_fails(board: Board) -> None:
    set_driver(board, mode="xilinx")
    blob, path = make(board, "blob"), make(board, "path")
    assert read(board, f"{blob}/status") == "unapplied"
    board.put(f"{blob}/dtbo", BAD)
    assert read(board, f"{blob}/status") == "applied"
    assert read(board, f"{blob}/dtbo") == ""
    board.put(f"{path}/path", b"widget-on-a.dtbo")  # its target is not there
    assert read(board, f"{path}/status") == "applied"
    assert read(board, f"{path}/path") == ""
    assert not there(board, "widget-a")


def test_switch_applies_and_removes_by_status_and_never_fails(board: Board) -> None:
    set_driver(board, mode="switch")
    folder = make(board, "d")
    board.put(f"{folder}/status", b"1")  # nothing to apply, no error
    assert read(board, f"{folder}/status") == "0"
    board.put(f"{folder}/dtbo", BAD)
    board.put(f"{folder}/status", b"1")
    assert read(board, f"{folder}/status") == "0"
    board.put(f"{folder}/dtbo", overlay("widget-d"))
    assert not there(board, "widget-d")
    board.put(f"{folder}/status", b"1")
    assert read(board, f"{folder}/status") == "1"
    assert there(board, "widget-d")
    board.put(f"{folder}/status", b"0")
    assert not there(board, "widget-d")


@pytest.mark.parametrize(("mode", "meanwhile"), [("vendor", "unapplied"), ("xilinx", "applied")])
def test_an_apply_takes_as_long_as_it_is_told(board: Board, mode: str, meanwhile: str) -> None:
    set_driver(board, mode=mode, delay_ms=SLOW)
    folder = make(board, "slow")
    apply = f"cat /proc/uptime; cat /lib/firmware/widget-a.dtbo > {folder}/dtbo; cat /proc/uptime"
    board.run(f"({apply}) > /run/times & sleep 0.5", check=True)
    assert read(board, f"{folder}/status") == meanwhile
    assert not there(board, "widget-a")
    board.run("until test $(wc -l < /run/times) = 2; do sleep 0.05; done", check=True)
    began, ended = (float(line.split()[0]) for line in read(board, "/run/times").splitlines())
    assert ended - began >= SLOW / 1000 - UPTIME
    assert there(board, "widget-a")
    assert read(board, f"{folder}/status") == "applied"


def test_an_overlay_can_stand_on_anothers_labels(board: Board) -> None:
    first, second = make(board, "first"), make(board, "second")
    board.put(f"{first}/dtbo", overlay("widget-a"))
    board.put(f"{second}/dtbo", overlay("widget-on-a"))
    assert read(board, f"{TREE}/widget-a/gadget/compatible") == "acme,gadget"


def test_a_command_past_its_deadline_is_killed_and_the_board_goes_on(board: Board) -> None:
    with pytest.raises(CommandTimeout):
        board.run("sleep 60", timeout=0.5)
    assert board.run("exit 7").status == 7
    assert board.run("echo out; echo err >&2").stderr == "err\n"


def test_a_unit_among_the_files_runs_at_boot() -> None:
    unit = b"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
    files = {"/etc/systemd/system/mine.service": unit}
    with Board(files, kernel_arguments="systemd.wants=mine.service") as board:
        board.run("systemctl is-system-running --wait", check=True)
        assert board.run("systemctl is-active mine", check=True).stdout == "active\n"
