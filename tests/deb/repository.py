"""A repository of small packages, and the keys to sign it with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deb.archive import key, tree
from deb.archive.key import Key
from deb.host import run

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
