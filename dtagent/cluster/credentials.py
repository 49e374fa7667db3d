"""The node's kubeconfigs: where they may be, what one says, and whether it may say more by now.

Read here and not by the kubernetes client's loader, which writes inline private keys to temporary
files and would run the programs that a kubeconfig may name. Format: client-go's
`tools/clientcmd/api/v1`.
"""

import base64
import contextlib
import logging
import os
import re
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from dtagent.cluster import tls
from dtagent.errors import CredentialsError
from dtagent.host.log import KEY_EXPOSED, event

KNOWN_PLACES = (
    "etc/kubernetes/kubelet.conf",  # kubeadm
    "var/snap/microk8s/current/credentials/kubelet.config",
    "var/lib/k0s/kubelet.conf",
    "var/lib/microshift/resources/kubelet/kubeconfig",
)
CLOCK_STEP = 1.0  # seconds by which the wall clock may part from the monotonic one
FILE_MAX = 1 << 20  # bytes; a kubelet's kubeconfig with its certificates inline has some 6 KiB
PATH_MAX = 255  # characters; what is longer is no path, and not shown
_EXPOSED: set[Path] = set()  # files that were warned of

log = logging.getLogger(__name__)


class Files:
    """What an attempt to connect depends on: the clock, and each file as it was before it was read.

    Links are followed: kubeadm's `kubelet-client-current.pem` counts by what it points to.
    """

    def __init__(self) -> None:
        self._then: dict[Path, tuple[int, ...]] = {}
        self._booted = time.time() - time.monotonic()  # or so; it moves when the clock is set

    def changed(self) -> bool:
        """Whether a file has been written, replaced, removed or made since, or the clock set.

        A board without a clock boots in the past, where every certificate is not yet valid.
        """
        stepped = abs(time.time() - time.monotonic() - self._booted) > CLOCK_STEP
        return stepped or any(_fingerprint(file) != then for file, then in self._then.items())

    def note(self, file: Path) -> bool:
        """Look at a file or a folder from now on; whether it was there at the first look."""
        return bool(self._then.setdefault(file, _fingerprint(file)))

    def read(self, file: Path) -> bytes:
        """The content; CredentialsError says why there is none."""
        self.note(file)
        text = str(file)
        if len(text) > PATH_MAX or not text.isprintable():
            text = "a file that the kubeconfig names"  # or a key that was put in its place
        try:
            with file.open("rb") as stream:
                content = stream.read(FILE_MAX + 1)
        except (OSError, ValueError) as error:  # the latter of a NUL, or of what is no UTF-8
            why = getattr(error, "strerror", "no name of a file")
            if isinstance(error, PermissionError):
                why += "; the unit's sandbox may deny it, see dtagent(8)"
            raise CredentialsError(f"{text}: {why}") from error
        if len(content) > FILE_MAX:
            raise CredentialsError(f"{text}: larger than {FILE_MAX} bytes")
        return content

    def yaml(self, file: Path) -> Mapping[str, Any]:
        """What a YAML file says, which has to be a table.

        By the loader in Python: libyaml's overruns the C stack where it is nested deeply enough.
        """
        try:
            said = yaml.safe_load(self.read(file))
        # PyYAML's own of numbers of 5,000 digits, the 30th of February, ill-formed tags and nesting
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark else ""
            raise CredentialsError(f"{file}{where}: not YAML") from error
        if not isinstance(said, dict):
            raise CredentialsError(f"{file}: not a kubeconfig")
        return said


def _fingerprint(file: Path) -> tuple[int, ...]:
    """Empty where there is none; one that may not be looked at is there, and reading it says so."""
    try:
        status = file.stat()
    except (OSError, ValueError) as error:
        return (0,) if isinstance(error, PermissionError) else ()
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def find(configured: str, host: Path, files: Files) -> list[Path]:
    """The kubeconfigs to try, in order: the configured one alone, else those that exist.

    `host` is the root below which the known places of k3s, RKE2, kubeadm, microk8s, k0s and
    MicroShift are looked for; `$KUBECONFIG` comes last. `files` notes what the choice depends on.
    """
    if configured:
        return [Path(configured)]
    places = [_data_dir(host, name, files) / "agent/kubelet.kubeconfig" for name in ("k3s", "rke2")]
    places += [host / place for place in KNOWN_PLACES]
    places += [Path(text) for text in os.environ.get("KUBECONFIG", "").split(":") if text]
    return [place for place in places if files.note(place)]


