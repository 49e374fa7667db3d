"""The keys of `make repo`: their package, one after another, and what is said of those it lacks."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from deb.archive import __main__ as command
from deb.archive import key, tree
from deb.archive.key import Key
from deb.build import LINTIAN, TOOLS
from deb.container import inside, writable
from deb.host import run
from deb.package import field
from deb.root import root

from .repository import ADDRESS, LONG_AGO, four, mine, others, repository, signer

__all__ = ["mine", "others", "repository", "signer"]  # fixtures


def test_a_prolonged_key_comes_as_a_later_package_and_no_other_is_left(
    repository: Path, tmp_path: Path
) -> None:
    pool = repository / "pool/main/d/dtagent-archive-keyring"
    (first,) = pool.iterdir()
    assert field(first, "Version") == "20200101.000000"
    run("dpkg-deb", "--extract", first, tmp_path / "files")
    installed = tmp_path / "files/usr/share/keyrings/dtagent-archive-keyring.pgp"
    assert installed.read_bytes() == (repository / "dtagent-archive-keyring.pgp").read_bytes()
    with tempfile.TemporaryDirectory(prefix="dtagent-key-") as home:
        other = key.generate(Path(home), "another", *LONG_AGO)
        prolong = ("--quick-set-expire", other.fingerprints[0], "2y")
        run("gpg", "--batch", "--homedir", home, *prolong)
        tree.publish([], repository, other, ADDRESS)
        key.end_agent(Path(home))
    (second,) = pool.iterdir()
    assert field(second, "Version") > "20200101.000000"


def test_lintian_finds_neither_error_nor_warning_in_the_keyrings_package(
    repository: Path,
) -> None:
    (package,) = (repository / "pool/main/d/dtagent-archive-keyring").iterdir()
    with writable(root("trixie", TOOLS)) as folder:
        run("cp", package, folder / "opt")
        inside(folder, *LINTIAN, f"/opt/{package.name}")


def test_two_keys_both_sign_while_one_follows_the_other(
    mine: Key, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "second", "ed25519", "sign")
    monkeypatch.setenv(key.VARIABLE, "repository under test, second")
    with key.of_environment() as both:
        assert len(both.fingerprints) == 2
        tree.publish(four(tmp_path, "1.0"), tmp_path / "repo", both, ADDRESS)
    keyring = tmp_path / "repo/dtagent-archive-keyring.pgp"
    said = run("gpgv", "--keyring", keyring, tmp_path / "repo/dists/trixie/InRelease")
    assert said.count("Good signature") == 2


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (key.VARIABLE, "nobody's", r"no secret key \"nobody's\" in .*GNUPGHOME names another"),
        (key.VARIABLE, "twin", r"'twin' stands for 2 keys: give a fingerprint"),
        (key.VARIABLE, "of the past", r"the key 'of the past' has expired"),
        (command.ADDRESS, "apt.test", r"is 'apt.test', and no address of http:, https: or file:"),
        ("SOURCE_DATE_EPOCH", "today", r"is 'today', and not a number of seconds"),
    ],
)
def test_what_it_cannot_do_with_is_one_line_and_a_remedy(
    mine: Key,
    others: None,
    tmp_path: Path,
    variable: str,
    value: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    four(tmp_path, "1.0")
    monkeypatch.setattr(command, "DIST", tmp_path)
    monkeypatch.setenv(variable, value)
    assert command.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)


def test_without_packages_it_says_what_to_do_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "DIST", tmp_path)
    assert command.main() == 1
    assert capsys.readouterr().err == f"{tmp_path} has no package: run `make deb` first\n"


def test_without_a_key_it_is_for_trying_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    four(tmp_path, "1.0")
    monkeypatch.setattr(command, "DIST", tmp_path)
    assert command.main() == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"FOR TRYING ALONE: {key.VARIABLE} names no key")
    assert "bookworm  1.0~bundled1 (amd64), 1.0~bundled1 (arm64), 1.0~bundled1 (armhf)" in said.out
