"""What an HTTPS proxy can say in the API server's place, from a plain refusal to no end at all.

Refusals are Status objects as the server makes them (Kubernetes API conventions, "Response Status
Kind"). What drips, or is silent, stays so for those who asked until they go.
"""

from __future__ import annotations

import gzip
import http
import json
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlencode

from .https import Answer, Exchange

SILENT_PIECE, DRIP = 0.25, b" "
ENDLESS = b'{"kind": "Node", "metadata": {"labels": {"' + b"x" * (64 << 10)
BOMB = gzip.compress(b" " * (256 << 20))
JSON = {"Content-Type": "application/json"}


def when(asked: Callable[[Exchange], bool], answer: Answer) -> Answer:
    """`answer` to some requests, and the server's own to the rest."""
    return lambda exchange: (answer if asked(exchange) else Exchange.forward)(exchange)


def of_nodes(answer: Answer) -> Answer:
    return when(lambda exchange: exchange.is_node, answer)


def of_patches(answer: Answer) -> Answer:
    return when(lambda exchange: exchange.command == "PATCH", answer)


def of_watches(answer: Answer) -> Answer:
    return when(lambda exchange: exchange.is_watch, answer)


def status(
    code: int,
    message: str = "",
    headers: Mapping[str, str] | None = None,
    details: Mapping[str, object] | None = None,
) -> Answer:
    """A refusal in the API server's form."""
    said = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": http.HTTPStatus(code).phrase.title().replace(" ", ""),
        "message": message or f"the proxy says {code}",
        "code": code,
        "details": dict(details or {}),
    }
    return whole(json.dumps(said).encode(), code, headers)


def whole(body: bytes, code: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Exactly this."""
    return lambda exchange: exchange.say(code, body, headers)


def truncated(exchange: Exchange) -> None:
    """The first 100 of 1,000 bytes."""
    exchange.say(200, b'{"kind": "Node"'.ljust(100), {"Content-Length": "1000"})
    exchange.close_connection = True


def nothing(exchange: Exchange) -> None:
    """The end of file in place of an answer."""
    exchange.close_connection = True


def silent(exchange: Exchange) -> None:
    """Nothing at all, until the client goes."""
    exchange.close_connection = True
    exchange.pause(None)


def endless(exchange: Exchange) -> None:
    """A body as fast as it is read, until the client goes."""
    exchange.close_connection = True
    exchange.head(200, {**JSON, "Content-Length": str(1 << 40)})
    exchange.wfile.write(ENDLESS)
    while not exchange.pause(0):
        exchange.wfile.write(b"x" * len(ENDLESS))


def dripping_body(exchange: Exchange) -> None:
    """Four bytes a second."""
    exchange.close_connection = True
    exchange.head(200, {**JSON, "Content-Length": "4000"})
    while not exchange.pause(SILENT_PIECE):
        exchange.wfile.write(DRIP)


def dripping_headers(exchange: Exchange) -> None:
    """Four bytes a second, and never the end of a header."""
    exchange.close_connection = True
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not exchange.pause(SILENT_PIECE):
        exchange.wfile.write(b"x")


def long_header(exchange: Exchange) -> None:
    exchange.say(200, b"{}", {"X-Long": "x" * (1 << 20), "Content-Length": "2"})


def gzip_bomb(exchange: Exchange) -> None:
    """A quarter of a megabyte that unpacks to 256."""
    packed = {**JSON, "Content-Encoding": "gzip", "Content-Length": str(len(BOMB))}
    exchange.say(200, BOMB, packed)


def deep(exchange: Exchange) -> None:
    """JSON nested deeper than any parser's recursion."""
    exchange.say(200, b'{"metadata": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")


def redirect(to: str) -> Answer:
    """To another server, which has no business with our token."""
    return lambda exchange: exchange.say(302, b"{}", {"Location": to, "Content-Length": "2"})


def watch_error(code: int) -> Answer:
    """A watch that begins well and then says in its stream what is wrong (410 Gone, say)."""
    said = {"kind": "Status", "status": "Failure", "code": code, "reason": "Expired"}
    return of_watches(whole(json.dumps({"type": "ERROR", "object": said}).encode() + b"\n"))


ended_watch = of_watches(whole(b""))
"""A watch that is over as soon as it has begun."""


def without_bookmarks(exchange: Exchange) -> None:
    """A server that knows of no bookmarks."""
    path, _, query = exchange.path.partition("?")
    asked = [(k, v) for k, v in parse_qsl(query) if k != "allowWatchBookmarks"]
    exchange.forward(f"{path}?{urlencode(asked)}" if query else path)
