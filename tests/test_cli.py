"""The commands as a user meets them: output, exit status, and each message to the letter."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from demo.jetson_nano import JETSON_NANO
from demo.tree import strings, write_tree
from dtagent import __version__, cli, commands
from dtagent.config import sources
from dtagent.host.log import Systemd
from dtagent.host.status import Status, runtime_directory
from tests.dtb import dtb

NANO = """\
beta.devicetree.org/nvidia-gm20b: 1
beta.devicetree.org/nvidia-jetson-nano: 1
beta.devicetree.org/nvidia-tegra210: 1
beta.devicetree.org/nvidia-tegra210-gm20b: 1
beta.devicetree.org/pwm-fan: 1
"""


def dtagent(*arguments: str | Path) -> int:
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as usage:
        return int(usage.code or 0)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """The exit status and what was said; nothing of it on standard output."""
    status = dtagent(*arguments)
    said = capsys.readouterr()
    assert said.out == ""
    return status, said.err


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    file = tmp_path / "nano.dtb"
    file.write_bytes(dtb(JETSON_NANO))
    return file


def test_scan_prints_a_line_a_label(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dtagent("scan", "--root", nano, "-n", "gpu", "pwm-fan") == 0
    assert capsys.readouterr() == (NANO, "")


def test_scan_of_a_folder_and_of_the_same_boards_dtb_is_identical(
    nano: Path, blob: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dtagent("scan", "-o", "json", "--root", nano, "-n", "gpu", "pwm-fan") == 0
    folder = capsys.readouterr().out
    assert dtagent("scan", "-o", "json", "--dtb", blob, "-n", "gpu", "-n", "pwm-fan") == 0
    assert capsys.readouterr().out == folder
    labels = dict(line.split(": ") for line in NANO.splitlines())
    assert json.loads(folder) == {"labels": labels, "notes": []}


def test_scan_for_nfd_has_an_equals_sign(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dtagent("scan", "-o", "nfd", "--root", nano, "-n", "gpu", "pwm-fan") == 0
    assert capsys.readouterr().out == NANO.replace(": ", "=")


def test_notes_go_to_standard_error(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nano / "compatible").unlink()
    (nano / "compatible").write_bytes(b"nvidia,p3768-0000+p3767-0005\0\x1b[31m\0")
    assert dtagent("scan", "--root", nano) == 0
    name = "beta.devicetree.org/nvidia-p3768-0000-p3767-0005"
    assert capsys.readouterr() == (
        f"beta.devicetree.org/31m: 1\n{name}: 1\n",
        f"dtagent: {name}: stands for 'nvidia,p3768-0000+p3767-0005'\n"
        "dtagent: beta.devicetree.org/31m: stands for '\\x1b[31m'\n",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--root", "DIR/none"],
         "no devicetree at DIR/none: this host has none, or [devicetree] root and --root name "
         "another place"),
        (["--root", "DIR/nano.dtb"],
         "DIR/nano.dtb: not a folder; --root wants a live tree (a DTB is --dtb)"),
        (["--dtb", "DIR/none"], "DIR/none: No such file or directory"),
        (["--dtb", "DIR"], "DIR: Is a directory"),
        (["--dtb", "DIR/text"], "DIR/text: not a whole DTB (a live tree's folder is --root)"),
        (["--dtb", "DIR/cut.dtb"],
         "DIR/cut.dtb: not a whole DTB (a live tree's folder is --root)"),
    ],
)  # fmt: skip
def test_a_tree_that_cannot_be_read_is_exit_status_1(
    blob: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    folder = blob.parent
    (folder / "text").write_text("no blob " * 20)
    (folder / "cut.dtb").write_bytes(blob.read_bytes()[:-200])
    options = [option.replace("DIR", str(folder)) for option in options]
    expected = f"dtagent: {message.replace('DIR', str(folder))}\n"
    assert refused(capsys, "scan", *options) == (1, expected)


def test_a_tree_that_may_not_be_read_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        base = Path(folder) / "base"
        write_tree({"compatible": strings("acme,board")}, base)
        (base / "compatible").chmod(0)
        Path(folder).chmod(0o755)
        monkeypatch.setattr(sources, "DEFAULT_FILE", Path(folder) / "dtagent.toml")
        user = os.geteuid()
        os.seteuid(user or 65534)  # root may read everything
        try:
            assert refused(capsys, "scan", "--root", base) == (
                1,
                f"dtagent: {base}/compatible: Permission denied; the devicetree cannot be read\n",
            )
        finally:
            os.seteuid(user)


def test_overlays_that_cannot_be_looked_at_are_told(
    nano: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ELOOP, which stops root too."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    file = tmp_path / "dtagent.toml"
    file.write_text(f'[overlays]\npath = "{loop}"\n')
    assert refused(capsys, "scan", "--config", file, "--root", nano) == (
        1,
        f"dtagent: {loop}: Too many levels of symbolic links; dtagent must be able to list the "
        "overlays' folder: chmod it, or set [overlays] path\n",
    )


def test_status_writes_out_what_would_be_more_than_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A folder's name under configfs may hold any bytes; nobody's terminal should obey them."""
    status = Status(Systemd({}), runtime_directory())
    overlays = ["\x1b]0;x\x07", "\udcff"]
    status.update(place="a", at="then", labels={"e.org/a": "\x9b1m"}, overlays=overlays)
    assert dtagent("status") == 0
    out, err = capsys.readouterr()
    first, *_, last = out.splitlines()
    assert first == "1 label true on a at then; overlays: \\x1b]0;x\\x07, \\udcff"
    assert last == "e.org/a: \\x9b1m"
    assert err == ""


