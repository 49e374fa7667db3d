"""The Nodes' labels as one admin's watch tells them, each state in its order and none missed.

Waiting on it costs the server nothing, so that many agents can be waited for at once. A watch
without a resourceVersion begins with what there is (Kubernetes API concepts, "Efficient detection
of changes").
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from tests.apiserver import ApiServer
from tests.apiserver.client import Json, client_context
from tests.apiserver.server import ADMIN
from tests.process import DEADLINE

RETRY = 0.1  # seconds until a watch that ended is begun again


class Nodes:
    """What is known of each Node, as a context manager's body goes on."""

    def __init__(self, cluster: ApiServer) -> None:
        self._port = cluster.port
        self._context = client_context(cluster.ca_file, *cluster.issue(*ADMIN))
        self._changed = threading.Condition()
        self._labels: dict[str, dict[str, str]] = {}
        self._history: dict[str, list[dict[str, str]]] = {}
        self._connection: http.client.HTTPSConnection | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nodes")

    def __enter__(self) -> Nodes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        while self._thread.is_alive():
            connection = self._connection
            if connection and connection.sock:
                with suppress(OSError):
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
            self._thread.join(RETRY)

    def labels(self, name: str) -> dict[str, str] | None:
        """The labels of a Node, or None while there is none."""
        with self._changed:
            return self._labels.get(name)

    def history(self, name: str) -> list[dict[str, str]]:
        """All that the labels of a Node have been."""
        with self._changed:
            return list(self._history.get(name, []))

    def wait(self, name: str, expected: Mapping[str, str], deadline: float = DEADLINE) -> float:
        """Until a Node has exactly these labels; the monotonic time when that was seen."""
        with self._changed:
            true = self._changed.wait_for(lambda: self._labels.get(name) == expected, deadline)
            assert true, f"not in {deadline:.0f} s: {expected} on {name}: {self._labels.get(name)}"
        return time.monotonic()

    def wait_history(self, name: str, states: int) -> None:
        """Until a Node has had more than so many states."""
        with self._changed:
            told = self._changed.wait_for(
                lambda: len(self._history.get(name, [])) > states, DEADLINE
            )
            assert told, f"not in {DEADLINE:.0f} s: the change of {name} is told"

    def _run(self) -> None:
        while not self._closed.is_set():
            self._connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, context=self._context
            )
            with suppress(OSError, http.client.HTTPException, ValueError):
                self._watch(self._connection)
            self._connection.close()
            self._closed.wait(RETRY)

    def _watch(self, connection: http.client.HTTPSConnection) -> None:
        connection.request("GET", "/api/v1/nodes?watch=1")
        with connection.getresponse() as response:
            with self._changed:
                self._labels.clear()
            while not self._closed.is_set() and (line := response.readline()):
                self._took(json.loads(line))

    def _took(self, event: Json) -> None:
        metadata = event["object"]["metadata"]
        name, labels = metadata["name"], metadata.get("labels", {})
        with self._changed:
            if event["type"] == "DELETED":
                self._labels.pop(name, None)
            elif self._labels.get(name) != labels:
                self._labels[name] = labels
                self._history.setdefault(name, []).append(labels)
            self._changed.notify_all()
