"""What apt says of a channel that is not what it should be: it refuses, and nothing is half done.

The words are in docs/apt.md, for whoever looks for them there.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deb import host
from deb.archive import key, suites
from deb.archive.key import Key
from deb.source import CHECKOUT

from .channel import SOURCES, Channel, channel, subscribe
from .packages import SUITES, Package, built
from .site import Site

DOCUMENTED = re.sub(r"\s+", " ", (CHECKOUT / "docs/apt.md").read_text())
NOT_SIGNED = "is not signed."


@pytest.fixture(scope="module")
def archive(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channel]:
    """A repository with the built packages and the next version."""
    next_ = package.newer(tmp_path_factory.mktemp("next"))
    with channel(package.suite, *map(built, SUITES), next_) as found:
        yield found


@pytest.fixture(scope="module")
def place(subscribed: Site, package: Package) -> Site:
    """A host that has the built version from the channel; the next would be there to take."""
    subscribed.apt("update")
    subscribed.apt(f"install dtagent={package.version}")
    return subscribed


@pytest.fixture(autouse=True)
def intact(site: Site, archive: Channel) -> Iterator[None]:
    """Whatever apt meets, the agent that was there runs on, whole, and so does the channel."""
    pid = site.pid
    yield
    assert site.machine.run("dpkg --audit", check=True).stdout == ""
    assert site.machine.run("dpkg --verify dtagent", check=True).stdout == ""
    assert site.pid == pid
    subscribe(site, archive)
    site.apt("update")
    assert "dtagent" in site.apt("--simulate upgrade").stdout


def says(site: Site, words: str, **phrases: str) -> None:
    """apt fails with these phrases, of one release or of `every`, and docs/apt.md has them."""
    result = site.apt(f"-o Acquire::Retries=0 {words}", check=False)
    assert result.status == 100, result
    for release, phrase in phrases.items():
        assert phrase in DOCUMENTED
        if release in ("every", site.package.suite):
            assert phrase in re.sub(r"\s+", " ", result.stderr), result


def refused(site: Site, sources: str, **phrases: str) -> None:
    """An update from these sources fails."""
    site.machine.put(SOURCES, sources)
    site.machine.run("rm -r /var/lib/apt/lists/*", check=True)
    says(site, "--error-on=any update", **phrases)


def flipped(content: bytes) -> bytes:
    """The same length, and one bit that is another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "change", "phrase"),
    [
        ("tampered", flipped, "Hash Sum mismatch"),
        ("short", lambda content: content[:9999], "File has unexpected size"),
        ("cut", bytes, "Undetermined Error"),  # the server's side of it: channel.py
    ],
)
def test_a_package_that_is_not_what_the_index_says_is_not_unpacked(
    site: Site, archive: Channel, name: str, change: Callable[[bytes], bytes], phrase: str
) -> None:
    site.machine.put(SOURCES, archive.changed(name, "pool/**/dtagent_*.deb", change))
    site.apt("update")
    says(site, "install dtagent", every=phrase)


def test_an_index_that_was_tampered_with(site: Site, archive: Channel) -> None:
    tampered = archive.changed("index", "dists/*/main/**/*", flipped)
    refused(site, tampered, every="Hash Sum mismatch")


def test_a_release_file_that_was_tampered_with(site: Site, archive: Channel) -> None:
    def edited(content: bytes) -> bytes:
        return content.replace(b"Label: dtagent", b"Label: another")

    tampered = archive.changed("release", "dists/*/InRelease", edited)
    trixie, bookworm = "Message has been manipulated", "BADSIG"
    refused(site, tampered, every=NOT_SIGNED, trixie=trixie, bookworm=bookworm)


def test_a_key_that_is_not_there(site: Site, archive: Channel) -> None:
    site.machine.path(suites.KEYRING_PLACE).unlink()
    trixie, bookworm = "No such file or directory", "NO_PUBKEY"
    refused(site, archive.sources(), every=NOT_SIGNED, trixie=trixie, bookworm=bookworm)


def test_a_file_that_is_no_key(site: Site, archive: Channel) -> None:
    site.machine.put(suites.KEYRING_PLACE, "<html>moved</html>")
    trixie, bookworm = "Failed to parse keyring", "NO_PUBKEY"
    refused(site, archive.sources(), every=NOT_SIGNED, trixie=trixie, bookworm=bookworm)


def test_somebody_elses_key(site: Site, archive: Channel, tmp_path: Path) -> None:
    with another() as foreign:
        foreign.export(tmp_path / "foreign")
    site.machine.put(suites.KEYRING_PLACE, (tmp_path / "foreign").read_bytes())
    trixie, bookworm = "which is needed to verify signature", "NO_PUBKEY"
    refused(site, archive.sources(), every=NOT_SIGNED, trixie=trixie, bookworm=bookworm)


def test_a_key_that_has_expired_for_this_host(site: Site, archive: Channel, tmp_path: Path) -> None:
    """Its owner went on with it, and this host has not heard of that."""
    with another() as signer:
        set_expire = ("--quick-set-expire", signer.fingerprints[0])
        gpg = ("gpg", "--homedir", str(signer.home), "--batch", "--no-tty", "--yes")
        host.run(*gpg, "--faked-system-time", "20200101T000000", *set_expire, "1d")
        signer.export(tmp_path / "old")
        host.run(*gpg, *set_expire, "never")
        renewed = archive.signed("expired", signer)
    site.machine.put(suites.KEYRING_PLACE, (tmp_path / "old").read_bytes())
    trixie, bookworm = "expired", "EXPKEYSIG"
    refused(site, renewed, every=NOT_SIGNED, trixie=trixie, bookworm=bookworm)


@contextmanager
def another() -> Iterator[Key]:
    """A key, of the year 2020, that is not the channel's."""
    with tempfile.TemporaryDirectory(prefix="dtagent-key-") as temporary:
        home = Path(temporary)
        yield key.generate(
            home, "another <nobody@dtagent.invalid>", "--faked-system-time=20200101T000000"
        )
        key.end_agent(home)


def test_a_suite_that_the_repository_does_not_have(site: Site, archive: Channel) -> None:
    sources = archive.sources().replace(f"Suites: {archive.suite}", "Suites: buster")
    refused(site, sources, every="does not have a Release file.")


def test_a_host_whose_clock_is_behind(site: Site, archive: Channel) -> None:
    def from_the_future(release: str) -> str:
        return re.sub("(?m)^Date: .*", "Date: Fri, 27 Nov 2099 02:10:23 +0000", release)

    future = archive.signed("future", archive.signer, from_the_future)
    refused(site, future, every="is not valid yet")


def test_a_server_that_is_not_there(site: Site, archive: Channel) -> None:
    nowhere = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", archive.sources())
    refused(site, nowhere, every="Could not connect to")
