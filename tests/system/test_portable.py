"""The image for systems that cannot take a .deb: attached to a Debian that has not even Python."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deb import portable
from deb.build import FLAVOURS
from deb.container import writable
from deb.host import run
from deb.root import root
from deb.source import Source
from demo.jetson_nano import JETSON_NANO
from demo.tree import write_tree
from tests.apiserver import ApiServer
from tests.process import wait_for

from .machine import Machine
from .packages import SYSTEM, Package
from .site import BOARD, DROP_IN, Site

FAN = {"beta.devicetree.org/pwm-fan": "1"}
AS_A_HOST = "umount --recursive /run/host; rm /run/host/os-release"
"""systemd-nspawn's own, in the way of what systemd mounts there for each portable service."""

ATTACH = "portablectl attach --profile=trusted --enable --now"


@pytest.fixture(scope="module")
def place(cluster: ApiServer) -> Iterator[Site]:
    """A host of a cluster with the image as a folder, since containers have no loop devices."""
    flavours = [each for each in FLAVOURS if each.bundled and each.runs_here]
    if os.geteuid() != 0 or not flavours:
        pytest.fail("this needs root, on an architecture that the bundled flavour is built for")
    image = portable.image(flavours[0], Source.of_checkout())
    with writable(root("trixie", (*SYSTEM, "systemd-container"))) as folder:
        run("unsquashfs", "-d", folder / "var/lib/portables" / image.stem, image)
        with Machine(folder) as machine:
            write_tree(JETSON_NANO, machine.devicetree)
            found = Site(machine, Package("trixie", image), cluster)
            found.join()
            machine.run(AS_A_HOST, check=True)
            yield found


def test_the_host_has_no_python(site: Site) -> None:
    assert site.machine.run("command -v python3").status != 0


def test_attached_it_labels_the_node_by_the_hosts_kubeconfig(site: Site) -> None:
    site.machine.run(f"{ATTACH} {site.package.deb.stem}", check=True)
    site.wait_active()
    site.wait_labels(BOARD)
    wait_for(lambda: f"2 labels true on Node {site.node}" in site.status, "the status line")


def test_its_configuration_is_the_hosts(site: Site) -> None:
    site.configure('[devicetree]\nnodes = ["/", "pwm-fan"]\n')
    assert site.machine.path(DROP_IN).exists()
    site.machine.run("systemctl reload dtagent", check=True)
    site.wait_labels(BOARD | FAN)


def test_its_command_is_there_for_who_enters_it(site: Site) -> None:
    enter = 'nsenter --mount --target "$(systemctl show -P MainPID dtagent)"'
    said = site.machine.run(f"{enter} dtagent status", check=True).stdout
    assert site.node in said


def test_it_starts_at_boot(site: Site) -> None:
    site.machine.shut_down()
    site.machine.boot()
    site.machine.run(AS_A_HOST, check=True)
    site.wait_active()
    wait_for(lambda: f"3 labels true on Node {site.node}" in site.status, "the labels, found true")


def test_detached_nothing_of_it_is_left(site: Site) -> None:
    site.machine.run(f"portablectl detach --enable --now {site.package.deb.stem}", check=True)
    assert "dtagent" not in site.machine.run("systemctl list-unit-files", check=True).stdout
    assert site.machine.run("find /etc/systemd /run/systemd -name 'dtagent*'").stdout == ""
