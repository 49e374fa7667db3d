"""What the agent needs of its host and its cluster, in the order in which it needs it."""

from __future__ import annotations

import base64
import logging
import os
import re
import ssl
import stat
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from dtagent.cluster import credentials, patch, tls
from dtagent.cluster.connection import Connection
from dtagent.cluster.credentials import Credentials, Files
from dtagent.cluster.node import NodeApi
from dtagent.cluster.patch import Observed
from dtagent.cluster.transport import Transport
from dtagent.config.settings import Settings
from dtagent.doctor.examine import Skipped, log
from dtagent.errors import (
    CredentialsError,
    NodeError,
    RefusedError,
    TlsError,
    UnauthorizedError,
)
from dtagent.host import metrics
from dtagent.overlays import configfs
from dtagent.overlays.watch import OverlayWatch
from dtagent.publish.factory import publisher
from dtagent.publish.nfd import NfdPublisher
from dtagent.tree.labels import Labels

CLOCK_SKEW = 60.0  # seconds: a certificate is backdated by as much or more; leases last 40
RENEWED = 0.9  # of its life: by then a kubelet has renewed its certificate (70 to 90 per cent)
# RFC 5280, 4.1.2.5: two UTCTime (two digits of the year) or GeneralizedTime in a row.
_VALIDITY = re.compile(rb"(?s)\x30.(?:\x17\x0d|\x18\x0f)(\d+)Z(?:\x17\x0d|\x18\x0f)(\d+)Z")
_PEM = re.compile(rb"(?s)-----BEGIN CERTIFICATE-----(.+?)-----END")

T = TypeVar("T")


def configuration(load: Callable[[], Settings]) -> tuple[Settings, str]:
    settings = load()
    logging.getLogger("dtagent").setLevel(logging.INFO)  # its log_level is not for this
    if settings.metrics.textfile:
        metrics.check(settings.metrics.textfile)
    return settings, "the defaults" if settings == Settings() else "valid"


def devicetree(scan: Callable[[Settings], Labels], configuration: Settings) -> tuple[Labels, str]:
    found, root = scan(configuration), configuration.devicetree.root
    if not found.labels:
        log.warning("%s: no label comes of what is selected there", root)
    return found, f"{root}: {len(found.labels)} labels"


def overlays(configuration: Settings) -> tuple[None, str]:
    if not configfs.concern(configuration):
        raise Skipped("[devicetree] root is not this host's own tree, and [overlays] path is empty")
    with closing(OverlayWatch(configuration.overlays.path, lambda: None)) as watch:
        names = sorted(configfs.applied(watch.folder))
        folders = list(watch.folder.iterdir()) if watch.folder else []
        if not folders:
            return None, ""  # what the watch said
        dialect = "vendor's" if any((each / "path").exists() for each in folders) else "switch"
        text = (
            f"watched in {watch.folder}, {dialect} dialect; applied: {', '.join(names) or 'none'}"
        )
    return None, text


def nfd(configuration: Settings) -> tuple[None, str]:
    """Where the labels go by NFD, or what is left of that."""
    file = configuration.nfd.features_file
    if configuration.publish == "node":
        publisher(configuration).close()
        return None, "not in use, and no features file is left"
    NfdPublisher(configuration).look()
    if not os.access(file.parent, os.W_OK):
        log.error("%s: cannot be written", file)
    return None, f"{file} can be written"


def kubeconfig(configuration: Settings) -> tuple[list[Credentials], str]:
    if configuration.publish == "nfd":
        raise Skipped('publish = "nfd" leaves the API to nfd-master')
    sources = credentials.find(configuration.node.kubeconfig, Path("/"), Files())
    if not sources:
        Connection(configuration.node).api()  # which says so
    loaded = _those_that_work(sources, lambda source: credentials.load(source, Files()))
    return loaded, "; ".join(map(_described, loaded))


def _described(loaded: Credentials) -> str:
    status = loaded.source.stat()
    kind = "token" if loaded.token else "certificate"
    mode = f"{stat.filemode(status.st_mode)}, user {status.st_uid}"
    return f"{loaded.source} ({mode}): {loaded.server} by {kind}"


def _those_that_work(each: Iterable[Any], attempt: Callable[[Any], T]) -> list[T]:
    """What `attempt` gives for each that it does not fail for; if for all, the failures."""
    worked, failures = [], []
    for one in each:
        try:
            worked.append(attempt(one))
        except NodeError as error:
            failures.append(error)
    if not worked:
        raise type(failures[0])("; ".join(map(str, failures)))
    return worked


def server(kubeconfig: list[Credentials]) -> tuple[str, str]:
    """Whether it answers at all. Nothing of ours is shown to it, so it may be anybody."""
    answers = _those_that_work(kubeconfig, _answer_to_anybody)
    return answers[0][0], "; ".join(text for _, text in answers)


def _answer_to_anybody(loaded: Credentials) -> tuple[str, str]:
    context = tls.Context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.server_name = loaded.context.server_name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # urllib3's of just that
        return _answer(replace(loaded, context=context, token=None))


