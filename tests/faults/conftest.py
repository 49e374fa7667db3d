"""What the tests of faults share: one API server, one watch of its Nodes, and the table at the end.

The options' defaults are the short forms; `make test-long` passes the long ones.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import ApiServer

from . import report
from .audit import outside
from .nodes import Nodes
from .table import FAULTS

LONG_NAMES = ("random-steps",)
FAULT, FIGURE = "fault", "figure"
"""Properties of a test's report: the row of a fault, and a line for the end of the run. Whichever
process runs the test, its report comes to the one that prints (pytest-xdist)."""


def token(name: str) -> str:
    """The bearer token of a Node of these tests."""
    return f"token-of-{name}"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--steps", type=int, default=100, help="random fault and overlay steps")
    group.addoption("--kills", type=int, default=20, help="kills at random moments")
    group.addoption("--certificate-life", type=int, default=20, help="seconds; renewed at half")
    group.addoption("--renewals", type=int, default=6, help="of a certificate, in each style")
    group.addoption("--seed", type=int, help="of all that is random; printed when not given")
    group.addoption("--docs", type=Path, help="write the table and the figures to this file too")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    told = [
        property for each in reports if each.when == "call" for property in each.user_properties
    ]
    rows, figures = ([value for name, value in told if name == kind] for kind in (FAULT, FIGURE))
    terminalreporter.section("faults")
    for line in (*report.table(rows), *figures):
        terminalreporter.write_line(line)
    if docs := config.getoption("--docs"):
        report.write(docs, rows, figures)


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    given = request.config.getoption("--seed")
    return random.SystemRandom().randrange(1 << 32) if given is None else int(given)


@pytest.fixture(scope="session", autouse=True)
def no_environment_of_this_host() -> Iterator[None]:
    """For what runs outside a test's own time: see the fixture of that name's like in tests/."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in list(os.environ):
            if name.startswith("DTAGENT_") or name.lower().endswith("_proxy"):
                monkeypatch.delenv(name)
        for name in ("KUBECONFIG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM"):
            monkeypatch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One real API server; at its end, that nobody asked it for what a Node's agent may not."""
    names = [*FAULTS, *LONG_NAMES]
    tokens = {token(name): name for name in names}
    with ApiServer(tmp_path_factory.mktemp("cluster"), tokens=tokens) as server:
        yield server
        assert outside(server) == []


@pytest.fixture(scope="session")
def nodes(cluster: ApiServer) -> Iterator[Nodes]:
    with Nodes(cluster) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short name: a socket's path in it has 108 bytes at most (unix(7))."""
    return tmp_path_factory.mktemp("f")
