"""The repository that `make repo` makes, as files: who gets what, signed, and the same twice."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deb.archive import __main__ as command
from deb.archive import key, suites, tree
from deb.archive.key import Key
from deb.archive.suites import ARCHITECTURES, SUITES
from deb.build import LINTIAN, TOOLS
from deb.container import inside, writable
from deb.host import HostError, run
from deb.package import field
from deb.root import root

LONG_AGO = ("--faked-system-time", "20200101T000000")
ADDRESS = "https://apt.test/"
CONTROL = """\
Package: dtagent
Version: {}
Architecture: {}
Maintainer: nobody <nobody@dtagent.invalid>
Description: stands in for a real one
"""


@pytest.fixture(scope="module")
def signer() -> Iterator[Key]:
    # Not under pytest's folder: a path of gpg's socket has 107 characters (unix(7)).
    with tempfile.TemporaryDirectory(prefix="dtagent-key-") as home:
        yield key.generate(Path(home), "repository under test", *LONG_AGO)
        key.end_agent(Path(home))


@pytest.fixture(scope="module")
def others(signer: Key) -> None:
    """Keys beside it in the same home that cannot sign, or not by their name."""
    new = ("--passphrase", "", "--quick-generate-key")
    gpg = ("gpg", "--batch", "--homedir", str(signer.home))
    for name in ("twin one", "twin two"):
        run(*gpg, *new, name, "ed25519", "sign")
    run(*gpg, *LONG_AGO, *new, "of the past", "ed25519", "sign", "1d")


@pytest.fixture
def mine(signer: Key, monkeypatch: pytest.MonkeyPatch) -> Key:
    """The same key as one's own: the environment names it."""
    monkeypatch.setenv("GNUPGHOME", str(signer.home))
    monkeypatch.setenv(key.VARIABLE, "repository under test")
    return Key(signer.fingerprints)


def deb(folder: Path, version: str, architecture: str, content: str = "") -> Path:
    """A package with one file."""
    files = folder / f"{version}-{architecture}-{content}"
    (files / "DEBIAN").mkdir(parents=True)
    (files / "DEBIAN/control").write_text(CONTROL.format(version, architecture))
    (files / "content").write_text(content)
    file = folder / f"dtagent_{version}_{architecture}.deb"
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}
    run("dpkg-deb", "--root-owner-group", "--build", files, file, env=epoch)
    return file


def four(folder: Path, version: str) -> list[Path]:
    """The packages of one version."""
    bundled = [deb(folder, f"{version}~bundled1", each) for each in ("amd64", "arm64", "armhf")]
    return [deb(folder, version, "all"), *bundled]


@pytest.fixture
def repository(tmp_path: Path, signer: Key) -> Path:
    folder = tmp_path / "repo"
    tree.publish(four(tmp_path, "1.0"), folder, signer, ADDRESS)
    return folder


def offered(folder: Path, suite: str, architecture: str) -> list[str]:
    """The versions of dtagent in one index."""
    index = folder / "dists" / suite / "main" / f"binary-{architecture}" / "Packages"
    entries = suites.entries(index.read_text())
    return [e.fields["Version"] for e in entries if e.fields["Package"] == "dtagent"]


def test_each_suite_has_the_package_for_its_release_and_no_other(repository: Path) -> None:
    for suite in SUITES:
        version = "1.0~bundled1" if suite.bundled else "1.0"
        for architecture in ("amd64", "arm64", "armhf"):
            assert offered(repository, suite.name, architecture) == [version]
        assert offered(repository, suite.name, "all") == ([] if suite.bundled else ["1.0"])


def test_earlier_versions_stay(repository: Path, signer: Key, tmp_path: Path) -> None:
    tree.publish(four(tmp_path, "1.1"), repository, signer, ADDRESS)
    assert offered(repository, "trixie", "amd64") == ["1.0", "1.1"]
    assert offered(repository, "jammy", "arm64") == ["1.0~bundled1", "1.1~bundled1"]
    assert len(list((repository / "pool").glob("**/dtagent_*.deb"))) == 8


