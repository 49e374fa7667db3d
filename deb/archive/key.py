"""The key that the repository is signed with: gpg(1)'s, by its name in DTAGENT_ARCHIVE_KEY.

Without that variable a key for trying is made, kept in the cache so that a second repository is
trusted by whoever trusted the first. Listings: GnuPG's doc/DETAILS, "Format of the colon listings".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deb import cache, host

VARIABLE = "DTAGENT_ARCHIVE_KEY"
GPG = ("gpg", "--batch", "--yes", "--no-tty")
TRIAL = "dtagent repository on trial, not for others <nobody@dtagent.invalid>"
UNUSABLE = {"e": "has expired", "r": "is revoked", "d": "is disabled", "i": "is invalid"}


@dataclass(frozen=True)
class Key:
    """One or more keys that all sign: two while a new one follows an old one.

    `home` is gpg's, None for the user's own, which gpg finds by GNUPGHOME.
    """

    fingerprints: tuple[str, ...]
    home: Path | None = None

    @property
    def on_trial(self) -> bool:
        return self.home is not None

    def changed(self) -> int:
        """When they last changed, in seconds of the epoch: the newest signature of their own."""
        listed = _gpg(self.home, "--with-colons", "--list-sigs", *self.fingerprints).splitlines()
        rows = [line.split(":") for line in listed]
        own = {fingerprint[-16:] for fingerprint in self.fingerprints}
        return max(int(row[5]) for row in rows if row[0] == "sig" and row[4] in own)

    def export(self, file: Path) -> None:
        """Write the public keys, binary and without what others signed on them."""
        minimal = ("--export-options", "export-minimal")
        _gpg(self.home, "--output", file, *minimal, "--export", *self.fingerprints)

    def sign(self, file: Path, signed: Path, how: str) -> None:
        """Sign a file by all of them, `how` is --clearsign or --detach-sign; `signed` is new."""
        users = [f"--local-user={fingerprint}!" for fingerprint in self.fingerprints]
        digest = ("--armor", "--digest-algo=SHA512")
        _gpg(self.home, *digest, *users, "--output", signed, how, file)


@contextmanager
def of_environment() -> Iterator[Key]:
    """The keys that DTAGENT_ARCHIVE_KEY names, several separated by commas; else the one on trial.

    HostError for a name that gpg has no secret key of, or several, or one that cannot sign now.
    """
    host.ensure(("gpg", "gpg-agent"))
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    if names:
        yield Key(tuple(_fingerprint(name) for name in names))
        return
    home = cache.cached("archive-key", [TRIAL], _make_trial)
    try:
        yield Key((_fingerprint(TRIAL, home),), home)
    finally:
        end_agent(home)


def _fingerprint(name: str, home: Path | None = None) -> str:
    """Of the one secret key that a name stands for."""
    try:
        listed = _gpg(home, "--with-colons", "--list-secret-keys", name)
    except host.HostError as error:
        where = os.environ.get("GNUPGHOME", "~/.gnupg")
        raise host.HostError(
            f"{VARIABLE}: no secret key {name!r} in {where}; gpg --list-secret-keys shows what "
            "there is, and GNUPGHOME names another folder"
        ) from error
    rows = [line.split(":") for line in listed.splitlines()]
    keys = [row for row in rows if row[0] == "sec"]
    if len(keys) > 1:
        raise host.HostError(
            f"{VARIABLE}: {name!r} stands for {len(keys)} keys: give a fingerprint"
        )
    if keys[0][1] in UNUSABLE:
        raise host.HostError(f"{VARIABLE}: the key {name!r} {UNUSABLE[keys[0][1]]}")
    return next(row[9] for row in rows if row[0] == "fpr")


def generate(home: Path, name: str, *options: str) -> Key:
    """A new key without a passphrase in a gpg home of its own; the agent of that home runs on."""
    home.chmod(0o700)
    made = ("--quick-generate-key", name, "ed25519", "sign", "never")
    _gpg(home, *options, "--passphrase", "", *made)
    return Key((_fingerprint(name, home),), home)


def _make_trial(home: Path, _: Path) -> None:
    try:
        generate(home, TRIAL)
    finally:
        end_agent(home)


def end_agent(home: Path) -> None:
    """gpg starts an agent for each home, which would outlive us."""
    host.run("gpgconf", "--homedir", home, "--kill", "gpg-agent")


def _gpg(home: Path | None, *words: str | Path) -> str:
    at = ("--homedir", home) if home else ()
    return host.run(*GPG, *at, *words, merged=False)
