"""Overlays at run time, on a folder that stands for configfs and the real inotify."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers.inotify import InotifyObserver

from demo.tree import add_node, remove_node, strings
from dtagent.agent import Agent
from dtagent.config.settings import DevicetreeTable, OverlaysTable, Settings
from dtagent.events import Event, Happening
from dtagent.host.log import Systemd
from dtagent.host.status import Status
from dtagent.overlays import configfs, settle, watch
from dtagent.overlays.watch import OverlayWatch
from dtagent.publish.reconcile import Outcome, Publisher
from dtagent.tree import devicetree
from dtagent.tree.labels import Labels
from tests.host import PREFIX, Host
from tests.process import DEADLINE, Process, wait_for
from tests.test_run import start

OVERLAY = "overlay.devicetree.org/"


def apply(folder: Path, name: str, status: str = "applied\n") -> None:
    """What configfs shows of an overlay that is applied, in the vendor dialect."""
    (folder / name).mkdir()
    for file, content in (("path", "\n"), ("dtbo", "blob"), ("status", status)):
        (folder / name / file).write_text(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "overlays"
    folder.mkdir()
    return folder


class Changes:
    """What a watch says; `expect` waits for the next."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __call__(self) -> None:
        self._queue.put(None)

    def expect(self) -> None:
        self._queue.get(timeout=DEADLINE)

    def forget(self) -> None:
        """What has been said so far."""
        while not self._queue.empty():
            self._queue.get()

    def silent(self) -> bool:
        return self._queue.empty()


