"""Any kubeconfig and any answer of a server: no failure without a name of ours."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from hypothesis import example, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from dtagent.cluster import connection, credentials, node, patch
from dtagent.cluster.connection import Connection
from dtagent.cluster.credentials import Files
from dtagent.cluster.transport import Transport, failure
from dtagent.config.settings import NodeTable
from dtagent.errors import CredentialsError, NodeError
from tests.fuzz.inputs import KUBECONFIG, spliced, spoil

NODE = {
    "metadata": {
        "uid": "u",
        "resourceVersion": "1",
        "labels": {"beta.devicetree.org/a": "1"},
        "managedFields": [
            {
                "manager": patch.FIELD_MANAGER,
                "operation": "Apply",
                "fieldsV1": {"f:metadata": {"f:labels": {"f:beta.devicetree.org/a": {}}}},
            }
        ],
    },
    "status": {"nodeInfo": {"bootID": "b"}, "userInfo": {"username": "system:node:n"}},
    "details": {"causes": [{"field": "metadata.uid", "reason": "r"}]},
    "message": "uid mismatch",
}


def kubeconfig(content: bytes) -> None:
    """Whatever the agent does with a kubeconfig before it speaks to a server."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "kubeconfig"
        file.write_bytes(content)
        try:
            Transport(credentials.load(file, Files())).close()
        except CredentialsError as error:
            assert all(line.isprintable() for line in str(error).split("\n"))


PLACES = ("certificate-authority", "client-certificate", "client-key", "tokenFile", "token")


@given(spliced(yaml.safe_dump(KUBECONFIG).encode()) | st.binary(max_size=60))
@profile(max_examples=30)
@example(b"a: " + b"[" * 5000)
@example(b"a: " + b"9" * 5000)
@example(b"? {}\n: x")
@example(b"a: 2001-02-30")
@example(b"a: !!timestamp x")
@example(b"[a, b]: c")
@example(b"=")
def test_any_yaml_is_a_kubeconfig_or_a_credentials_error(content: bytes) -> None:
    kubeconfig(content)


@given(spoil(KUBECONFIG))
@profile(max_examples=50)
def test_any_value_in_a_kubeconfig_is_a_credentials_error_at_most(value: object) -> None:
    kubeconfig(json.dumps(value).encode())


@pytest.mark.parametrize(
    "value", ["a\0b", "\ud800", ".", "x" * 5000, "https://[", "\u00e4", 5, [1], {"a": 1}]
)
@pytest.mark.parametrize(
    "key",
    [*PLACES, *(f"{place}-data" for place in PLACES), "server", "proxy-url", "tls-server-name"],
)
def test_a_strange_value_at_a_key_of_a_kubeconfig_is_a_credentials_error_at_most(
    key: str, value: object
) -> None:
    strange = {"server": "https://127.0.0.1", "client-key-data": "bm8=", key: value}
    clusters = [{"name": "k", "cluster": strange}]
    users = [{"name": "u", "user": strange}]
    kubeconfig(json.dumps({**KUBECONFIG, "clusters": clusters, "users": users}).encode())


@pytest.mark.parametrize("moved", [b"a: " + b"[" * 5000, b"a: 2001-02-30", b'data-dir: "a\\0b"'])
def test_a_strange_configuration_of_a_distribution_hides_no_other_kubeconfig(
    moved: bytes, tmp_path: Path
) -> None:
    (tmp_path / "etc/rancher/k3s").mkdir(parents=True)
    (tmp_path / "etc/rancher/k3s/config.yaml").write_bytes(moved)
    (tmp_path / "etc/kubernetes").mkdir()
    kubelet = tmp_path / "etc/kubernetes/kubelet.conf"
    kubelet.write_text(json.dumps(KUBECONFIG))
    assert credentials.find("", tmp_path, Files()) == [kubelet]


