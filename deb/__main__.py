"""`make deb`: builds every flavour into dist/ and names what it built; --twice compares two builds.

--twice builds each flavour again, past the cache, with another umask, time zone and language, and
fails unless the two are the same bytes (reproducible-builds.org, "Definitions").
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

from deb import root
from deb.build import FLAVOURS, TOOLS, Flavour, build, built, laid_out
from deb.host import HostError
from deb.source import CHECKOUT, Source

DIST = CHECKOUT / "dist"
ELSEWHERE = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "HOME": "/nonexistent"}


def again(flavour: Flavour, checkout: Source, made: Path) -> Path:
    """A second build of a flavour in other circumstances; the .deb file."""
    below = root.root(flavour.suite, TOOLS)
    with laid_out(checkout, flavour, below) as folder:
        build(flavour, folder, made, ELSEWHERE, umask="077")
    return made / flavour.file


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deb", description="Build the packages.")
    parser.add_argument("--twice", action="store_true", help="compare with a second build")
    options = parser.parse_args()
    DIST.mkdir(exist_ok=True)
    try:
        checkout = Source.of_checkout()
        for flavour in FLAVOURS:
            file = Path(shutil.copy(built(flavour, checkout), DIST))
            print(f"{file.relative_to(CHECKOUT)}: {file.stat().st_size / 1e6:.1f} MB")
            if options.twice:
                with tempfile.TemporaryDirectory() as made:
                    if not filecmp.cmp(file, again(flavour, checkout, Path(made)), shallow=False):
                        raise HostError(f"{file.name}: a second build differs")
                print("  and a second build is the same, byte for byte")
    except HostError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
