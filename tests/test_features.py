"""`publish = "nfd"`: the features file in place of the API."""

from __future__ import annotations

import pytest
from watchdog.events import (
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from tests.host import PREFIX, Host
from tests.process import wait_for
from tests.test_run import start

DOMAIN = ".".join(["d" * 60] * 4)


@pytest.fixture
def nfd(host: Host) -> Host:
    """A host that publishes to a features file."""
    folder = host.config.parent / "features.d"
    folder.mkdir()
    host.configure(f'publish = "nfd"\nnfd.features_file = "{folder}/devicetree-features"')
    return host


def features(host: Host) -> dict[str, str]:
    folder = host.config.parent / "features.d"
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}


def test_the_file_holds_a_line_a_label_and_the_node_is_left_alone(nfd: Host) -> None:
    nfd.compatible("acme,board", "acme,a")
    assert nfd.run("publish") == 0
    lines = f"{PREFIX}acme-a=1\n{PREFIX}acme-board=1\n"
    assert features(nfd) == {"devicetree-features": lines}
    assert nfd.labels == {}


def test_the_file_is_replaced_whole_and_only_when_it_differs(nfd: Host) -> None:
    file = nfd.config.parent / "features.d" / "devicetree-features"
    nfd.run("publish")
    first = file.stat()
    nfd.run("publish")
    assert file.stat().st_ino == first.st_ino
    nfd.compatible("acme,other")
    nfd.run("publish")
    assert file.stat().st_ino != first.st_ino


def test_nfd_worker_sees_one_change_and_the_whole_file_by_then(nfd: Host) -> None:
    """It heeds one event of the folder a second: an earlier one has it read what was there before.

    In that folder, though, there is nothing left after `clear`.
    """
    nfd.run("publish")
    folder = nfd.config.parent / "features.d"
    seen: list[str] = []

    class Seen(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            seen.append(str(event.dest_path or event.src_path))

    kinds = [FileCreatedEvent, FileModifiedEvent, FileMovedEvent, FileDeletedEvent]
    observer = Observer()
    observer.schedule(Seen(), str(folder), event_filter=kinds)
    observer.start()
    try:
        nfd.compatible("acme,other")
        nfd.run("publish")
        (folder / "end").touch()
        wait_for(lambda: str(folder / "end") in seen, "the folder's events")
    finally:
        observer.stop()
        observer.join()
    assert seen[: seen.index(str(folder / "end"))] == [str(folder / "devicetree-features")]
    (folder / "end").unlink()
    assert nfd.run("clear") == 0
    assert [*folder.iterdir()] == []


def test_a_folder_that_is_not_there_is_told_with_the_remedy(
    nfd: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = nfd.config.parent / "features.d"
    folder.rmdir()
    assert nfd.run("publish") == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"dtagent: {folder}/devicetree-features: No such file or directory; its folder must be "
        "there, and the unit must be allowed to write in it: see the drop-in nfd.conf among the "
        "examples"
    )


def test_more_than_nfd_reads_is_refused_and_the_file_stays_as_it_was(
    nfd: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    nfd.run("publish")
    before = features(nfd)
    nfd.configure(nfd.config.read_text().partition("[")[0] + f'labels.prefix = "{DOMAIN}/"')
    nfd.compatible(*(f"acme,{number:058}" for number in range(256)))
    assert nfd.run("publish") == 1
    size = 256 * len(f"{DOMAIN}/acme-{0:058}=1\n")
    assert f"nfd-worker reads up to 65536 bytes, and the labels take {size}; choose" in (
        capsys.readouterr().err
    )
    assert features(nfd) == before


def test_a_rules_key_that_nfd_would_change_is_noted(
    nfd: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = '[[rules]]\nlabel = "{}"\nproperty = "compatible"\n'
    settings = nfd.config.read_text().partition("[")[0]
    nfd.configure(settings + rules.format("model") + rules.format("example.org/model"))
    assert nfd.run("scan") == 0
    said = capsys.readouterr().err
    assert "model: nfd-master puts it in feature.node.kubernetes.io\n" in said
    assert said.count("nfd-master") == 1
    nfd.configure(rules.format("model"))
    assert nfd.run("scan") == 0
    assert "nfd-master" not in capsys.readouterr().err


def test_labels_of_ours_on_the_node_are_named_once_and_cleared_by_clear(host: Host) -> None:
    host.run("publish")
    folder = host.config.parent / "features.d"
    folder.mkdir()
    host.configure(
        f'publish = "nfd"\nresync_interval = "1s"\nnfd.features_file = "{folder}/devicetree"'
    )
    with start(host) as agent:
        agent.wait_error("nfd-master would fight over them: systemctl stop dtagent && dtagent cl")
        host.compatible("acme,later")
        agent.wait_error(f"+{PREFIX}acme-later=1")
        assert len([line for line in agent.errors if "fight" in line]) == 1
    assert host.run("clear") == 0
    assert host.labels == {}
    assert features(host) == {}


def test_a_file_that_stays_when_the_node_is_patched_again_is_named_and_cleared(
    nfd: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    nfd.run("publish")
    file = nfd.config.parent / "features.d" / "devicetree-features"
    nfd.configure(f'nfd.features_file = "{file}"')
    capsys.readouterr()
    assert nfd.run("publish") == 0
    assert f'dtagent: {file} stays from publish = "nfd", and nfd-master goes on publishing it' in (
        capsys.readouterr().err
    )
    assert nfd.run("clear") == 0
    assert (nfd.labels, features(nfd)) == ({}, {})
    nfd.run("publish")
    assert "nfd" not in capsys.readouterr().err
