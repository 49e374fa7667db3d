"""Faults of what the server says: refusals, what no API server says, and what has no end.

Each is the answer of an HTTPS proxy that the agent trusts. It is everybody's answer, unless a
server would give it to some requests alone.
"""

from __future__ import annotations

from . import answers
from .answers import of_nodes, of_patches, of_watches, status, whole
from .by_network import CUT, SILENT
from .fault import Fault
from .https import Answer
from .scene import Scene
from .tcp import TcpProxy, Treatment

RESTRICTED = 'is not allowed to modify labels: "kubernetes.io/forged"'
OTHER_UID = {"causes": [{"field": "metadata.uid", "reason": "FieldValueInvalid"}]}
OTHER_FIELD = {"causes": [{"field": "metadata.labels", "reason": "FieldValueInvalid"}]}
RETRY_AFTER = {"Retry-After": "5"}  # seconds: longer than the fault
LONGER = 30.0
"""Seconds: some attempts more, and not a line of the journal more."""
HTML = b"<!doctype html><html><body>Log in to this network</body></html>"
POD = b'{"apiVersion": "v1", "kind": "Pod", "spec": {}}'


def recover(scene: Scene) -> None:
    """The server itself answers again; what has no end goes on for who is in it."""
    assert scene.https
    scene.https.behave(cut=False)


def answered(
    name: str,
    answer: Answer,
    says: str = "",
    sticks: bool = False,
    seconds: float = 3.0,
) -> Fault:
    """Requests are answered so from the begin of the fault to its end."""

    def begin(scene: Scene) -> None:
        assert scene.https
        scene.https.behave(answer)

    return Fault(
        name,
        begin,
        recover,
        says=says,
        sticks=sticks,
        blocks=bool(says),
        token=True,
        seconds=seconds,
    )


def redirect(scene: Scene) -> None:
    """To another server, which must never see our token."""
    assert scene.https
    scene.forbidden = TcpProxy(scene.https.port)
    scene.forbidden.treat(Treatment(hold=True))
    scene.open.callback(scene.forbidden.close)
    scene.https.behave(answers.redirect(scene.forbidden.url))


REFUSALS = [
    answered("status-401", status(401), "401"),
    answered("status-403", of_patches(status(403, RESTRICTED)), RESTRICTED),
    answered("status-403-all", status(403, "no access"), "403"),
    answered("status-404", of_nodes(status(404)), "404|there is no Node"),
    answered("status-409", of_patches(status(409)), "409"),
    answered("status-409-uid", of_patches(status(409, "uid mismatch")), "409"),
    answered(
        "status-422", of_patches(status(422, "bad label", details=OTHER_FIELD)), "422.*bad label"
    ),
    answered("status-422-for-longer", of_patches(status(422, "no")), "422", seconds=LONGER),
    answered("status-422-uid", of_patches(status(422, details=OTHER_UID)), "422"),
    answered("status-429", status(429, headers=RETRY_AFTER), "429"),
    answered("status-500", status(500), "500"),
    answered("status-503", status(503), "503"),
    answered("status-503-retry-after", status(503, headers=RETRY_AFTER), "503"),
    answered("status-504-of-patches", of_patches(status(504)), "504"),
]

NONSENSE = [
    answered("garbage", whole(bytes(range(256))), "answer"),
    answered("html", whole(HTML, headers={"Content-Type": "text/html"}), "answer"),
    answered("html-502", whole(HTML, 502, {"Content-Type": "text/html"}), "502"),
    answered("other-object", whole(POD), "answer"),
    answered("empty-body", whole(b""), "answer"),
    answered("truncated", answers.truncated, f"answer|Incomplete|{CUT}"),
    answered("no-answer-at-all", answers.nothing, CUT),
    answered("long-header", answers.long_header, "header|answer"),
    answered("deep-json", answers.deep, "answer"),
    answered("gzip-bomb", answers.gzip_bomb, "answer"),
    answered("endless-body", answers.endless, "answered more"),
    answered("dripping-body", answers.dripping_body, SILENT, sticks=True),
    answered("dripping-headers", answers.dripping_headers, SILENT, sticks=True),
    answered("silence", answers.silent, SILENT, sticks=True),
    Fault("redirect", redirect, recover, says="30[0-9]", token=True),
]

WATCHES = [
    answered("watch-ends-at-once", answers.ended_watch),
    answered("watch-410", answers.watch_error(410)),
    answered("watch-403", of_watches(status(403))),
    answered("watch-429", of_watches(status(429, headers=RETRY_AFTER))),
    answered("watch-500", of_watches(status(500))),
    answered("watch-garbage", of_watches(whole(bytes(range(256))))),
    answered("watch-silent", of_watches(answers.silent)),
    answered("watch-without-bookmarks", answers.without_bookmarks),
]

FAULTS = [*REFUSALS, *NONSENSE, *WATCHES]
