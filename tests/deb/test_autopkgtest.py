"""Debian's way to test an installed package, with its runner for the machine it is on."""

from __future__ import annotations

import re

from deb.build import FLAVOURS, built
from deb.container import inside, writable
from deb.host import run
from deb.package import depends
from deb.root import root

from .conftest import CHECKOUT

RUN = "autopkgtest --no-built-binaries /srv/source /opt/*.deb -- null"


def test_the_packages_own_tests_pass_where_it_is_installed() -> None:
    (flavour,) = [each for each in FLAVOURS if not each.bundled]
    deb = built(flavour, CHECKOUT)
    with writable(root(flavour.suite, ["autopkgtest", "dpkg-dev", *depends(deb)])) as folder:
        (folder / "etc/apt/sources.list").write_text("")  # all is there, and no network
        (folder / "srv/source").mkdir()
        CHECKOUT.export(folder / "srv/source", flavour.bundled)
        run("cp", deb, folder / "opt")
        said = inside(folder, "sh", "-c", f"{RUN} 2>&1")
    results = re.findall(r"(?m)^(\S+) +(PASS|FAIL|SKIP|FLAKY)\b", said)
    assert set(results) == {("scan", "PASS"), ("check-config", "PASS")}
