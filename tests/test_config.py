"""Settings: what goes over what, and what a wrong file is told."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from dtagent import cli
from dtagent.config import sources
from dtagent.config.settings import DevicetreeTable, NodeTable, Settings, as_toml
from dtagent.config.sources import load
from dtagent.errors import ConfigError
from dtagent.events import Stopped
from tests.process import wait_for


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "dtagent.toml"


def dropin(file: Path, name: str, text: str) -> Path:
    folder = Path(f"{file}.d")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def refusal(file: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file)
    return str(caught.value)


def test_no_default_file_means_the_defaults() -> None:
    settings = load()
    assert settings == Settings()
    assert settings.devicetree.root == Path("/sys/firmware/devicetree/base")
    assert settings.devicetree.nodes == ("/",)
    assert settings.labels.prefix == "beta.devicetree.org/"
    assert settings.resync_interval == 300


def test_the_shipped_file_sets_nothing_and_each_of_its_lines_is_valid(
    tmp_path: Path,
) -> None:
    shipped = Path(__file__).parents[1] / "etc" / "dtagent.toml"
    assert load(shipped) == Settings()
    inforce = tmp_path / "inforce.toml"
    text = shipped.read_text()
    inforce.write_text("\n".join(line.removeprefix("#") for line in text.splitlines()
                                 if not line.startswith("# ")))  # fmt: skip
    load(inforce)


def test_dropins_are_laid_over_the_file_in_order(file: Path) -> None:
    # pydantic-settings 2.8.1's own merging of several files drops keys; this must hold there too.
    file.write_text(
        'log_level = "debug"\n'
        '[labels]\nprefix = "a.org/"\n[labels.vendor_aliases]\none = "1"\ntwo = "2"\n'
        '[devicetree]\nnodes = ["/", "gpu"]\ninclude_disabled = true\n'
        '[[rules]]\nlabel = "a.org/first"\n'
    )
    dropin(file, "20-b.toml", '[labels]\nprefix = "c.org/"\n[[rules]]\nlabel = "a.org/third"\n')
    dropin(
        file,
        "10-a.toml",
        '[labels]\nprefix = "b.org/"\n[labels.vendor_aliases]\ntwo = "zwei"\n'
        '[devicetree]\nnodes = ["fan"]\n[[rules]]\nlabel = "a.org/second"\n',
    )
    dropin(file, "README", "not TOML")
    settings = load(file)
    assert settings.log_level == "debug"
    assert settings.labels.prefix == "c.org/"
    assert settings.labels.vendor_aliases == {"xlnx": "xilinx", "one": "1", "two": "zwei"}
    assert settings.devicetree.nodes == ("fan",)
    assert settings.devicetree.include_disabled is True
    assert [rule.label for rule in settings.rules] == ["a.org/first", "a.org/second", "a.org/third"]


def test_dropins_count_without_the_default_file() -> None:
    assert not sources.DEFAULT_FILE.exists()
    sources.DEFAULT_FILE.parent.mkdir()
    dropin(sources.DEFAULT_FILE, "10.toml", 'log_level = "error"')
    assert load().log_level == "error"


def test_flags_go_over_the_environment_and_that_over_the_files(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('[node]\nname = "file"\nkubeconfig = "/file"\n[labels]\nprefix = "file.org/"\n')
    monkeypatch.setenv("DTAGENT_NODE__NAME", "environment")
    monkeypatch.setenv("DTAGENT_NODE__KUBECONFIG", "/environment")
    monkeypatch.setenv("DTAGENT_DEVICETREE__NODES", '["/", "gpu"]')
    flags = ["--node-name", "flag", "--root", "/flag", "-n", "fan"]
    assert cli.main(["check-config", "--config", str(file), *flags]) == 0
    file.write_text(capsys.readouterr().out)
    for name in ("NODE__NAME", "NODE__KUBECONFIG", "DEVICETREE__NODES"):
        monkeypatch.delenv(f"DTAGENT_{name}")
    settings = load(file)
    assert settings.node == NodeTable(name="flag", kubeconfig="/environment")
    assert settings.labels.prefix == "file.org/"
    assert settings.devicetree == DevicetreeTable(Path("/flag"), nodes=("/", "gpu", "fan"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1h 30m", 5400), ("7d", 604800)],
)
def test_durations(file: Path, text: str, seconds: int) -> None:
    file.write_text(f'resync_interval = "{text}"')
    assert load(file).resync_interval == seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("publish = node", "Invalid value (at line 1, column 11)"),
        ("[node\n", "Expected ']' at the end of a table declaration (at line 1, column 6)"),
        ("prefix = 'a.org/'",
         "prefix: unknown key; known here: devicetree, labels, log_level, metrics, nfd, node, "
         "overlays, publish, resync_interval, rules"),
        ("[labels]\nprefx = 'a.org/'", 'labels.prefx: unknown key; did you mean "prefix"?'),
        ("[label]\nprefix = 'a.org/'", 'label: unknown key; did you mean "labels"?'),
        ("publish = 'api'", "publish: expected 'node' or 'nfd', not 'api'"),
        ("labels = 5",
         "labels: expected a table, not 5"),
        ("[labels]\nprefix = 5", "labels.prefix: expected a valid string, not 5"),
        ("[labels]\nprefix = 'a.org'",
         "labels.prefix: a label prefix is a domain followed by '/', such as \"example.org/\""),
        ("[labels]\nprefix = 'x.kubernetes.io/'",
         "labels.prefix: kubernetes.io and its subdomains are Kubernetes' own; "
         "use a domain of yours"),
        ("resync_interval = 'soon'",
         'resync_interval: expected a duration from "1s" to "7d", such as "90s", "5m" or "1h30m"'),
        ("resync_interval = 300",
         'resync_interval: expected a duration from "1s" to "7d", such as "90s", "5m" or "1h30m"'),
        ("resync_interval = '0s'",
         'resync_interval: expected a duration from "1s" to "7d", such as "90s", "5m" or "1h30m"'),
        ("[devicetree]\nnodes = 'gpu'", "devicetree.nodes: expected a list, not 'gpu'"),
        ("[devicetree]\nnodes = ['/', 'g*']",
         "devicetree.nodes[1]: 'g*' is no node name; write a NAME, a /PATH or 'compatible:GLOB'"),
        ("[[rules]]\nlabel = 'k8s.io/x'",
         "rules[0].label: k8s.io and its subdomains are Kubernetes' own; use a domain of yours"),
        ("[[rules]]\nproperty = 'model'", "rules[0].label: required, and missing"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_where_what_and_what_instead(
    file: Path, text: str, message: str
) -> None:
    file.write_text(text)
    assert refusal(file) == f"{file}: {message}"


def test_each_mistake_has_a_line_and_each_line_its_own_file(file: Path) -> None:
    file.write_text("[labels]\nprefix = 1\n[[rules]]\nlabel = 'a.org/x'\n")
    second = dropin(file, "10.toml", "log_level = 'loud'\n[[rules]]\nlabel = 'x y'\n")
    assert refusal(file).splitlines() == [
        f"{file}: labels.prefix: expected a valid string, not 1",
        f"{second}: log_level: expected 'debug', 'info', 'warning' or 'error', not 'loud'",
        f"{second}: rules[0].label: 'x y' is no label name: up to 63 letters, digits, '-', '_' "
        "or '.', with a letter or digit at both ends",
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DTAGENT_LABELS__PREFX", "x", 'labels.prefx: unknown key; did you mean "prefix"?'),
        ("DTAGENT_LABEL__PREFIX", "x", 'label: unknown key; did you mean "labels"?'),
        ("DTAGENT_PUBLISH__X", "nfd", 'publish__x: unknown key; did you mean "publish"?'),
        ("DTAGENT_PUBLISH", "x", "publish: expected 'node' or 'nfd', not 'x'"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value) == f"environment variable {name}: {message}"


def test_a_list_in_the_environment_that_is_no_json_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DTAGENT_DEVICETREE__NODES", "gpu")
    place = "environment variable DTAGENT_DEVICETREE__NODES"
    with pytest.raises(ConfigError, match=rf"^{place}: .*are JSON there$"):
        load()


def test_a_file_that_cannot_be_read_is_told_why(file: Path, tmp_path: Path) -> None:
    assert refusal(file) == f"{file}: No such file or directory"
    assert refusal(tmp_path) == f"{tmp_path}: Is a directory"
    file.write_bytes(b"\xff\xfe")
    assert refusal(file) == f"{file}: not UTF-8 text"
    file.write_text("a = " + "[" * 10_000)
    assert refusal(file) == f"{file}: nested too deeply"


def test_what_is_in_effect_reads_back_as_itself(file: Path) -> None:
    file.write_text(
        'resync_interval = "90s"\n[node]\nname = "a\\"b\\u007f"\n[labels.vendor_aliases]\n'
        '"with space" = "x"\n[[rules]]\nlabel = "a.org/x"\n'
    )
    settings = load(file)
    file.write_text(as_toml(settings))
    assert load(file) == settings


def test_settings_cannot_be_changed() -> None:
    settings = load()
    with pytest.raises(FrozenInstanceError):
        settings.publish = "nfd"  # type: ignore[misc]


def test_reading_settings_imports_no_kubernetes() -> None:
    program = "import sys, dtagent.cli; print(sorted(m for m in sys.modules if 'kube' in m))"
    run = subprocess.run(
        [sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"


FAILURES = {
    "kill -9 $$": "killed by signal 9: no memory for it, or over 60 s",
    "echo trace >&2; echo MemoryError >&2; exit 1": "MemoryError",
    "echo warning: no platform libraries >&2": "warning: no platform libraries",
    "exit 0": "no answer",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_judging_process_that_fails_in_any_way_is_a_configuration_error(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{failure}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    file.write_text('log_level = "error"')
    assert refusal(file) == f"configuration: cannot be judged: {FAILURES[failure]}"


def test_a_judging_process_that_takes_too_long_ends_and_is_a_configuration_error(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pydantic.py").write_text("import time; time.sleep(1000)")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sources, "JUDGE_TIME", 1)
    file.write_text('log_level = "error"')
    ended = "killed by signal 14: no memory for it, or over 1 s"
    assert refusal(file) == f"configuration: cannot be judged: {ended}"


def test_a_judging_process_that_cannot_be_started_is_a_configuration_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/none")
    file.write_text('log_level = "error"')
    assert refusal(file) == "configuration: cannot be judged: No such file or directory"


def test_a_stop_while_a_process_judges_leaves_none(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path}/pid\nmv {tmp_path}/pid {started}\nexec sleep 999\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    file.write_text('log_level = "error"')

    def stop() -> None:
        wait_for(started.exists, "the process that judges")
        raise Stopped

    with pytest.raises(Stopped):
        load(file, meanwhile=stop)
    assert not Path("/proc", started.read_text().strip()).exists()


def test_where_nothing_is_set_no_process_is_started(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/none")
    file.write_text("# a comment\n\n  # and another\r\n")
    assert load(file) == load() == Settings()


@pytest.mark.parametrize("command", ["scan", "run"])
def test_no_command_imports_pydantic_into_its_own_process(
    command: str, file: Path, nano: Path
) -> None:
    """Which would be a quarter of what the agent keeps; what it runs in is another process."""
    file.write_text(f'[devicetree]\nroot = "{nano}"\n[node]\nkubeconfig = "/none"\n')
    program = (
        "import os, signal, sys, threading; from dtagent import cli;"
        "from dtagent.publish import reconcile;"
        "reconcile.Reconciler.step = lambda _: os.kill(os.getpid(), signal.SIGTERM);"
        "status = cli.main(sys.argv[1:]);"
        "sys.exit(status or [name for name in sys.modules if 'pydantic' in name] or None)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, command, "--config", str(file)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (run.returncode, run.stderr if command == "scan" else "") == (0, "")


def test_rules_of_the_environment_replace_those_of_the_files_and_are_blamed_for_themselves(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[[rules]]\nlabel = 'a.org/x'\n")
    monkeypatch.setenv("DTAGENT_RULES", '[{"label": "a.org/y"}]')
    assert [rule.label for rule in load(file).rules] == ["a.org/y"]
    monkeypatch.setenv("DTAGENT_RULES", '[{"label": "k8s.io/y"}]')
    assert refusal(file).startswith("environment variable DTAGENT_RULES: rules[0].label: k8s.io")
