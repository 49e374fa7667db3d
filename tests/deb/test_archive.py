"""The repository that `make repo` makes, as files: who gets what, signed, and the same twice."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from deb.archive import suites, tree
from deb.archive.key import Key
from deb.archive.suites import ARCHITECTURES, SUITES
from deb.host import HostError, run

from .repository import ADDRESS, deb, four, mine, repository, signer

__all__ = ["mine", "repository", "signer"]  # fixtures


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
