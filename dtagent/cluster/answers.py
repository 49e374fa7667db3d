"""What an API server's answer means, where it is not the object that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dtagent.errors import (
    BusyError,
    ForbiddenError,
    NodeError,
    NodeMissingError,
    NodeReplacedError,
    RefusedError,
    ServerError,
    UnauthorizedError,
)
from dtagent.names import one_line


def table(answer: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """What lies at these keys; empty where an answer has something else there."""
    for key in keys:
        inner = answer.get(key)
        answer = inner if isinstance(inner, dict) else {}
    return answer


def failure(
    method: str, path: str, status: int, body: Mapping[str, Any], retry_after: float
) -> NodeError:
    """A Status object (API conventions, "Response Status Kind") into the kind that it is."""
    said = one_line(str(body.get("message") or body.get("reason") or ""))
    message = f"{method} {path.partition('?')[0]}: {status} {said}".rstrip()
    causes = table(body, "details").get("causes")
    about_uid = isinstance(causes, list) and any(
        isinstance(cause, dict) and cause.get("field") == "metadata.uid" for cause in causes
    )
    # An apply with a uid on an absent Node is a create that is refused: "uid mismatch".
    if status in (409, 422) and (about_uid or "uid mismatch" in message):
        return NodeReplacedError(message)
    if status == 429 or (status == 503 and retry_after):
        return BusyError(message, retry_after)
    if status >= 500:
        return ServerError(message)
    kinds = {401: UnauthorizedError, 403: ForbiddenError, 404: NodeMissingError}
    return kinds.get(status, RefusedError)(message)
