"""What the agent costs, by counts: modules, threads, descriptors, requests. Never by time.

A count is the same on a slow machine, so what grows here has grown on every board. Memory and time
are measured by `make bench` (docs/performance.md).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from demo.tree import add_node, remove_node, strings
from dtagent.overlays import settle
from tests.host import PREFIX, Host
from tests.process import Process, wait_for

MODULES_MAX = 320  # on the newest packages, CPython 3.11; 30.1 of Debian 13 has as many
THREADS_MAX = 6  # the loop, overlays and watchdog's three, node
DESCRIPTORS_MAX = 24


@pytest.fixture
def overlays(host: Host, tmp_path: Path) -> Path:
    """The folder in which overlays come and go."""
    folder = tmp_path / "overlays"
    folder.mkdir()
    host.configure(f'overlays.path = "{folder}"')
    return folder


@pytest.fixture
def agent(host: Host, overlays: Path, tmp_path: Path) -> Iterator[Process]:
    """An agent whose Node has its labels."""
    (tmp_path / "run").mkdir()
    environ = {"RUNTIME_DIRECTORY": str(tmp_path / "run")}
    with Process(tmp_path, "--config", str(host.config), **environ) as process:
        process.wait_said("STATUS=1 label true")
        yield process
