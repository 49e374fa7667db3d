"""One NFD for the module; each test has a host of its own, with an nfd-worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import ApiServer
from tests.apiserver.process import Process
from tests.host import Host

from .build import FEATURES
from .discovery import Discovery

DENIED = "denied.example"
"""A namespace that the cluster's administrator keeps labels out of."""


def features(host: Host) -> Path:
    """The host's features file."""
    return host.config.parent / FEATURES / "devicetree-features"


def settings(host: Host, more: str = "") -> str:
    """Those to publish to NFD with, and `more` after them."""
    return f'publish = "nfd"\nnfd.features_file = "{features(host)}"\n{more}'


@pytest.fixture(scope="module")
def discovery(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Discovery]:
    directory = tmp_path_factory.mktemp("nfd")
    with Discovery(cluster, directory, f"-deny-label-ns={DENIED}") as discovery:
        yield discovery


@pytest.fixture
def worker(discovery: Discovery, host: Host) -> Iterator[Process]:
    """nfd-worker of the host, whose agent publishes to it."""
    with discovery.worker(host.name, host.config.parent) as worker:
        host.configure(settings(host))
        yield worker
