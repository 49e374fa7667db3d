"""What every test may lean on, and what none may touch: this host's own files."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from demo.jetson_nano import JETSON_NANO
from demo.tree import write_tree
from dtagent.config import sources
from tests.apiserver import ApiServer
from tests.host import Host

# A slow machine is no failure, and what fails here fails everywhere.
hypothesis.settings.register_profile(
    "dtagent",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("dtagent")


@pytest.fixture(autouse=True)
def not_this_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No configuration, credential, proxy or service manager of the machine reaches a test."""
    for name in os.environ:
        if name.startswith("DTAGENT_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("KUBECONFIG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    logger = logging.getLogger("dtagent")  # as a fresh process has it
    logger.handlers, logger.propagate = [], True
    place = tmp_path_factory.mktemp("host")
    (place / "run").mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(place / "run"))
    monkeypatch.setattr(sources, "DEFAULT_FILE", place / "etc" / "dtagent.toml")


@pytest.fixture
def nano(tmp_path: Path) -> Path:
    """The example board's live tree."""
    base = tmp_path / "base"
    write_tree(JETSON_NANO, base)
    return base


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One real API server for the whole run; each test has Nodes of its own."""
    with ApiServer(tmp_path_factory.mktemp("cluster")) as server:
        yield server


@pytest.fixture
def host(cluster: ApiServer, tmp_path: Path) -> Host:
    """A host whose Node is registered: its tree, its configuration, its kubeconfig."""
    host = Host(cluster, f"node-{uuid.uuid4().hex[:8]}", tmp_path / "host")
    cluster.create_node(host.name)
    return host