def _data_dir(host: Path, name: str, files: Files) -> Path:
    """As its configuration has it: the last value stands, be it none."""
    read, moved = [host / f"etc/rancher/{name}/config.yaml"], None
    drop_ins = read[0].with_name("config.yaml.d")
    files.note(drop_ins)
    with contextlib.suppress(OSError):
        read += sorted(drop_ins.iterdir())
    for file in read:  # those that k3s reads, in its order (pkg/configfilearg)
        if file.name.lower().endswith((".yaml", ".yml")):
            with contextlib.suppress(CredentialsError):  # theirs to complain about
                moved = files.yaml(file).get("data-dir", moved)
    return host / str(moved or f"var/lib/rancher/{name}").lstrip("/")


@dataclass(frozen=True)
class Credentials:
    """One kubeconfig's current context, ready to connect with; certificates are PEM."""

    source: Path
    server: str
    context: tls.Context
    token: str | None = field(default=None, repr=False)
    tls_server_name: str = ""
    proxy_url: str = ""
    certificate: bytes | None = None
    authority: bytes | None = None


def load(source: Path, files: Files) -> Credentials:
    """Read a kubeconfig's current context and build the TLS context that it stands for.

    Raises CredentialsError, which may pass: k3s rewrites its files one after the other.
    """

    def content(table: Mapping[str, Any], key: str) -> bytes | None:
        """`KEY-data`, which is base64, goes before the file that `KEY` names, as in client-go."""
        if data := table.get(f"{key}-data"):
            try:
                return base64.b64decode(str(data), validate=True)
            except ValueError as error:
                raise CredentialsError(f"{source}: {key}-data is not base64") from error
        return files.read(source.parent / str(table[key])) if table.get(key) else None

    config = files.yaml(source)
    chosen = _entry(source, config, "context", config.get("current-context"))
    cluster, user = (_entry(source, config, it, chosen.get(it)) for it in ("cluster", "user"))
    for refused in ("exec", "auth-provider"):
        if refused in user:
            what = f"{source}: uses an {refused} plugin, which dtagent does not run"
            remedy = "give [node] kubeconfig a file with a certificate or a token"
            raise CredentialsError(f"{what}; {remedy}")
    server, host = str(cluster.get("server", "")), None
    with contextlib.suppress(ValueError):
        host = urlsplit(server).hostname
    if not (host and server.startswith("https://")):
        raise CredentialsError(f"{source}: server {server!r} is not an https:// address")
    if cluster.get("insecure-skip-tls-verify"):
        what = f"{source}: insecure-skip-tls-verify is not supported"
        raise CredentialsError(f"{what}; name its certificate-authority")
    name, proxy = (str(cluster.get(key) or "") for key in ("tls-server-name", "proxy-url"))
    certificate, key = content(user, "client-certificate"), content(user, "client-key")
    pair = certificate + b"\n" + key if certificate and key else None
    ca = content(cluster, "certificate-authority")
    context = tls.context(source, name or host, ca, pair)
    token = str(user.get("token") or "")
    if (read := content(user, "tokenFile")) is not None:
        token = read.decode("ascii", "replace").strip()
    if not re.fullmatch("[!-~]*", token):
        raise CredentialsError(f"{source}: its token is not one word of ASCII")
    _warn_if_exposed(source, user)
    shown = certificate if key else None
    return Credentials(source, server.rstrip("/"), context, token, name, proxy, shown, ca)


def _entry(source: Path, config: Mapping[str, Any], kind: str, name: object) -> Mapping[str, Any]:
    with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError):
        named = {entry.get("name"): entry.get(kind) for entry in config[f"{kind}s"]}
        return dict(named[name])
    raise CredentialsError(f"{source}: has no {kind} {name!r}")


def _warn_if_exposed(source: Path, user: Mapping[str, Any]) -> None:
    """Once, where others may read the file with the private key or the token, and get there."""
    inline = user.get("client-key-data") or user.get("token")
    named = None if inline else user.get("client-key") or user.get("tokenFile")
    with contextlib.suppress(OSError, ValueError):
        file = (source.parent / str(named) if named else source).resolve(strict=True)
        way = all(folder.stat().st_mode & stat.S_IXOTH for folder in file.parents)
        if way and file.stat().st_mode & stat.S_IROTH and file not in _EXPOSED:
            _EXPOSED.add(file)
            text = "%s: every user of this host can read the node's secret: chmod 600 it"
            log.warning(text, file, extra=event(KEY_EXPOSED))
