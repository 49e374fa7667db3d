"""The repository as a folder: pool, indexes by name and by hash, Release files, signatures.

apt-ftparchive(1) describes the packages and hashes the indexes. It keeps no database, unlike
reprepro and aptly: what is in the folder is all there is, so that the folder can be fetched from
the web host, added to and put back. By-hash, which it does not do, are the few lines here.

Whatever apt looks at last is written last, and whole by a rename: a host that updates meanwhile, or
one that has last week's InRelease, finds the indexes of its own InRelease by their hashes.
"""

from __future__ import annotations

import filecmp
import gzip
import hashlib
import lzma
import os
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

from deb import host
from deb.archive import keyring, suites
from deb.archive.key import Key
from deb.archive.suites import ARCHITECTURES, KEYRING, SUITES, Entry, Suite

POOL = "pool/main/d"
FTPARCHIVE = ("apt-ftparchive", "--md5=no", "--sha1=no", "--sha512=no")
# By default it would hash a Release file of last time, too.
PATTERNS = (
    *("-o", "APT::FTPArchive::Release::Default-Patterns=false"),
    *("-o", "APT::FTPArchive::Release::Patterns::=Packages*"),
)


def publish(debs: Iterable[Path], folder: Path, key: Key, address: str) -> list[Entry]:
    """Add packages to the repository in `folder`, made if need be, and sign it; what is in it."""
    host.ensure(("apt-utils",))
    folder.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        _add(deb, folder / POOL / suites.NAME, replace=key.on_trial)
    _renew_keyring(folder, key)
    entries = suites.entries(host.run(*FTPARCHIVE, "packages", "pool", cwd=folder, merged=False))
    date = format_datetime(_date(folder))
    for suite in SUITES:
        _write_suite(folder, suite, entries, date, key)
        _write(folder / "dists" / suite.name / "dtagent.sources", suites.sources(suite, address))
    _write(folder / "dtagent.sources", suites.sources(SUITES[0], address))
    return entries


def _add(deb: Path, pool: Path, replace: bool) -> None:
    """Versions that are in the pool stay, and what was published stays as it was."""
    place = pool / deb.name
    if place.exists() and not replace and not filecmp.cmp(deb, place, shallow=False):
        raise host.HostError(
            f"{place} is published already, and {deb} differs from it: give the change a version "
            "of its own (docs/releasing.md), or build what that version was"
        )
    pool.mkdir(parents=True, exist_ok=True)
    _rename(place, lambda new: shutil.copyfile(deb, new))


def _renew_keyring(folder: Path, key: Key) -> None:
    """The keyring, and its package. One of other keys goes: apt might take it for the newer."""
    exported, pool = folder / f"{KEYRING}.pgp", folder / POOL / KEYRING
    _rename(exported, key.export)
    pool.mkdir(parents=True, exist_ok=True)
    made = keyring.package(key, exported, pool)
    for other in set(pool.iterdir()) - {made}:
        other.unlink()


def _write_suite(folder: Path, suite: Suite, entries: list[Entry], date: str, key: Key) -> None:
    place = folder / "dists" / suite.name
    for architecture in ARCHITECTURES:
        index = suites.index(entries, suite, architecture).encode()
        below = place / "main" / f"binary-{architecture}"
        compressed = {"": index, ".gz": gzip.compress(index, mtime=0), ".xz": lzma.compress(index)}
        for ending, content in compressed.items():
            _write(below / "by-hash/SHA256" / hashlib.sha256(content).hexdigest(), content)
            _write(below / f"Packages{ending}", content)
    fields = suites.release_fields(suite, date)
    options = [f"APT::FTPArchive::Release::{name}={value}" for name, value in fields.items()]
    words = [word for option in options for word in ("-o", option)]
    said = host.run(*FTPARCHIVE, *PATTERNS, *words, "release", place, merged=False)
    release = place / "Release"
    _write(release, said)
    _rename(place / "Release.gpg", lambda new: key.sign(release, new, "--detach-sign"))
    _rename(place / "InRelease", lambda new: key.sign(release, new, "--clearsign"))


def _date(folder: Path) -> datetime:
    """SOURCE_DATE_EPOCH, or the time of the newest package; never before what was published.

    apt takes no Release file that is older than the one that it has.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given:
        if not given.isdecimal():
            raise host.HostError(f"SOURCE_DATE_EPOCH is {given!r}, and not a number of seconds")
        return datetime.fromtimestamp(int(given), timezone.utc)
    times = [datetime.fromtimestamp(_time(deb), timezone.utc) for deb in folder.rglob("*.deb")]
    for release in folder.glob("dists/*/Release"):
        lines = release.read_text().splitlines()
        times += [parsedate_to_datetime(x[6:]) for x in lines if x.startswith("Date: ")]
    return max(times)


def _time(deb: Path) -> int:
    """When a package was made, by its first member's header (deb(5), ar(5))."""
    with deb.open("rb") as file:
        return int(file.read(36)[24:36])


def _write(path: Path, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    _rename(path, lambda new: new.write_bytes(data))


def _rename(path: Path, make: Callable[[Path], object]) -> None:
    """Have a file made under another name, and give it its own when it is whole."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    make(new)
    new.chmod(0o644)
    new.replace(path)