@dataclass(frozen=True)
class Response:
    """A status and the JSON object that came with it."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Answers:
    """A server that gives the answers it is told to, over and over."""

    def __init__(self, *answers: Response) -> None:
        self._answers, self._asked = answers, 0

    def request(self, *_: object, **__: object) -> Mapping[str, Any]:
        self._asked += 1
        answer = self._answers[self._asked % len(self._answers)]
        if answer.status >= 300:
            raise failure("GET", "/", answer, answer.body)
        return answer.body

    def close(self) -> None:
        """There is nothing to close."""


statuses = st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 409, 422, 429, 500, 503])
bodies: st.SearchStrategy[Any] = spoil(NODE).filter(lambda body: isinstance(body, dict))
responses = st.builds(Response, statuses, bodies)


def on_the_wire(response: Response) -> Response:
    """What is left of a body once it is JSON: keys that are text, and no tuple."""
    body: Mapping[str, Any] = json.loads(json.dumps(response.body))
    return Response(response.status, body)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> credentials.Credentials:
    file = tmp_path_factory.mktemp("node") / "kubeconfig"
    file.write_text(json.dumps(KUBECONFIG))
    return credentials.load(file, Files())


@contextmanager
def answering(*responses: Response) -> Iterator[Any]:
    """Every connection is to a server that gives these answers."""
    server = Answers(*map(on_the_wire, responses))
    with mock.patch.object(connection, "Transport", lambda *_: server):
        yield server


@given(response=responses)
def test_any_answer_about_a_node_is_a_node_or_a_node_error(
    loaded: credentials.Credentials, response: Response
) -> None:
    desired = {"e.org/a": "1"}
    with answering(response) as server:
        api = node.NodeApi(server, loaded, "n")
        for ask in (api.get, lambda: api.send(patch.plan("n", desired, patch.Observed(), ())[0])):
            try:
                observed = ask()
            except NodeError as error:
                assert str(error)
                continue
            keys = patch.unwanted(desired, observed)
            json.dumps([each.body for each in patch.plan("n", desired, observed, keys)])
            patch.changed(observed.labels, observed.labels, desired)
            patch.clearable(desired, observed)


@given(
    answers=st.lists(responses, min_size=1, max_size=3),
    name=st.sampled_from(["", "n"]),
    boot=st.sampled_from([b"b\n", b""]),
)
@profile(max_examples=50)
def test_any_answers_while_connecting_are_a_connection_or_a_node_error(
    loaded: credentials.Credentials, answers: list[Response], name: str, boot: bytes
) -> None:
    with (
        tempfile.TemporaryDirectory() as place,
        answering(*answers),
        mock.patch.object(credentials, "load", lambda *_: loaded),
    ):
        file = Path(place) / "proc/sys/kernel/random/boot_id"
        file.parent.mkdir(parents=True)
        file.write_bytes(boot)
        try:
            Connection(NodeTable(name=name, kubeconfig="k"), Path(place)).api()
        except NodeError as error:
            assert str(error)


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
BODY = json.dumps(NODE).encode()


@pytest.fixture(scope="module")
def wire() -> Iterator[tuple[str, list[bytes]]]:
    """A server on loopback, and what it answers to each request before it hangs up."""
    answer = [b""]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(ConnectionError):
                    if not connection.recv(65536):
                        return  # the last one says nothing
                    connection.sendall(answer[0])
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

        serving = threading.Thread(target=serve)
        serving.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", answer
        socket.create_connection(listener.getsockname()).close()
        serving.join()


@given(
    content=spliced(ANSWER + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    | spliced(ANSWER + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n')
    | spliced(ANSWER + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")
)
@example(content=ANSWER + b"\r\n" + b"[" * 100_000)
@example(content=ANSWER + b'\r\n{"a": ' + b"9" * 5000 + b"}")
@example(content=b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n{}")
@example(content=b"HTTP/1.1 302 Found\r\nLocation: https://[\r\n\r\n{}")
@example(content=b"")
def test_any_bytes_that_answer_a_request_are_an_answer_or_a_node_error(
    wire: tuple[str, list[bytes]], loaded: credentials.Credentials, content: bytes
) -> None:
    url, answer = wire
    answer[0] = content
    transport = Transport(replace(loaded, server=url))
    try:
        assert isinstance(transport.request("GET", "/"), dict)
    except NodeError as error:
        assert str(error)
        assert math.isfinite(getattr(error, "retry_after", 0.0))
    finally:
        transport.close()
