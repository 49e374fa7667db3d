"""A host whose agent is measured: an API server, a board's tree, a folder for its overlays.

All traffic is loopback's.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.trees import tree_of
from demo.tree import add_node, remove_node, strings, write_tree
from tests.apiserver import ApiServer
from tests.faults.tcp import TcpProxy
from tests.host import Host
from tests.process import Process

BOARD = 254  # nodes, as many as a Raspberry Pi 4 has
NAME = "bench"
SETTLED = 12.0  # seconds: the series of scans after a start ends at 10


class Site:
    """One Node, and the host that is it."""

    def __init__(self, cluster: ApiServer, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.overlays = folder / "overlays"
        self.overlays.mkdir()
        (folder / "run").mkdir()
        cluster.create_node(NAME)
        self.host = Host(cluster, NAME, folder / "host")
        shutil.rmtree(self.host.base)
        write_tree(tree_of(BOARD), self.host.base)
        self.host.configure(f'overlays.path = "{self.overlays}"')

    @contextmanager
    def agent(
        self, program: Sequence[str] = ("-m", "dtagent"), **environ: str
    ) -> Iterator[Process]:
        """The agent, ready; stopped at the end."""
        environ["RUNTIME_DIRECTORY"] = str(self.folder / "run")
        # Byte-code is there, as after a package's installation: compiling costs some MB for good.
        environ["PYTHONDONTWRITEBYTECODE"] = ""
        options = ("--config", str(self.host.config))
        with Process(self.folder, *options, program=program, **environ) as process:
            process.wait_said("READY=1")
            yield process

    def write_overlay(self, name: str) -> None:
        """What configfs shows of an overlay; the last event is that of its blob (facts of it:
        docs/overlays.md)."""
        overlay = self.overlays / name
        overlay.mkdir()
        for file, content in {"path": "\n", "status": "applied\n", "dtbo": "blob"}.items():
            (overlay / file).write_text(content)

    def remove_overlay(self, name: str) -> None:
        shutil.rmtree(self.overlays / name)

    def add_device(self, name: str) -> None:
        """A device at once in the tree, of a compatible of its own."""
        add_node(self.host.base, f"/{name}", {"compatible": strings(f"acme,{name}")})

    def remove_device(self, name: str) -> None:
        remove_node(self.host.base, f"/{name}")


@contextmanager
def site() -> Iterator[Site]:
    with (
        tempfile.TemporaryDirectory(prefix="dtagent-bench-") as folder,
        ApiServer(Path(folder) / "cluster") as cluster,
    ):
        place = Site(cluster, Path(folder))
        with place.agent():
            pass  # leaves the byte-code behind
        yield place


@contextmanager
def proxied(place: Site) -> Iterator[TcpProxy]:
    """A proxy between the agent and its server from now on, which can cut them off.

    Not for measuring time: it passes a request on in pieces, which Nagle's algorithm delays.
    """
    tcp = TcpProxy(place.cluster.port)
    try:
        place.cluster.kubeconfig(NAME, path=place.host.kubeconfig, server=tcp.url)
        yield tcp
    finally:
        tcp.close()
