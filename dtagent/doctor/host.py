"""What the agent needs of its host and its cluster, in the order in which it needs it."""

import base64
import calendar
import logging
import os
import re
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

from dtagent import errors
from dtagent.cluster import client, credentials, patch, tls, transport
from dtagent.cluster.connection import Connection
from dtagent.cluster.node import NodeApi
from dtagent.config.settings import Settings
from dtagent.host.status import check_metrics
from dtagent.overlays import configfs, watch
from dtagent.publish.factory import publisher
from dtagent.publish.nfd import NfdPublisher
from dtagent.tree.labels import Labels

CLOCK_SKEW = 60  # seconds: a certificate is backdated by as much or more; leases last 40
RENEWED = 0.9  # of its life: by then a kubelet has renewed its certificate (70 to 90 per cent)
_FORMS = {12: "%y%m%d%H%M%S", 14: "%Y%m%d%H%M%S"}
_DATE = "%a, %d %b %Y %H:%M:%S GMT"  # RFC 9110, 5.6.7
# RFC 5280, 4.1.2.5: two UTCTime (two digits of the year) or GeneralizedTime in a row.
_VALIDITY = re.compile(rb"(?s)\x30.(?:\x17\x0d|\x18\x0f)(\d+)Z(?:\x17\x0d|\x18\x0f)(\d+)Z")
_PEM = re.compile(rb"(?s)-----BEGIN CERTIFICATE-----(.+?)-----END")

log = logging.getLogger(__name__)


class Skipped(Exception):
    """Nothing to check on this host, for the reason given."""


def configuration(load: Callable[[], Settings]) -> tuple[Settings, str]:
    settings = load()
    logging.getLogger("dtagent").setLevel(logging.INFO)  # its log_level is not for this
    check_metrics(settings.metrics.textfile)
    return settings, "the defaults" if settings == Settings() else "valid"


def devicetree(scan: Callable[[Settings], Labels], configuration: Settings) -> tuple[Labels, str]:
    found, root = scan(configuration), configuration.devicetree.root
    if not found.labels:
        log.warning("%s: no label comes of what is selected there", root)
    return found, f"{root}: {len(found.labels)} label{'' if len(found.labels) == 1 else 's'}"


def overlays(configuration: Settings) -> tuple[None, str]:
    if not configfs.concern(configuration):
        raise Skipped("[devicetree] root is not this host's own tree, and [overlays] path is empty")
    with closing(watch.OverlayWatch(configuration.overlays.path, lambda: None)) as watched:
        folder = watched.folder
    if not folder or not (there := [*folder.iterdir()]):
        return None, ""  # what the watch said
    dialect = "vendor's" if any((each / "path").exists() for each in there) else "switch"
    applied = ", ".join(sorted(configfs.applied(folder))) or "none"
    return None, f"watched in {folder}, {dialect} dialect; applied: {applied}"


def nfd(configuration: Settings) -> tuple[None, str]:
    """Where the labels go by NFD, or what is left of that."""
    file = configuration.nfd.features_file
    if configuration.publish == "node":
        publisher(configuration).close()
        return None, "not in use, and no features file is left"
    NfdPublisher(configuration).look()
    if not os.access(f"{file.parent}/", os.W_OK):  # with the slash: a file in its place is none
        log.error("%s: cannot be written", file)
    return None, f"{file} can be written"


def kubeconfig(configuration: Settings) -> tuple[credentials.Credentials, str]:
    if configuration.publish == "nfd":
        raise Skipped('publish = "nfd" leaves the API to nfd-master')
    sources = credentials.find(configuration.node.kubeconfig, Path("/"), credentials.Files())
    if len(sources) != 1:  # the agent's own code chooses, or says what is wrong with each
        # Of one that is out of reach the next check says more.
        with closing(Connection(configuration.node)) as way, suppress(errors.UnreachableError):
            sources = [way.api().source]
    loaded, status = credentials.load(sources[0], credentials.Files()), sources[0].stat()
    mode = f"{stat.filemode(status.st_mode)}, user {status.st_uid}"
    kind = "token" if loaded.token else "certificate"
    return loaded, f"{loaded.source} ({mode}): {loaded.server} by {kind}"


def server(kubeconfig: credentials.Credentials) -> tuple[str, str]:
    """Whether it answers at all. Nothing of ours is shown to it, so it may be anybody."""
    context = tls.context(kubeconfig.source, kubeconfig.context.server_name, None, None)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client.urllib3.disable_warnings()  # of just that
    return _answer(replace(kubeconfig, context=context, token=None))


