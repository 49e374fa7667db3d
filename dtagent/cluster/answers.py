"""What the API server's answers mean: an object, or one of the kinds of failure in errors.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtagent.cluster.transport import Response, Transport
from dtagent.errors import (
    BusyError,
    ForbiddenError,
    NodeError,
    NodeMissingError,
    NodeReplacedError,
    RejectedError,
    ServerError,
    UnauthorizedError,
)
from dtagent.names import one_line


def call(
    transport: Transport,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Mapping[str, Any]:
    """Send one request; the object that it was answered with, or a NodeError."""
    response = transport.request(method, path, body, headers)
    if 200 <= response.status < 300:
        return response.body
    raise _failure(response, f"{method} {path.partition('?')[0]}")


def table(answer: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """What lies at these keys; empty where an answer has something else there."""
    for key in keys:
        inner = answer.get(key)
        answer = inner if isinstance(inner, dict) else {}
    return answer


def _failure(response: Response, request: str) -> NodeError:
    """A Status object into the kind of failure that it is."""
    status, body = response.status, response.body
    said = one_line(str(body.get("message") or body.get("reason") or ""))
    message = f"{request}: {status} {said}".rstrip()
    causes = table(body, "details").get("causes")
    about_uid = isinstance(causes, list) and any(
        isinstance(cause, dict) and cause.get("field") == "metadata.uid" for cause in causes
    )
    if status == 401:
        return UnauthorizedError(message)
    if status == 403:
        return ForbiddenError(message)
    if status == 404:
        return NodeMissingError(message)
    # An apply with a uid on an absent Node is a create that is refused: "uid mismatch".
    if status in (409, 422) and (about_uid or "uid mismatch" in message):
        return NodeReplacedError(message)
    if status == 429 or (status == 503 and response.retry_after):
        return BusyError(message, response.retry_after)
    if status >= 500:
        return ServerError(message)
    return RejectedError(message)
