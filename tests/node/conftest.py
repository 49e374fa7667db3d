"""One cluster with controllers and a scheduler; each module of tests has a Node of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.apiserver import ApiServer

from .control import ControlPlane
from .host import Host, host
from .table import Table

ROWS = pytest.StashKey[Table]()


@pytest.fixture(scope="session")
def control(cluster: ApiServer) -> Iterator[ControlPlane]:
    if os.geteuid() != 0:
        pytest.fail("a container that boots a systemd needs root")
    with ControlPlane(cluster) as control:
        yield control


@pytest.fixture(scope="module")
def node(control: ControlPlane) -> Iterator[Host]:
    """The module's host: its kubelet has joined, the agent has published."""
    with host(control) as joined:
        yield joined


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Table:
    """What is printed at the end."""
    return request.config.stash.setdefault(ROWS, Table())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if table := config.stash.get(ROWS, None):
        terminalreporter.section("the agent beside a kubelet")
        terminalreporter.write("\n".join(table.lines()) + "\n")