def _answer(loaded: credentials.Credentials) -> tuple[str, str]:
    """The server's Date and how it was reached; whatever it says, it is reached."""
    with closing(transport.Transport(loaded)) as way:
        by = f"by the proxy {way.proxy}" if way.proxy else "directly"
        try:
            with suppress(errors.RefusedError, errors.UnauthorizedError):
                way.request("GET", "/version")
        except errors.NodeError as error:
            raise errors.NodeError(f"{error} ({by})") from error
        return way.date, f"{loaded.server} answers {by}"


def clock(server: str) -> tuple[None, str]:
    try:
        skew = time.time() - calendar.timegm(time.strptime(server, _DATE))
    except ValueError as error:
        raise Skipped("the server's answer has no Date") from error
    if abs(skew) > CLOCK_SKEW:
        log.warning("it is %s here, and %s at the server", _date(time.time()), server)
    return None, f"within {CLOCK_SKEW} s of the server's"


def certificates(kubeconfig: credentials.Credentials, server: str) -> tuple[None, str]:
    """The dates of our certificate and of our CAs, and the handshake, which checks the chain."""
    its = f"{kubeconfig.source}: its"
    # What follows ours is its chain.
    ends = [*_ends(f"{its} client certificate", kubeconfig.certificate, first=1)]
    try:
        ends += _ends(f"{its} CA", kubeconfig.authority)
    except errors.CredentialsError as error:  # an old one beside the new is no failure
        log.warning("%s", error)
    _answer(kubeconfig)
    until = f", valid until {_date(min(ends))}" if ends else ""
    return None, f"{kubeconfig.source} and its server trust each other{until}"


def _ends(what: str, pem: bytes | None, first: int | None = None) -> Iterator[int]:
    """When each certificate will expire; CredentialsError for one that is not valid now."""
    now, encoded = time.time(), map(base64.b64decode, _PEM.findall(pem or b"")[:first])
    for found in filter(None, map(_VALIDITY.search, encoded)):
        dates = (time.strptime(date.decode(), _FORMS[len(date)]) for date in found.groups())
        start, end = map(calendar.timegm, dates)
        if now < start:
            raise errors.CredentialsError(f"{what} is not valid before {_date(start)}")
        if now > end:
            raise errors.CredentialsError(f"{what} expired on {_date(end)}")
        if now > start + RENEWED * (end - start):
            log.warning("%s was not renewed, and expires on %s", what, _date(end))
        yield end


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def identity(configuration: Settings, certificates: None, opened: ExitStack) -> tuple[NodeApi, str]:
    api = opened.enter_context(closing(Connection(configuration.node).api()))
    return api, f"Node {api.name}, by {api.source}"


def node(identity: NodeApi) -> tuple[patch.Observed, str]:
    observed = identity.get()
    return observed, f"Node {identity.name} is there, uid {observed.uid}"


def permission(devicetree: Labels, identity: NodeApi, node: patch.Observed) -> tuple[None, str]:
    """The very patches, as a dry run; where none is due, the one for a Node without labels."""
    name, labels = identity.name, devicetree.labels
    plan = patch.plan(name, labels, node, patch.unwanted(labels, node))
    for each in plan or patch.plan(name, labels, patch.Observed(uid=node.uid), ()):
        identity.send(replace(each, query=f"{each.query}&dryRun=All"))
    return None, f"the server accepts the patch of Node {identity.name}"


def changes(devicetree: Labels, node: patch.Observed) -> tuple[None, str]:
    keys = {*devicetree.labels, *patch.unwanted(devicetree.labels, node)}
    due = patch.changed(node.labels, devicetree.labels, keys)
    return None, f"due on the Node: {', '.join(due) or 'none'}"


def second_writer(devicetree: Labels, node: patch.Observed) -> tuple[None, str]:
    """Whom the Node's managedFields name besides us: the Go labeller, kubectl, a kubelet."""
    for key in sorted(node.labels):
        others = node.others.get(key, frozenset()) - {patch.NO_MANAGER}
        if others and (key in devicetree.labels or key.startswith(patch.GO_LABELLER_PREFIX)):
            log.warning("label %s is set by %s, too", key, ", ".join(sorted(others)))
    return None, "nobody else sets these labels"


HOST_CHECKS = (
    *(configuration, devicetree, overlays, nfd, kubeconfig, server, clock, certificates),
    *(identity, node, permission, changes, second_writer),
)
