"""Pods and DaemonSets as a user of the cluster asks for them, and what becomes of them."""

from __future__ import annotations

import http
from typing import Any

from tests.apiserver import ApiServer
from tests.process import wait_for

from . import image

PODS = "/api/v1/namespaces/default/pods"
DAEMONSETS = "/apis/apps/v1/namespaces/default/daemonsets"


def specification(**where: Any) -> dict[str, Any]:
    """One container of the tests' image, on the Node's own network; `where` says on which Node."""
    return {
        "hostNetwork": True,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "pause", "image": image.NAME, "imagePullPolicy": "Never"}],
        **where,
    }


def more_than(key: str, number: int) -> dict[str, Any]:
    """The `affinity` of who needs a Node whose label `key` is a count above `number`."""
    expression = {"key": key, "operator": "Gt", "values": [str(number)]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def containers(cluster: ApiServer) -> set[str]:
    """The containers that run, by their ids: one that is started again has another."""
    pods = cluster.admin("GET", PODS)[1]["items"]
    return {
        each["containerID"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        for each in pod["status"].get("containerStatuses", [])
        if "running" in each["state"]
    }


class Pod:
    """A Pod that is made, by its name; `where` says on which Node."""

    def __init__(self, cluster: ApiServer, name: str, **where: Any) -> None:
        self._cluster, self.name = cluster, name
        pod = {"metadata": {"name": name}, "spec": specification(**where)}
        status, answer = cluster.admin("POST", PODS, pod)
        assert status == http.HTTPStatus.CREATED, answer

    @property
    def object(self) -> dict[str, Any]:
        """The Pod as the server has it; {} when it is gone."""
        status, answer = self._cluster.admin("GET", f"{PODS}/{self.name}")
        return {} if status == http.HTTPStatus.NOT_FOUND else answer

    @property
    def running(self) -> bool:
        """Its container runs, and nobody has asked for its end."""
        pod = self.object
        ending = "deletionTimestamp" in pod.get("metadata", {})
        return bool(pod) and pod["status"].get("phase") == "Running" and not ending

    @property
    def unschedulable(self) -> bool:
        """The scheduler has looked at every Node, and none will do."""
        conditions = self.object.get("status", {}).get("conditions", [])
        return any(each.get("reason") == "Unschedulable" for each in conditions)

    @property
    def scheduled(self) -> bool:
        """It has a Node."""
        return bool(self.object.get("spec", {}).get("nodeName"))

    def wait_running(self) -> None:
        wait_for(lambda: self.running, f"{self.name} running")

    def wait_unschedulable(self) -> None:
        wait_for(lambda: self.unschedulable, f"{self.name} without a Node")

    def wait_gone(self) -> None:
        wait_for(lambda: not self.object, f"{self.name} gone")


class DaemonSet:
    """One Pod on each Node that `where` fits."""

    def __init__(self, cluster: ApiServer, name: str, **where: Any) -> None:
        self._cluster, self._path = cluster, f"{DAEMONSETS}/{name}"
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": specification(**where)}
        body = {
            "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        }
        status, answer = cluster.admin("POST", DAEMONSETS, body)
        assert status == http.HTTPStatus.CREATED, answer

    @property
    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = self._cluster.admin("GET", self._path)[1].get("status", {})
        return status

    def wait_pods(self, number: int) -> None:
        """Until so many Nodes have its Pod, available, and its controller knows of no other."""
        wanted = {"desiredNumberScheduled": number, "currentNumberScheduled": number}

        def as_wanted() -> bool:
            status = self._status
            counts = {key: status.get(key) for key in wanted}
            seen = status.get("observedGeneration") is not None
            return seen and counts == wanted and status.get("numberAvailable", 0) == number

        wait_for(as_wanted, f"{number} Pods of {self._path}: {self._status}")

    def delete(self) -> None:
        self._cluster.admin("DELETE", self._path)
