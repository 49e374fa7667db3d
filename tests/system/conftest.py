"""Each module of tests has a machine of its own for each Debian release, shared by its tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.apiserver import ApiServer

from . import site as hosts
from .channel import OURS_ALONE, Channel, channel, subscribe
from .packages import SUITES, Package, built
from .paths import paths
from .site import Site


@pytest.fixture(scope="module", params=SUITES)
def package(request: pytest.FixtureRequest) -> Package:
    """The flavour of the package for one release of Debian, and so that release."""
    if os.geteuid() != 0:
        pytest.fail("a container that boots a systemd needs root")
    return built(request.param)


@pytest.fixture(scope="module")
def place(package: Package, cluster: ApiServer) -> Iterator[Site]:
    """The module's machine: the agent runs, labels published. A module may have another."""
    with hosts.running(package, cluster) as found:
        yield found


@pytest.fixture(scope="module")
def archive(package: Package) -> Iterator[Channel]:
    """A repository with the packages for each release. A module may have another."""
    with channel(package.suite, *map(built, SUITES)) as found:
        yield found


@pytest.fixture(scope="module")
def subscribed(package: Package, cluster: ApiServer, archive: Channel) -> Iterator[Site]:
    """A host with the dependencies, the key and the sources, and without the package."""
    with hosts.site(package, cluster, files=OURS_ALONE) as found:
        found.join()
        subscribe(found, archive)
        yield found


@pytest.fixture(scope="module")
def untouched(subscribed: Site) -> dict[str, tuple[int, str]]:
    """What that host has before the package comes; who installs it asks for this first."""
    return paths(subscribed.machine)


@pytest.fixture
def site(place: Site) -> Iterator[Site]:
    """The module's machine; its journal of the unit is printed for when a test fails."""
    yield place
    print(place.machine.run("journalctl -u dtagent -o short-monotonic -n 80").stdout)
