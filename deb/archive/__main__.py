"""`make repo`: adds the packages in dist/ to the signed APT repository in dist/repo/.

DTAGENT_ARCHIVE_KEY names the key, DTAGENT_ARCHIVE_URI where the repository will be served from.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from deb.archive import key, suites, tree
from deb.archive.suites import ARCHITECTURES, SUITES, Entry
from deb.host import HostError
from deb.source import CHECKOUT

DIST = CHECKOUT / "dist"
ADDRESS = "DTAGENT_ARCHIVE_URI"
ON_TRIAL = f"""\
FOR TRYING ALONE: {key.VARIABLE} names no key, so this is signed with one that lies
unprotected in the cache. docs/releasing.md says how to make a repository for others.\
"""


def packages(dist: Path) -> list[Path]:
    """What `make deb` left; HostError if it has not run."""
    debs = sorted(dist.glob(f"{suites.NAME}_*.deb"))
    if not debs:
        raise HostError(f"{dist} has no package: run `make deb` first")
    return debs


def address() -> str:
    """Where hosts will fetch from, with a slash at its end."""
    given = os.environ.get(ADDRESS, "") or suites.EXAMPLE
    if not re.fullmatch(r"(https?://[^\s/]+|file:)/\S*", given.rstrip("/") + "/"):
        raise HostError(f"{ADDRESS} is {given!r}, and no address of http:, https: or file:")
    return given.rstrip("/") + "/"


def summary(entries: list[Entry]) -> str:
    """A line for each suite: what apt would install there."""
    lines = []
    for suite in SUITES:
        versions = {
            f"{entry.fields['Version']} ({entry.fields['Architecture']})"
            for architecture in ARCHITECTURES
            for entry in entries
            if entry.fields["Package"] == suites.NAME and entry.belongs_to(suite, architecture)
        }
        lines.append(f"  {suite.name:9} {', '.join(sorted(versions)) or 'nothing: none was built'}")
    return "\n".join(lines)


def main() -> int:
    try:
        debs, where = packages(DIST), address()
        with key.of_environment() as signer:
            entries = tree.publish(debs, DIST / "repo", signer, where)
    except HostError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"dist/repo, to be served at {where}, signed by {' '.join(signer.fingerprints)}:")
    print(summary(entries))
    if signer.on_trial:
        print(ON_TRIAL, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
