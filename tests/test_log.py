"""What the journal gets: fields to search by, a priority, and a catalog entry for each event."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import types
from pathlib import Path

import pytest

from dtagent.host import log

CATALOG = Path(__file__).parent.parent / "packaging" / "dtagent.catalog"
IDS = {
    name: value
    for name, value in vars(log).items()
    if name.isupper() and re.fullmatch("[0-9a-f]{32}", str(value))
}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Entries as python3-systemd would get them; the containers' tests have the real one."""
    entries: list[tuple[str, ...]] = []
    journal = types.ModuleType("systemd.journal")
    journal.sendv = lambda *fields: entries.append(fields)  # type: ignore[attr-defined]
    package = types.ModuleType("systemd")
    package.journal = journal  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "systemd", package)
    monkeypatch.setitem(sys.modules, "systemd.journal", journal)
    monkeypatch.setattr(log, "_is_journal", lambda: True)
    log.setup("info")
    return entries


def test_every_message_id_has_a_catalog_entry_and_no_entry_is_left_over() -> None:
    entries = re.findall(r"^-- ([0-9a-f]{32})$", CATALOG.read_text(), re.MULTILINE)
    assert sorted(entries) == sorted(IDS.values())
    assert len(set(entries)) == len(entries)


def test_every_catalog_entry_says_what_it_is_and_where_more_is_written() -> None:
    _, *entries = re.split(r"^-- [0-9a-f]{32}$", CATALOG.read_text(), flags=re.MULTILINE)
    for entry in entries:
        header, text = entry.strip().split("\n\n", 1)
        names = [line.partition(":")[0] for line in header.splitlines()]
        assert names == ["Subject", "Defined-By", "Documentation"]
        assert text.endswith(".")


def test_an_entry_has_its_fields_and_a_label_each(sent: list[tuple[str, ...]]) -> None:
    extra = log.event(log.LABELS_CHANGED, "jetson", ["+a/b=1", "-a/c"])
    logging.getLogger("dtagent.x").info("Node %s", "jetson", extra=extra)
    (fields,) = sent
    assert fields == (
        "MESSAGE=Node jetson",
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=dtagent",
        f"MESSAGE_ID={log.LABELS_CHANGED}",
        "DTAGENT_NODE=jetson",
        "DTAGENT_LABEL=+a/b=1",
        "DTAGENT_LABEL=-a/c",
    )


def test_nothing_but_event_makes_fields_of_an_entry() -> None:
    """A dict of another form would be passed over."""
    for file in Path(log.__file__).parents[1].rglob("*.py"):
        assert "extra={" not in file.read_text(), file


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.ERROR, 3), (logging.WARNING, 4), (log.NOTICE, 5), (logging.INFO, 6)],
)
def test_a_priority_is_one_of_syslog(
    sent: list[tuple[str, ...]], level: int, priority: int
) -> None:
    logging.getLogger("dtagent").log(level, "x")
    assert f"PRIORITY={priority}" in sent[0]


def test_no_field_holds_a_control_character(sent: list[tuple[str, ...]]) -> None:
    extra = log.event(log.OVERLAY_APPLIED, overlay="hat\nPRIORITY=0")
    logging.getLogger("dtagent").info("a\nb\x1b", extra=extra)
    assert sent[0][0] == r"MESSAGE=a\nb\x1b"
    assert r"DTAGENT_OVERLAY=hat\nPRIORITY=0" in sent[0]


def test_without_python3_systemd_a_line_has_its_priority_before_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log, "_is_journal", lambda: True)
    monkeypatch.setitem(sys.modules, "systemd", None)
    log.setup("info")
    logging.getLogger("dtagent").warning("careful")
    assert capsys.readouterr().err == "<4>careful\n"


def test_a_journal_that_is_away_costs_no_agent(
    capsys: pytest.CaptureFixture[str], sent: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(sys.modules["systemd.journal"], "sendv", refuse)
    logging.getLogger("dtagent").handlers.clear()  # that of `sent` has the standard error of then
    log.setup("info")
    logging.getLogger("dtagent").warning("careful")
    assert capsys.readouterr().err == "<4>careful\n"


def test_a_status_is_never_so_long_that_systemd_would_drop_it(tmp_path: Path) -> None:
    program = "from dtagent.host.log import Systemd; Systemd().status('x' * 5000)"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=300)
        assert len(manager.recv(1 << 16)) < 1024