def hashes(release: Path) -> dict[str, str]:
    """What a Release file says: the path of each index, and its SHA256."""
    rows = re.findall(r"(?m)^ ([0-9a-f]{64}) +\d+ (\S+)$", release.read_text())
    return {path: digest for digest, path in rows}


def test_each_index_is_in_the_release_file_and_there_by_its_hash(repository: Path) -> None:
    for suite in SUITES:
        place = repository / "dists" / suite.name
        listed = hashes(place / "Release")
        endings = ("", ".gz", ".xz")
        assert set(listed) == {
            f"main/binary-{each}/Packages{ending}" for each in ARCHITECTURES for ending in endings
        }
        for path, digest in listed.items():
            by_hash = (place / path).with_name("by-hash") / "SHA256" / digest
            assert hashlib.sha256(by_hash.read_bytes()).hexdigest() == digest
            assert by_hash.read_bytes() == (place / path).read_bytes()


def test_who_still_has_the_last_release_file_finds_its_indexes(
    repository: Path, signer: Key, tmp_path: Path
) -> None:
    place = repository / "dists/bookworm"
    before = hashes(place / "Release")
    tree.publish(four(tmp_path, "1.1"), repository, signer, ADDRESS)
    for path, digest in before.items():
        assert ((place / path).with_name("by-hash") / "SHA256" / digest).exists()


def test_both_signatures_are_of_the_key_that_lies_beside(repository: Path) -> None:
    keyring = repository / "dtagent-archive-keyring.pgp"
    for suite in SUITES:
        place = repository / "dists" / suite.name
        run("gpgv", "--keyring", keyring, place / "InRelease")
        run("gpgv", "--keyring", keyring, place / "Release.gpg", place / "Release")
        assert (place / "Release").read_text() in (place / "InRelease").read_text()


def test_a_release_file_says_whose_it_is_and_no_end(repository: Path) -> None:
    release = (repository / "dists/noble/Release").read_text()
    for line in ("Origin: dtagent", "Label: dtagent", "Suite: noble", "Codename: noble"):
        assert f"{line}\n" in release
    assert "Acquire-By-Hash: yes\n" in release
    assert "Valid-Until" not in release


def test_the_sources_name_the_suite_the_place_and_the_key(repository: Path) -> None:
    for suite in SUITES:
        said = (repository / "dists" / suite.name / "dtagent.sources").read_text()
        assert f"Types: deb\nURIs: {ADDRESS}\nSuites: {suite.name}\nComponents: main\n" in said
        assert said.endswith("Signed-By: /usr/share/keyrings/dtagent-archive-keyring.pgp\n")
    first = (repository / "dists" / SUITES[0].name / "dtagent.sources").read_text()
    assert (repository / "dtagent.sources").read_text() == first


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a repository but for signatures."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    signatures = ("InRelease", "Release.gpg")
    return {name: p.read_bytes() for name, p in found.items() if p.name not in signatures}


@pytest.mark.parametrize("epoch", [None, "1800000000"])
def test_a_second_one_is_the_same_but_for_its_signatures(
    tmp_path: Path, signer: Key, epoch: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if epoch:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    debs = four(tmp_path, "1.0")
    for name in ("one", "two", "one"):
        tree.publish(debs, tmp_path / name, signer, ADDRESS)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    if epoch:
        release = (tmp_path / "one/dists/trixie/Release").read_text()
        assert "Date: Fri, 15 Jan 2027 08:00:00 +0000\n" in release


def test_a_published_version_never_changes_unless_on_trial(
    tmp_path: Path, mine: Key, signer: Key
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    folder = tmp_path / "repo"
    tree.publish([deb(first, "1.0", "all", "one")], folder, mine, ADDRESS)
    changed = deb(second, "1.0", "all", "two")
    with pytest.raises(HostError, match=r"is published already.*a version of its own"):
        tree.publish([changed], folder, mine, ADDRESS)
    tree.publish([changed], folder, signer, ADDRESS)
    placed = folder / "pool/main/d/dtagent/dtagent_1.0_all.deb"
    assert placed.read_bytes() == changed.read_bytes()


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
