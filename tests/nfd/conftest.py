"""One NFD for the module; each test has a host of its own, with an nfd-worker."""

from __future__ import annotations

import http
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import ApiServer
from tests.apiserver.cluster import MERGE_PATCH, NODES
from tests.apiserver.process import Process
from tests.host import Host

from .build import FEATURES
from .discovery import Discovery

DENIED = "denied.example"
"""A namespace that the cluster's administrator keeps labels out of."""


HOSTNAME = "kubernetes.io/hostname"


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


def labels(host: Host) -> dict[str, str]:
    """What the Node bears beside the kubelet's."""
    return {key: value for key, value in host.labels.items() if key != HOSTNAME}


@pytest.fixture
def worker(discovery: Discovery, host: Host) -> Iterator[Process]:
    """nfd-worker of the host, whose agent publishes to it.

    nfd-master adds to the Node's labels and annotations, and cannot to what has none. A kubelet
    brings some of both.
    """
    metadata = {"labels": {HOSTNAME: host.name}, "annotations": {"example.org/kubelet": "true"}}
    node = f"{NODES}/{host.name}"
    answer = host.cluster.admin("PATCH", node, {"metadata": metadata}, MERGE_PATCH)
    assert answer[0] == http.HTTPStatus.OK, answer
    with discovery.worker(host.name, host.config.parent) as worker:
        host.configure(settings(host))
        yield worker
