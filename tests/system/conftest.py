"""Each module of tests has a machine of its own for each Debian release, shared by its tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.apiserver import ApiServer

from .packages import SUITES, Package, built
from .site import Site, running


@pytest.fixture(scope="module", params=SUITES)
def package(request: pytest.FixtureRequest) -> Package:
    """The flavour of the package for one release of Debian, and so that release."""
    if os.geteuid() != 0:
        pytest.fail("a container that boots a systemd needs root")
    return built(request.param)


@pytest.fixture(scope="module")
def place(package: Package, cluster: ApiServer) -> Iterator[Site]:
    """The module's machine: the agent runs, labels published. A module may have another."""
    with running(package, cluster) as site:
        yield site


@pytest.fixture
def site(place: Site) -> Iterator[Site]:
    """The module's machine; its journal of the unit is printed for when a test fails."""
    yield place
    print(place.machine.run("journalctl -u dtagent -o short-monotonic -n 80").stdout)
