"""The metrics and the alerts, by Debian's own promtool and node_exporter."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from deb import host as machine
from deb.root import root
from dtagent.host.status import Report, metrics, wall_time, write
from tests.process import wait_for

PACKAGING = Path(__file__).parents[2] / "packaging"


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of promtool and prometheus-node-exporter, as Debian 12 installs them."""
    return root("bookworm", ["prometheus", "prometheus-node-exporter"]) / "usr/bin"


@pytest.fixture
def textfile(tmp_path: Path) -> Path:
    """What an agent writes that has met everything."""
    counts = {
        ("scans_total", "success"): 12, ("scan_seconds_total", ""): 0.25,
        ("api_errors_total", "Unreachable"): 3, ("publications_total", "failed"): 3,
    }  # fmt: skip
    report = Report(place="Node n", at=wall_time(), labels={"a": "1"}, left_alone=["b"])
    file = tmp_path / "dtagent.prom"
    write(file, "".join(metrics(report, counts)), tmp_path / "new")
    return file


def test_promtool_finds_nothing_to_say_about_the_metrics(programs: Path, textfile: Path) -> None:
    command = [str(programs / "promtool"), "check", "metrics"]
    with textfile.open() as lines:
        done = subprocess.run(command, stdin=lines, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_node_exporter_serves_them(programs: Path, textfile: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(programs / "prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{port}",
        "--collector.disable-defaults", "--collector.textfile",
        f"--collector.textfile.directory={textfile.parent}",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as exporter:
        try:
            wait_for(lambda: scraped(port), "node_exporter")
            lines = scraped(port).splitlines()
        finally:
            exporter.kill()
    for line in (
        'dtagent_api_errors_total{kind="Unreachable"} 3',
        "dtagent_healthy 1",
        "dtagent_labels_left_alone 1",
        "node_textfile_scrape_error 0",
    ):
        assert line in lines
    assert [line for line in lines if line.startswith("node_textfile_mtime_seconds{")]


def scraped(port: int) -> str:
    with contextlib.suppress(OSError):
        answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30)
        with answer:
            return str(answer.read().decode())
    return ""


def test_each_alert_comes_when_it_should_and_not_before(programs: Path, tmp_path: Path) -> None:
    shutil.copy(PACKAGING / "dtagent.rules.yml", tmp_path)
    shutil.copy(Path(__file__).with_name("dtagent.rules.test.yml"), tmp_path / "test.yml")
    said = machine.run(programs / "promtool", "test", "rules", tmp_path / "test.yml")
    assert "SUCCESS" in said