def descriptors() -> list[str]:
    """What this process holds open."""
    return [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def watched(folder: Path, changes: Changes) -> Iterator[OverlayWatch]:
    threads = threading.active_count()
    overlay_watch = OverlayWatch(str(folder), changes)
    changes.expect()  # that the folder was found
    yield overlay_watch
    overlay_watch.close()
    assert threading.active_count() == threads, "a thread is left"


def test_what_is_applied_and_holds_a_blob_counts(folder: Path) -> None:
    apply(folder, "vendor")
    apply(folder, "switch", status="1\n")
    apply(folder, "3_numbered")
    apply(folder, "7_")
    apply(folder, "off", status="unapplied\n")
    apply(folder, "switched-off", status="0\n")
    apply(folder, "failed")  # status lies, but the driver has let go of the blob
    (folder / "failed" / "dtbo").write_bytes(b"")
    apply(folder, "by-path")
    (folder / "by-path" / "dtbo").write_bytes(b"")
    (folder / "by-path" / "path").write_text("hat.dtbo\n")
    (folder / "bare").mkdir()
    (folder / "file").touch()
    expected = {"vendor", "switch", "numbered", "7_", "by-path"}
    assert configfs.applied(folder) == expected
    assert configfs.applied(None) == configfs.applied(folder / "none") == frozenset()


@pytest.fixture
def mountinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for the kernel's list of mounts."""
    monkeypatch.setattr(configfs, "MOUNTINFO", tmp_path / "mountinfo")
    return tmp_path / "mountinfo"


def test_configfs_is_found_by_its_type_wherever_it_is_mounted(
    tmp_path: Path, mountinfo: Path
) -> None:
    mount = tmp_path / "a config"
    escaped = str(mount).replace(" ", "\\040")
    mountinfo.write_text(
        "22 1 0:21 / /proc rw - proc proc rw\n"
        f"30 22 0:31 /sub /bind rw - configfs configfs rw\n"
        f"31 22 0:31 / {escaped} rw,nosuid shared:1 - configfs configfs rw\n"
    )
    assert configfs.find("") is None
    (mount / "device-tree" / "overlays").mkdir(parents=True)
    assert configfs.find("") == mount / "device-tree" / "overlays"
    assert configfs.find(str(tmp_path)) == tmp_path
    assert configfs.find(str(tmp_path / "none")) is None


def test_an_overlay_that_comes_or_goes_is_told(
    watched: OverlayWatch, folder: Path, changes: Changes
) -> None:
    changes.forget()
    (folder / "hat").mkdir()
    changes.expect()
    watched.restart()
    changes.forget()
    (folder / "hat" / "dtbo").write_bytes(b"blob")
    changes.expect()
    changes.forget()
    (folder / "hat" / "dtbo").unlink()
    (folder / "hat").rmdir()
    changes.expect()


def test_reading_is_not_told(watched: OverlayWatch, folder: Path, changes: Changes) -> None:
    apply(folder, "hat")
    wait_for(lambda: not changes.silent(), "the overlay's coming")
    watched.restart()
    (folder / "sentinel").mkdir()
    changes.expect()
    watched.restart()
    changes.forget()
    assert configfs.applied(folder) == {"hat"}
    watched.restart()
    watched.close = lambda: None  # type: ignore[method-assign]
    OverlayWatch.close(watched)  # every thread has ended, so all that was to be said is said
    assert changes.silent()


def test_a_folder_that_vanishes_and_comes_back_is_watched_again(
    watched: OverlayWatch, folder: Path, changes: Changes, caplog: pytest.LogCaptureFixture
) -> None:
    changes.forget()
    folder.rmdir()
    changes.expect()
    wait_for(lambda: watched.folder is None, "the folder's end")
    folder.mkdir()
    wait_for(lambda: watched.folder == folder, "the folder's return")
    wait_for(lambda: watched._observer, "a new watch")
    changes.forget()
    (folder / "hat").mkdir()
    changes.expect()


def test_a_folder_that_vanishes_while_its_watch_begins_is_missed_at_once(
    folder: Path, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = InotifyObserver.start

    def vanish(observer: InotifyObserver) -> None:
        start(observer)
        folder.rmdir()
        changes.expect()  # its end was told, and is known

    monkeypatch.setattr(InotifyObserver, "start", vanish)
    overlay_watch = OverlayWatch(str(folder), changes)
    monkeypatch.undo()
    wait_for(lambda: overlay_watch.folder is None, "the folder's end")
    overlay_watch.close()


def test_an_overlay_that_goes_while_the_watch_starts_is_no_failure(
    folder: Path,
    changes: Changes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """watchdog 6 lists the folders first, and then fails on the one that went meanwhile."""

    def missing(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    caplog.set_level("INFO", "dtagent")
    before = descriptors().count("anon_inode:inotify")
    monkeypatch.setattr(watch, "POLL_INTERVAL", 0.05)
    monkeypatch.setattr(InotifyObserver, "start", missing)
    overlay_watch = OverlayWatch(str(folder), changes)
    monkeypatch.undo()
    wait_for(lambda: overlay_watch._observer, "a watch")
    overlay_watch.close()
    assert descriptors().count("anon_inode:inotify") == before
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_a_folder_that_no_mount_tells_of_is_found_by_a_restart(
    tmp_path: Path, changes: Changes, mountinfo: Path
) -> None:
    """As when a driver's module is loaded into a configfs that was mounted before it."""
    mountinfo.write_text(f"31 22 0:31 / {tmp_path} rw - configfs configfs rw\n")
    overlay_watch = OverlayWatch("", changes)
    assert overlay_watch.folder is None
    assert changes.silent()
    folder = tmp_path / "device-tree" / "overlays"
    folder.mkdir(parents=True)
    overlay_watch.restart()
    changes.expect()
    assert overlay_watch.folder == folder
    changes.forget()
    (folder / "hat").mkdir()
    changes.expect()
    overlay_watch.close()


@pytest.mark.parametrize(
    ("call", "number", "what", "sysctl"),
    [
        ("inotify_init1", errno.EMFILE, "instance", "max_user_instances"),
        ("inotify_add_watch", errno.ENOSPC, "watch", "max_user_watches"),
    ],
)
def test_without_inotify_the_folder_is_listed_until_there_is_some(
    folder: Path,
    changes: Changes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    call: str,
    number: int,
    what: str,
    sysctl: str,
) -> None:
    """The limits are the host's, so their errors are put in inotify's place here."""
    from dtagent.host import log

    log.setup("info")
    real = ctypes.CDLL

    def fails(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    def limited(*args: Any, **kwargs: Any) -> ctypes.CDLL:
        libc = real(*args, **kwargs)
        setattr(libc, call, fails)
        return libc

    before = len(descriptors())
    monkeypatch.setattr(ctypes, "CDLL", limited)
    monkeypatch.setattr(watch, "POLL_INTERVAL", 0.05)
    overlay_watch = OverlayWatch(str(folder), changes)
    changes.expect()
    apply(folder, "hat")
    changes.expect()
    monkeypatch.setattr(ctypes, "CDLL", real)
    wait_for(lambda: overlay_watch._observer, "a watch")
    changes.forget()
    (folder / "another").mkdir()
    changes.expect()
    overlay_watch.close()
    assert capsys.readouterr().err == (
        f"dtagent: {folder}: no inotify {what} is left: raise sysctl "
        f"fs.inotify.{sysctl}; listed every 0 s\n"
        f"dtagent: overlays are watched in {folder}\n"
    )
    wait_for(lambda: len(descriptors()) == before, "no descriptor that is left")


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder in one that is closed to all but root."""
    with tempfile.TemporaryDirectory() as parent:  # pytest's own are closed to other users
        folder = Path(parent) / "closed" / "overlays"
        folder.mkdir(parents=True)
        Path(parent).chmod(0o755)
        folder.parent.chmod(0)
        yield folder
        folder.parent.chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_one_warning_and_looked_for_again(
    closed: Path,
    changes: Changes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watch, "POLL_INTERVAL", 0.05)
    finds: list[bool] = []
    find = configfs.find

    def counted(configured: str) -> Path | None:
        finds.append(True)
        return find(configured)

    monkeypatch.setattr(configfs, "find", counted)
    warning = f"{closed}: Permission denied; dtagent must be able to list the overlays' folder: "

    def warnings() -> list[str]:
        return [text for text in caplog.messages if text.startswith(warning)]

    with nobody():
        overlay_watch = OverlayWatch(str(closed), changes)
        wait_for(lambda: len(finds) > 3, "further looks")
        assert overlay_watch.folder is None
        assert len(warnings()) == 1
    wait_for(lambda: overlay_watch._observer, "a watch")
    with nobody():
        overlay_watch.restart()
        assert overlay_watch.folder is None
        assert len(warnings()) == 2
    wait_for(lambda: overlay_watch._observer, "a watch, with nothing to wake it")
    overlay_watch.close()


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """As a user who may not do everything; every thread of the process becomes it."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_at_most_one_inotify_instance_is_held(watched: OverlayWatch, folder: Path) -> None:
    def instances() -> int:
        return descriptors().count("anon_inode:inotify")

    for _ in range(3):
        watched.restart()
        wait_for(lambda: instances() <= 1, "the old instance's end")
    assert instances() == 1


@pytest.fixture
def overlaid(host: Host, folder: Path) -> Host:
    host.configure(f'overlays.path = "{folder}"')
    return host


@pytest.fixture
def agent(overlaid: Host) -> Iterator[Process]:
    with start(overlaid) as agent:
        agent.wait_error("overlays are watched in ")
        agent.wait_said("READY=1")
        wait_for(lambda: PREFIX + "acme-board" in overlaid.labels, "labels on the Node")
        yield agent


def test_an_overlays_device_and_name_are_labels_while_it_is_applied(
    overlaid: Host, folder: Path, agent: Process
) -> None:
    board = dict(overlaid.labels)
    apply(folder, "2_hat")
    add_node(overlaid.base, "/sensor@1", {"compatible": strings("acme,sensor")})
    device = {PREFIX + "acme-sensor": "1"}
    wait_for(lambda: overlaid.labels.items() >= device.items(), "the device's label")
    name = {OVERLAY + "hat": "applied"}
    wait_for(lambda: overlaid.labels == {**board, **device, **name}, "the overlay's label")
    agent.wait_error("overlay hat is applied; it changed +")
    remove_node(overlaid.base, "/sensor@1")
    shutil.rmtree(folder / "2_hat")
    wait_for(lambda: overlaid.labels == board, "both labels' end")
    agent.wait_error("overlay hat is gone; it changed -")


def test_an_event_costs_one_patch_and_nothing_else_is_asked(
    overlaid: Host, folder: Path, agent: Process
) -> None:
    mark = overlaid.cluster.audit_mark()
    add_node(overlaid.base, "/sensor@1", {"compatible": strings("acme,sensor")})
    (folder / "hat").mkdir()
    wait_for(lambda: PREFIX + "acme-sensor" in overlaid.labels, "the device's label")
    agent.stop()
    # The watch on the Node ends with the agent, and is in the audit log then. An Event may be
    # there by now if the machine is slow; test_counts.py has it.
    asked = [(verb, uri) for verb, uri in overlaid.requests(mark) if verb != "watch"]
    assert [verb for verb, uri in asked if not uri.endswith("/events")] == ["patch"]


def test_an_overlay_applied_while_the_agent_was_down_is_labelled_at_its_start(
    overlaid: Host, folder: Path
) -> None:
    apply(folder, "hat")
    assert overlaid.run("publish") == 0
    assert overlaid.labels[OVERLAY + "hat"] == "applied"
    overlaid.configure(f'overlays.path = "{folder}"\noverlays.labels = false')
    assert overlaid.run("publish") == 0
    assert OVERLAY + "hat" not in overlaid.labels


def test_five_resyncs_are_five_scans(
    folder: Path, nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real watch on the folder that each scan reads, and the real clock."""
    apply(folder, "hat")
    events: queue.SimpleQueue[Happening] = queue.SimpleQueue()
    scans: list[bool] = []
    resyncs: list[bool] = []
    scan = devicetree.scan

    def counted(
        tree: devicetree.LiveTree, decide: Callable[[Iterable[devicetree.Node]], Labels]
    ) -> Labels:
        scans.append(True)
        return scan(tree, decide)

    monkeypatch.setattr(devicetree, "scan", counted)
    monkeypatch.setattr(settle, "POINTS", (0.0,))  # the series after the start is one scan

    class Counting(Publisher):
        def publish(self, labels: Mapping[str, str]) -> Outcome:
            resyncs.append(True)
            if len(resyncs) == 6:
                events.put(Event.STOP)
            return Outcome("nowhere", [])

    def settings() -> Settings:
        tables = Settings(
            devicetree=DevicetreeTable(root=nano), overlays=OverlaysTable(path=str(folder))
        )
        return replace(tables, resync_interval=1)

    Agent(settings(), settings, lambda *_: Counting(), Status(Systemd({})), events).run()
    assert len(resyncs) == 6
    # The watch says once that it found the folder, and the start's own scan may come before that.
    assert len(scans) <= len(resyncs) + 2
