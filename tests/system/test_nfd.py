"""The features file for Node Feature Discovery, with the drop-in that is shipped as an example."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.apiserver import ApiServer
from tests.process import wait_for

from .packages import Package
from .site import BOARD, Site, running

FOLDER = "/etc/kubernetes/node-feature-discovery/features.d"
FILE = f"{FOLDER}/devicetree-features"
EXAMPLE = "/usr/share/doc/dtagent/examples/nfd.conf"
DROP_IN = "/etc/systemd/system/dtagent.service.d/nfd.conf"


@pytest.fixture(scope="module")
def place(package: Package, cluster: ApiServer) -> Iterator[Site]:
    """A host that has neither the drop-in nor the folder, where publish is already "nfd"."""
    with running(package, cluster) as site:
        site.configure('publish = "nfd"\n')
        site.machine.run("systemctl restart dtagent", check=True)
        yield site


def test_without_the_dropin_the_agent_names_it(site: Site) -> None:
    wait_for(lambda: any("nfd.conf" in entry.message for entry in site.entries()), "the remedy")
    assert site.machine.run(f"test -e {FOLDER}").status == 1


def test_with_it_the_folder_is_made_and_the_file_kept_for_all_to_read(site: Site) -> None:
    site.machine.run(f"install -D -m 644 {EXAMPLE} {DROP_IN}", check=True)
    site.machine.run("systemctl daemon-reload && systemctl restart dtagent", check=True)
    wait_for(lambda: site.machine.run(f"test -e {FILE}").status == 0, "the features file")
    kept = site.machine.run(f"cat {FILE}", check=True).stdout
    assert kept == "".join(f"{key}={value}\n" for key, value in sorted(BOARD.items()))
    modes = site.machine.run(f"stat -c %a {FOLDER} {FILE}", check=True).stdout.split()
    assert modes == ["755", "644"]


def test_the_rest_of_etc_stays_read_only_to_the_agent(site: Site) -> None:
    """As its own mount namespace has it: /etc below / is read-only, the folder is not."""
    namespace = f"nsenter -t {site.pid} -m --"
    assert site.machine.run(f"{namespace} touch {FOLDER}/.written").status == 0
    for path in ("/etc/.written", "/etc/kubernetes/.written", f"{FOLDER}/../.written"):
        assert "Read-only" in site.machine.run(f"{namespace} touch {path}").stderr


def test_purge_takes_the_features_file_along(site: Site) -> None:
    site.apt("purge dtagent")
    assert site.machine.run(f"test -e {FILE}").status == 1
    assert site.machine.run(f"test -e {FOLDER}/.devicetree-features").status == 1
