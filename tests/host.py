"""A host as dtagent sees one: a devicetree, a configuration, and its Node's kubeconfig."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demo.tree import Tree, strings, write_tree
from dtagent import cli
from tests.apiserver import ApiServer

PREFIX = "beta.devicetree.org/"


class Host:
    """Everything in `directory`; the Node is `name`'s on `cluster`, and need not exist."""

    def __init__(self, cluster: ApiServer, name: str, directory: Path) -> None:
        directory.mkdir()
        self.cluster, self.name = cluster, name
        self.base = directory / "base"
        self.config = directory / "dtagent.toml"
        self.kubeconfig = cluster.kubeconfig(name, path=directory / "kubelet.kubeconfig")
        write_tree({"compatible": strings("acme,board")}, self.base)
        self.configure()

    def configure(self, text: str = "") -> None:
        """Write the configuration: `text`, which begins with top-level keys."""
        self.config.write_text(
            f'{text}\n[node]\nkubeconfig = "{self.kubeconfig}"\n'
            f'[devicetree]\nroot = "{self.base}"\nnodes = ["/", "compatible:acme,*"]\n'
        )

    def compatible(self, *compatible: str) -> None:
        """What the board is, from the next scan on."""
        file = self.base / "compatible"
        file.unlink()
        file.write_bytes(strings(*compatible))

    def add(self, name: str, node: Tree) -> None:
        write_tree(node, self.base / name, name)

    def run(self, command: str, *options: str) -> int:
        """One command of dtagent, in this process; its exit status."""
        return cli.main([command, "--config", str(self.config), *options])

    @property
    def labels(self) -> dict[str, str]:
        return self.cluster.labels(self.name)

    def requests(self, since: int = 0) -> list[tuple[str, str]]:
        """What the Node's credential asked of the server: verb and URI."""
        return [(event["verb"], event["requestURI"]) for event in self.events(since)]

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        return self.cluster.audit(user=f"system:node:{self.name}", since=since)
