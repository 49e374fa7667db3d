"""One running agent, its Node, and what stands between it and the API server.

The agent's way is always through a TCP proxy. Behind that is the server itself, and the agent has
a certificate as nodes have; or an HTTPS proxy, and it has a token, which a proxy can pass on.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from demo.tree import add_node, remove_node, strings
from tests.apiserver import ApiServer
from tests.apiserver.certificates import DAY, Authority
from tests.apiserver.kubeconfig import write_kubeconfig
from tests.host import PREFIX, Host
from tests.process import Process, wait_for

from .dns import NameServer
from .https import HttpsProxy
from .nodes import Nodes
from .tcp import TcpProxy

CONTENT = "true on"  # in what systemd is told
THEIRS = {"theirs.example/label": "1"}
"""A label of somebody else's, which nothing that happens may touch."""


class Renewal(Protocol):
    """A way to renew the certificate on disk, in the two steps that a reader can come between."""

    def begin(self, lifetime: datetime.timedelta = DAY) -> None: ...

    def end(self) -> None: ...


class Scene:
    """Set in `directory`; as a context manager, everything that it started ends."""

    def __init__(self, cluster: ApiServer, nodes: Nodes, name: str, directory: Path) -> None:
        self.cluster, self.nodes, self.name, self.directory = cluster, nodes, name, directory
        directory.mkdir()
        (directory / "run").mkdir()
        self.overlays = directory / "overlays"
        self.overlays.mkdir()
        self.host = Host(cluster, name, directory / "host")
        self.expected: dict[str, str] = {**THEIRS, PREFIX + "acme-board": "1"}
        self.open = ExitStack()
        self.https: HttpsProxy | None = None
        self.forbidden: TcpProxy | None = None
        self.under: tuple[str, ...] = ()
        self.names: NameServer
        self.agents: list[Process] = []
        self.renewal: Renewal
        self._events = 0

    def __enter__(self) -> Scene:
        self.cluster.create_node(self.name, THEIRS)
        return self

    def __exit__(self, *_: object) -> None:
        self.open.close()

    def connect(self, token: str = "") -> None:
        """Lay the way to the server, by the HTTPS proxy where there is a token for it."""
        self.token = token
        target = self.cluster.port
        if token:
            self.authority = Authority()
            self.ca_file = self.directory / "ca.crt"
            self.ca_file.write_bytes(self.authority.pem)
            shown = self.authority.issue("proxy", hosts=("127.0.0.1", "localhost"))
            self.https = HttpsProxy(target, self.cluster.ca_file, *shown)
            self.open.callback(self.https.close)
            target = self.https.port
        self.tcp = TcpProxy(target)
        self.open.callback(self.tcp.close)
        if token:
            file = self.host.kubeconfig
            write_kubeconfig(file, server=self.tcp.url, ca_file=self.ca_file, token=token)
        else:
            self.certify()

    def edit(self, labels: Mapping[str, str | None]) -> None:
        """Somebody else sets labels, or with None takes them off."""
        states = len(self.nodes.history(self.name))
        self.cluster.patch_labels(self.name, labels, manager="someone")
        self.nodes.wait_history(self.name, states)

    def certify(self) -> None:
        """A new certificate, and the kubeconfig that names it."""
        self.cluster.kubeconfig(self.name, path=self.host.kubeconfig, server=self.tcp.url)

    def configure(self, text: str = "overlays.labels = false") -> None:
        self.host.configure(f'overlays.path = "{self.overlays}"\n{text}')

    def break_off(self) -> None:
        """The server goes; returns when the agent has found out, and begins from its files."""
        lines = len(self.journal)
        self.tcp.refuse()
        self.tcp.cut()
        self.change(f"unreachable-{self._events}")
        wait_for(lambda: self.said("trying again", lines), "a word of the outage in the journal")

    def start(self) -> None:
        """Start the agent; `right` says when it has done its work."""
        agent = Process(
            self.directory,
            *("--config", str(self.host.config)),
            under=self.under,
            RUNTIME_DIRECTORY=str(self.directory / "run"),
        )
        self.agents.append(agent)
        self.open.callback(agent.stop)

    def right(self, deadline: float = 60.0) -> float:
        """Wait until the Node's labels are the expected ones, and the agent knows it; when."""
        seen = self.nodes.wait(self.name, self.expected, deadline)
        wait_for(
            lambda: self.is_content or self.agent.popen.poll() is not None,
            f"content, not {self.agent.said[-1:]}",
        )
        return seen

    @property
    def is_content(self) -> bool:
        """Whether the last that the agent told systemd is that all is well."""
        told = [text for text in self.agent.said if text.startswith("STATUS=")]
        return bool(told) and CONTENT in told[-1]

    def watched(self, since: int) -> bool:
        """Whether the agent has begun to watch its Node, after the audit log was `since` long."""
        user = f"system:node:{self.name}"
        return bool(self.cluster.audit(user, "watch", since=since, stage="ResponseStarted"))

    @property
    def successes(self) -> int:
        """How often all was well: told after each publication, when all that it says is said."""
        return sum(CONTENT in text for agent in self.agents for text in agent.said)

    def change(self, device: str) -> None:
        """One more device in the tree, and an event that has the agent look."""
        add_node(self.host.base, f"/{device}@0", {"compatible": strings(f"acme,{device}")})
        self.expected[PREFIX + f"acme-{device}"] = "1"
        self.look()

    def remove(self, device: str) -> None:
        """The opposite of `change`."""
        remove_node(self.host.base, f"/{device}@0")
        del self.expected[PREFIX + f"acme-{device}"]
        self.look()

    def kill(self) -> None:
        """The agent ends where it stands."""
        self.agent.popen.kill()
        self.agent.popen.wait()
        self.agent.stop()

    def look(self) -> None:
        """Something that happens in the overlay folder, and is no overlay."""
        self._events += 1
        (self.overlays / f"event-{self._events}").mkdir()

    @property
    def agent(self) -> Process:
        """The one that runs, or that ran last."""
        return self.agents[-1]

    @property
    def journal(self) -> list[str]:
        """What all of them said."""
        return [line for agent in self.agents for line in agent.errors]

    @property
    def strayed(self) -> bool:
        """Whether anybody went where nobody may go."""
        return bool(self.forbidden and self.forbidden.turned_away)

    @property
    def is_right(self) -> bool:
        return self.nodes.labels(self.name) == self.expected

    def warnings(self, since: int = 0) -> list[str]:
        """What it warned of, without the names of this scene: they name the fault."""
        lines = [line for line in self.journal[since:] if "trying again" in line]
        names = {str(self.directory): "", f":{self.tcp.port}": "", f"Node {self.name}": "Node"}
        for own, plain in names.items():
            lines = [line.replace(own, plain) for line in lines]
        return lines

    def said(self, pattern: str, since: int = 0) -> bool:
        return any(re.search(pattern, line) for line in self.journal[since:])