def test_without_pylibfdt_a_dtb_names_the_extra(
    blob: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "libfdt", None)
    assert refused(capsys, "scan", "--dtb", blob) == (
        1,
        "dtagent: reading a DTB needs pylibfdt: pip install 'dtagent[dtb]', or apt install "
        "python3-libfdt\n",
    )


@pytest.mark.parametrize("command", ["run", "scan", "publish", "check-config", "clear"])
def test_a_missing_config_is_exit_status_2_for_every_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, command, "--config", "/none.toml") == (
        2,
        "dtagent: /none.toml: No such file or directory\n",
    )


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("-n", "g*", "'g*' is no node name; write a NAME, a /PATH or 'compatible:GLOB'"),
        ("--root", "\udcff", "expected text in UTF-8, without NUL"),
        ("--node-name", "\udcff", "expected text in UTF-8, without NUL"),
    ],
)
def test_a_flag_is_checked_as_the_same_setting_in_a_file(
    flag: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, err = refused(capsys, "scan", flag, value)
    assert status == 2
    assert err.splitlines()[-1] == f"dtagent scan: error: argument {flag}: {message}"


@pytest.mark.parametrize("arguments", [[], ["scann"], ["scan", "-o", "xml"], ["scan", "extra"]])
def test_wrong_usage_is_exit_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = refused(capsys, *arguments)
    assert status == 2
    assert said.startswith("usage: dtagent")


def test_publish_without_a_cluster(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "publish", "--root", nano, "--kubeconfig", "/none") == (
        1,
        "dtagent: /none: No such file or directory\n",
    )


def test_run_without_a_runtime_directory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/proc/none")
    assert refused(capsys, "run") == (
        1,
        "dtagent: /proc/none/lock: No such file or directory; run as root, or let "
        "RUNTIME_DIRECTORY name a folder\n",
    )


def test_check_config_prints_what_is_in_effect_and_reads_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dtagent.toml"
    file.write_text('[labels]\nprefix = "e.org/"\n')
    assert dtagent("check-config", "--config", file, "--node-name", "n") == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"# from {file}\n")
    assert '[labels]\nprefix = "e.org/"\n' in printed
    file.write_text(printed)
    assert dtagent("check-config", "--config", file) == 0
    assert capsys.readouterr().out == printed


def test_check_config_writes_out_what_would_be_more_than_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "\udcff\x1b.toml"
    file.write_text('[node]\nkubeconfig = "/\\u001b\\u009b\\u007f\\u2028é"\n')
    assert dtagent("check-config", "--config", file) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"# from {tmp_path}/\\udcff\\x1b.toml\n")
    assert r'kubeconfig = "/\u001b\U0000009b\U0000007f\U00002028é"' in printed
    file.write_text(printed)
    assert dtagent("check-config", "--config", file) == 0
    assert capsys.readouterr().out == printed


def test_a_reader_that_goes_away_is_no_error(nano: Path) -> None:
    run = subprocess.run(  # noqa: S602 - a pipe is what this is about
        f"{sys.executable} -m dtagent scan --root {nano} | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.stderr == ""


def test_what_nobody_foresaw_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(commands, "settings_of", broken)
    assert refused(capsys, "scan") == (
        1,
        "dtagent: internal error, please report it: RuntimeError: unforeseen "
        "(DTAGENT_LOG_LEVEL=debug shows where)\n",
    )
    monkeypatch.setenv("DTAGENT_LOG_LEVEL", "debug")
    with pytest.raises(RuntimeError):
        dtagent("scan")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert dtagent("--version") == 0
    assert capsys.readouterr().out == f"dtagent {__version__}\n"


COMMANDS = ["run", "scan", "publish", "check-config", "status", "doctor", "clear"]


def example(capsys: pytest.CaptureFixture[str], command: str | None) -> list[str]:
    """The last line of a command's --help, or of that of all."""
    assert dtagent(*filter(None, [command]), "--help") == 0
    heading, words = capsys.readouterr().out.splitlines()[-2:]
    assert heading == "example:"
    assert words.startswith("  dtagent ")
    return words.split()[1:]


@pytest.mark.parametrize("command", [None, *COMMANDS])
@pytest.mark.parametrize("columns", ["40", "200"])
def test_help_is_within_80_columns_on_any_terminal(
    command: str | None,
    columns: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert dtagent(*filter(None, [command]), "--help") == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_ends_with_an_example_that_the_command_takes(
    command: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    options = cli.parser().parse_args(example(capsys, command))
    assert options.command.__name__.replace("_", "-") == (command or "scan")


@pytest.mark.parametrize("command", [None, "scan", "check-config", "status"])
def test_the_example_of_what_needs_no_cluster_works(
    command: str | None,
    nano: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a board whose agent has published, and in a folder with the file that is named."""
    monkeypatch.setenv("DTAGENT_DEVICETREE__ROOT", str(nano))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.toml").touch()
    Status(Systemd({}), runtime_directory()).update(place="a", at="then", labels={}, overlays=[])
    assert dtagent(*example(capsys, command)) == 0
    out, err = capsys.readouterr()
    assert (bool(out), err) == (True, "")


def test_help_off_a_terminal_has_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    assert dtagent("scan", "--help") == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_on_a_terminal_has_no_colour_where_no_color_is_set(command: str | None) -> None:
    """Python 3.14 and newer would colour it there, and no older one does."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "dtagent", *filter(None, [command]), "--help"]
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
    environment.pop("FORCE_COLOR", None)
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        printed = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    assert b"example:" in printed
    assert b"\x1b" not in printed


def read(terminal: int) -> bytes:
    """What comes next from a terminal; nothing when nobody has its other end (EIO)."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
