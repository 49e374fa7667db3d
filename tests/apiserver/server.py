"""etcd and kube-apiserver in one folder: started, interrupted, asked, ended."""

from __future__ import annotations

import datetime
import http.client
import json
import signal
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.apiserver import audit, commands
from tests.apiserver.build import assets
from tests.apiserver.certificates import Authority
from tests.apiserver.client import Json, client_context, send
from tests.apiserver.kubeconfig import write_private
from tests.apiserver.process import Process

READY = 120.0
"""Seconds a server gets to become ready. Measured: 3 to 4 on two idle cores."""

HOSTS = ("127.0.0.1", "::1", "localhost", "10.0.2.2", "2001:db8::1")
"""What the server's certificate bears; beside loopback's, what stands for it in a QEMU guest and in
networks of the tests' own."""

ADMIN = ("admin", ("system:masters",))


class Server:
    """What runs, and requests to it. Its authority, port and contents outlive a restart."""

    def __init__(
        self,
        directory: Path,
        *,
        ca_extensions: bool = True,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.port = commands.free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca_file = self.directory / "ca.crt"
        self._authority = Authority(extensions=ca_extensions)
        self._contexts: dict[tuple[str, tuple[str, ...]], ssl.SSLContext] = {}
        binaries = assets()
        self._etcd = Process(commands.etcd(binaries), self.directory)
        self._server = Process(commands.kube_apiserver(binaries, self.port), self.directory)
        self._write_files(tokens or {})

    def start(self) -> None:
        """Start both and wait until the server is ready; RuntimeError when it never is."""
        socket = self.directory / commands.ETCD_SOCKET
        socket.unlink(missing_ok=True)
        try:
            self._etcd.start()
            self._etcd.wait_until(socket.exists, READY)
            self.start_server()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both, the server first."""
        self._server.stop()
        self._etcd.stop()

    def start_server(self) -> None:
        """Start the server alone, on the port it always has."""
        self._server.start()
        self._server.wait_until(self._ready, READY)

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._server.pid

    def stop_server(self) -> None:
        """An outage: connections are refused. etcd keeps what there is."""
        self._server.stop()

    def freeze(self) -> None:
        """Another outage: the kernel still accepts connections, and nobody answers."""
        self._server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """The end of that outage; what was asked meanwhile is answered now."""
        self._server.signal(signal.SIGCONT)

    def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        content_type: str = "application/json",
        *,
        user: str = ADMIN[0],
        groups: Iterable[str] = ADMIN[1],
    ) -> tuple[int, Json]:
        """Status and answer of one request as `user`, by client certificate."""
        who = (user, tuple(groups))
        if who not in self._contexts:
            self._contexts[who] = client_context(self.ca_file, *self.issue(*who))
        return send(self.port, self._contexts[who], method, path, body, content_type)

    def admin(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, Json]:
        """Status and answer of one request that may do anything."""
        return self.request(method, path, body, content_type)

    def as_node(
        self,
        name: str,
        method: str,
        path: str,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, Json]:
        """Status and answer of one request as the kubelet of Node `name`."""
        user = f"system:node:{name}"
        return self.request(method, path, body, content_type, user=user, groups=["system:nodes"])

    def issue(
        self,
        common_name: str,
        groups: Iterable[str] = (),
        not_before: datetime.datetime | None = None,
        not_after: datetime.datetime | None = None,
    ) -> tuple[bytes, bytes]:
        """A client's certificate and key as PEM; names are of 64 bytes at most (RFC 5280, A.1)."""
        return self._authority.issue(
            common_name, groups, not_before=not_before, not_after=not_after
        )

    def _ready(self) -> bool:
        """The server's own word, and that a Node's credential already has its roles.

        When the server is ready the roles exist; its authorizer learns of them a moment later.
        """
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        try:
            return (
                self.admin("GET", "/readyz")[0] == http.HTTPStatus.OK
                and self.as_node("nobody", "POST", path, review)[0] == http.HTTPStatus.CREATED
            )
        except (OSError, http.client.HTTPException):
            return False

    def _write_files(self, tokens: Mapping[str, str]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        certificate, key = self._authority.issue("kube-apiserver", hosts=HOSTS)
        rows = (f'{token},system:node:{name},,"system:nodes"\n' for token, name in tokens.items())
        for name, content in {
            "ca.crt": self._authority.pem,
            "ca.key": self._authority.key,  # for kube-controller-manager, which signs with it
            "server.crt": certificate,
            "server.key": key,
            "service-account.key": self.issue("service-account")[1],
            commands.TOKENS: "".join(rows).encode(),
            audit.POLICY: json.dumps(audit.RULES).encode(),
        }.items():
            write_private(self.directory / name, content)
