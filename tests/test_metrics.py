"""`[metrics] textfile`: what node_exporter picks up, and that nothing is written unless asked."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dtagent.host.log import Systemd
from dtagent.host.status import Status
from tests.host import Host
from tests.process import wait_for
from tests.test_run import start


def metrics(file: Path) -> dict[str, float]:
    """Each sample of the file; none while there is no file."""
    if not file.exists():
        return {}
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    found = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    assert len(found) == len(lines)
    return found


def test_the_textfile_says_what_was_done_and_everybody_may_read_it(
    host: Host, tmp_path: Path
) -> None:
    file = tmp_path / "node-exporter" / "dtagent.prom"
    file.parent.mkdir()
    settings = f'metrics.textfile = "{file}"\n'
    host.configure(settings)
    with start(host) as agent:
        wait_for(lambda: metrics(file).get("dtagent_healthy"), "a healthy agent's metrics")
        found = metrics(file)
        assert found["dtagent_labels"] == 1
        assert found['dtagent_publications_total{result="changed"}'] == 1
        assert found['dtagent_scans_total{result="success"}'] >= 1
        assert found["dtagent_last_success_timestamp_seconds"] > 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        away = host.base.with_name("away")
        host.base.rename(away)
        agent.reload()
        reloads = 'dtagent_reloads_total{result="success"}'
        wait_for(lambda: metrics(file)[reloads] == 1, "the reload")
        wait_for(lambda: metrics(file)["dtagent_tree_readable"] == 0, "the unreadable tree")
        assert metrics(file)['dtagent_scans_total{result="failure"}'] >= 1
        away.rename(host.base)
        host.configure("publish = 5")
        agent.reload()
        wait_for(
            lambda: metrics(file)['dtagent_reloads_total{result="failure"}'] == 1, "the failure"
        )
    assert [each.name for each in file.parent.iterdir()] == ["dtagent.prom"]


def test_failures_are_counted_by_kind(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "dtagent.prom"
    host.configure(f'metrics.textfile = "{file}"\n')
    host.kubeconfig.unlink()
    key = 'dtagent_api_errors_total{kind="Credentials"}'
    with start(host):
        wait_for(lambda: metrics(file).get(key), "an error of this kind")
    assert metrics(file)["dtagent_healthy"] == 0
    assert metrics(file)['dtagent_publications_total{result="failed"}'] >= 1


def test_a_folder_that_cannot_be_written_is_named_once_with_the_dropin(
    host: Host, tmp_path: Path
) -> None:
    file = tmp_path / "nowhere" / "dtagent.prom"
    host.configure(f'resync_interval = "1s"\nmetrics.textfile = "{file}"\n')
    with start(host) as agent:
        agent.wait_error(f"{file}: No such file or directory; its folder must be there, and the")
        host.add("sensor@1", {"compatible": b"acme,sensor\0"})
        agent.reload()
        agent.wait_error("configuration reloaded")
        agent.stop()
    warnings = [line for line in agent.errors if "metrics.conf" in line]
    assert len(warnings) == 1


@pytest.mark.parametrize("name", ["/", ".", "/proc/none"])
def test_a_name_that_can_be_no_file_is_a_warning(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", "dtagent")
    status = Status(Systemd({}), tmp_path)
    status.use_textfile(name)
    status.update(place="Node a")
    assert "metrics.conf" in caplog.text
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_a_file_that_is_given_up_is_not_tried_again(tmp_path: Path) -> None:
    """Else each look at the tree would write the state anew, with nothing new in it."""
    status = Status(Systemd({}), tmp_path)
    status.use_textfile(str(tmp_path / "nowhere" / "dtagent.prom"))
    status.update(place="Node a")
    status.use_textfile("")
    before = (tmp_path / "state.json").stat().st_ino
    status.update()
    assert (tmp_path / "state.json").stat().st_ino == before


def test_a_dry_run_writes_no_metrics(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "dtagent.prom"
    host.configure(f'metrics.textfile = "{file}"\n')
    with start(host, "--dry-run") as agent:
        wait_for(lambda: "" in agent.output, "a whole patch")
    assert not file.exists()


def test_a_dry_run_leaves_the_metrics_of_the_agent_alone(tmp_path: Path) -> None:
    """When its configuration is read again, and has no such file any more."""
    file = tmp_path / "dtagent.prom"
    file.touch()
    status = Status(Systemd({}))
    for name in (str(file), ""):
        status.use_textfile(name)
    assert file.exists()


def test_check_config_names_the_dropin_for_a_folder_that_is_not_there(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "nowhere" / "dtagent.prom"
    host.configure(f'metrics.textfile = "{file}"\n')
    assert host.run("check-config") == 0
    printed = capsys.readouterr()
    assert f'textfile = "{file}"' in printed.out
    assert f"{file}: No such file or directory; its folder must be there" in printed.err
    assert "metrics.conf" in printed.err


def test_metrics_that_are_written_no_more_do_not_stay_as_if_they_were_true(
    host: Host, tmp_path: Path
) -> None:
    file = tmp_path / "dtagent.prom"
    host.configure(f'metrics.textfile = "{file}"\n')
    with start(host) as agent:
        wait_for(file.exists, "metrics")
        host.configure("")
        agent.reload()
        wait_for(lambda: not file.exists(), "their end")
