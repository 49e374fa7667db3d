"""What a test wants of a cluster: Nodes, a kubeconfig for each, and who asked what."""

from __future__ import annotations

import datetime
import http
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.apiserver import audit, commands
from tests.apiserver.certificates import DAY, now
from tests.apiserver.client import Json
from tests.apiserver.kubeconfig import write_kubeconfig
from tests.apiserver.server import ADMIN, Server

MERGE_PATCH = "application/merge-patch+json"
NODES = "/api/v1/nodes"


class ApiServer(Server):
    """kube-apiserver with etcd, all of it in `directory`; as a context manager, started and ended.

    Logs stay there, and with `start` and `stop` etcd's data too; the context manager removes those.
    `ca_extensions=False` makes a CA certificate without any. `tokens` are bearer tokens, each with
    the name of the Node it speaks for. There are Nodes, and no kubelets.
    """

    def __enter__(self) -> ApiServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        # 120 MB of it, laid out in advance; pytest keeps the folders of three runs.
        shutil.rmtree(self.directory / commands.ETCD_DATA, ignore_errors=True)

    def create_node(
        self, name: str, labels: Mapping[str, str] | None = None, boot_id: str | None = None
    ) -> Json:
        """The new Node, with its status in the same request, as a kubelet registers itself."""
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": dict(labels or {})},
            "status": {"nodeInfo": {"bootID": boot_id}} if boot_id else {},
        }
        return _done(self.admin("POST", NODES, node))

    def node(self, name: str) -> Json | None:
        """The Node, or None when there is none."""
        status, answer = self.admin("GET", f"{NODES}/{name}")
        return None if status == http.HTTPStatus.NOT_FOUND else _done((status, answer))

    def labels(self, name: str) -> dict[str, str]:
        """The Node's labels; that there is no such Node is an error."""
        node = _done(self.admin("GET", f"{NODES}/{name}"))
        return dict(node["metadata"].get("labels", {}))

    def patch_labels(self, name: str, labels: Mapping[str, str | None], manager: str) -> Json:
        """Set labels, or with None remove them, as the field manager `manager`."""
        path = f"{NODES}/{name}?fieldManager={manager}"
        return _done(self.admin("PATCH", path, {"metadata": {"labels": labels}}, MERGE_PATCH))

    def delete_node(self, name: str) -> None:
        """Remove the Node; one created later under its name has another uid."""
        _done(self.admin("DELETE", f"{NODES}/{name}"))

    def kubeconfig(
        self,
        name: str,
        *,
        path: Path | None = None,
        inline: bool = False,
        token: str | None = None,
        lifetime: datetime.timedelta = DAY,
        user: str | None = None,
        groups: Iterable[str] = ("system:nodes",),
        server: str | None = None,
    ) -> Path:
        """The kubeconfig of Node `name`, in `directory` unless `path` says where.

        Each call issues a new certificate, and `lifetime` may be negative: one that has expired.
        `user` and `groups` make it someone else's, `server` another address of the server.
        """
        path = path or self.directory / f"{name}.kubeconfig"
        user = user or f"system:node:{name}"
        certificate, key = self.issue(user, groups, not_after=now() + lifetime)
        write_kubeconfig(
            path,
            server=server or self.url,
            ca_file=self.ca_file,
            certificate=certificate,
            key=key,
            token=token,
            inline=inline,
        )
        return path

    def labeller_kubeconfig(self, user: str, path: Path | None = None) -> Path:
        """One that may get and patch Nodes, and nothing else; the role is made here, once a user.

        The server looks at roles a moment later.
        """
        name, group = {"name": user}, "rbac.authorization.k8s.io"
        rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]}]
        binding = {
            "metadata": name,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", **name},
            "subjects": [{"apiGroup": group, "kind": "User", **name}],
        }
        role = {"metadata": name, "rules": rules}
        for kind, thing in (("clusterroles", role), ("clusterrolebindings", binding)):
            _done(self.admin("POST", f"/apis/{group}/v1/{kind}", thing))
        return self.kubeconfig(user, path=path, user=user, groups=())

    def admin_kubeconfig(self) -> Path:
        """One that may do anything: admin.kubeconfig, with .crt and .key beside it."""
        user, groups = ADMIN
        return self.kubeconfig("admin", user=user, groups=groups)

    def audit_mark(self) -> int:
        """Where the audit log ends now: the `since` of what is asked from here on."""
        log = self.directory / audit.LOG
        return log.stat().st_size if log.exists() else 0

    def audit(
        self,
        user: str | None = None,
        verb: str | None = None,
        *,
        since: int = 0,
        stage: str = "ResponseComplete",
    ) -> list[Json]:
        """What was asked of the server, a Node's patch with its body, in the order of the answers.

        A request that was answered is in it. A watch is complete only when it ends; that it began
        is the stage `ResponseStarted`. The fields: audit.k8s.io/v1, Event.
        """
        return [
            event
            for event in audit.read(self.directory / audit.LOG, since)
            if event["stage"] == stage
            and user in (None, event["user"].get("username"))
            and verb in (None, event["verb"])
        ]


def _done(answer: tuple[int, Json]) -> Json:
    """The object; RuntimeError with the server's words when it is not one."""
    status, content = answer
    if status >= http.HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"the API server said {status}: {content.get('message')}")
    return content
