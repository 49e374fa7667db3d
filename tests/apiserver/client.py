"""One request to the API server with a client's certificate, over http.client alone.

The agent's own client is what the tests are about, so the fixture does not lean on it.
"""

from __future__ import annotations

import http.client
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

Json: TypeAlias = "dict[str, Any]"

TIMEOUT = 120.0
"""Seconds for connecting, and for each read."""


def client_context(ca_file: Path, *certificate_and_key: bytes) -> ssl.SSLContext:
    """Chain and host name checked, against any CA that the fixture can make."""
    context = ssl.create_default_context(cafile=str(ca_file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not certificate_and_key:
        return context
    with tempfile.NamedTemporaryFile() as pem:  # load_cert_chain takes files only
        pem.write(b"".join(certificate_and_key))
        pem.flush()
        context.load_cert_chain(pem.name)
    return context


def send(
    port: int,
    context: ssl.SSLContext,
    method: str,
    path: str,
    body: Json | None = None,
    content_type: str = "application/json",
    timeout: float = TIMEOUT,
) -> tuple[int, Json]:
    """The status and the decoded answer; `{}` where that is no JSON object."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=context)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": content_type})
        response = connection.getresponse()
        return response.status, _object(response.read())
    finally:
        connection.close()


def _object(content: bytes) -> Json:
    try:
        decoded = json.loads(content)
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}