def _answer(loaded: Credentials) -> tuple[str, str]:
    """The server's Date and how it was reached; whatever it says, it is reached."""
    with closing(Transport(loaded)) as transport:
        way = f"by the proxy {transport.proxy}" if transport.proxy else "directly"
        try:
            transport.request("GET", "/version")
        except (RefusedError, UnauthorizedError):
            pass
        except NodeError as error:
            raise type(error)(f"{error} ({way})") from error
        return transport.date, f"{loaded.server} answers {way}"


def clock(server: str) -> tuple[None, str]:
    try:
        skew = time.time() - parsedate_to_datetime(server).timestamp()
    except (TypeError, ValueError) as error:
        raise Skipped("the server's answer has no Date") from error
    if abs(skew) > CLOCK_SKEW:
        log.warning("it is %s here, and %s at the server", _date(time.time()), server)
    return None, f"within {CLOCK_SKEW:.0f} s of the server's"


def certificates(kubeconfig: list[Credentials], server: str) -> tuple[None, str]:
    return None, "; ".join(_those_that_work(kubeconfig, _certificates))


def _certificates(loaded: Credentials) -> str:
    """Our own dates, the handshake, which checks the chain, and the dates of our CAs.

    A CA that has expired is to blame only where the handshake fails: while CAs are changed there is
    an old one beside the new.
    """
    ours = [*_dates(f"{loaded.source}: its client certificate", loaded.certificate)][:1]
    theirs = [*_dates(f"{loaded.source}: its CA", loaded.authority)]
    if wrong := [text for text, valid, _ in ours if not valid]:
        raise CredentialsError(wrong[0])
    try:
        _answer(loaded)
    except TlsError as error:
        wrong = [text for text, valid, _ in theirs if not valid]
        raise CredentialsError(wrong[0]) if wrong else error from error
    for text in filter(None, (text for text, *_ in (*ours, *theirs))):
        log.warning("%s", text)
    ends = [end for _, valid, end in (*ours, *theirs) if valid]
    until = f", valid until {_date(min(ends))}" if ends else ""
    return f"{loaded.source} and its server trust each other{until}"


def _dates(what: str, pem: bytes | None) -> Iterator[tuple[str, bool, float]]:
    """Of each certificate what is to be said of its dates, whether it is valid, and until when."""
    now = time.time()
    for text in _PEM.findall(pem or b""):
        if not (validity := _VALIDITY.search(base64.b64decode(text))):
            continue
        start, end = map(_seconds, validity.groups())
        if now < start:
            yield f"{what} is not valid before {_date(start)}", False, end
        elif now > end:
            yield f"{what} expired on {_date(end)}", False, end
        elif now > start + RENEWED * (end - start):
            yield f"{what} was not renewed, and expires on {_date(end)}", True, end
        else:
            yield "", True, end


def _seconds(text: bytes) -> float:
    digits = text.decode()
    form = "%y%m%d%H%M%S" if len(digits) == 12 else "%Y%m%d%H%M%S"
    return datetime.strptime(digits, form).replace(tzinfo=timezone.utc).timestamp()


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def identity(configuration: Settings, certificates: None) -> tuple[NodeApi, str]:
    api = Connection(configuration.node).api()
    return api, f"Node {api.name}, by {api.source}"


def node(identity: NodeApi) -> tuple[Observed, str]:
    observed = identity.get()
    return observed, f"Node {identity.name} is there, uid {observed.uid}"


def permission(devicetree: Labels, identity: NodeApi, node: Observed) -> tuple[None, str]:
    """The very patches, as a dry run; where none is due, the one for a Node without labels."""
    name, labels = identity.name, devicetree.labels
    plan = patch.plan(name, labels, node, patch.unwanted(labels, node))
    for each in plan or patch.plan(name, labels, Observed(uid=node.uid), ()):
        identity.send(replace(each, query=f"{each.query}&dryRun=All"))
    return None, f"the server accepts the patch of Node {identity.name}"


def changes(devicetree: Labels, node: Observed) -> tuple[None, str]:
    keys = {*devicetree.labels, *patch.unwanted(devicetree.labels, node)}
    due = patch.changes(keys, node, Observed(labels=devicetree.labels))
    return None, f"due on the Node: {', '.join(due) or 'none'}"


def second_writer(devicetree: Labels, node: Observed) -> tuple[None, str]:
    """Whom the Node's managedFields name besides us: the Go labeller, kubectl, a kubelet."""
    for key in sorted(node.labels):
        others = node.others.get(key, frozenset()) - {patch.NO_MANAGER}
        if others and (key in devicetree.labels or key.startswith(patch.GO_LABELLER_PREFIX)):
            log.warning("label %s is set by %s, too", key, ", ".join(sorted(others)))
    return None, "nobody else sets these labels"


CHECKS = (
    *(configuration, devicetree, overlays, nfd, kubeconfig, server, clock, certificates),
    *(identity, node, permission, changes, second_writer),
)
