"""One kubeconfig: what it says, ready to connect with.

Read here and not by the kubernetes client's loader, which writes inline private keys to temporary
files and would run the programs that a kubeconfig may name. Format: client-go's
`tools/clientcmd/api/v1`.
"""

from __future__ import annotations

import base64
import contextlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dtagent.cluster import tls
from dtagent.cluster.files import Files
from dtagent.errors import CredentialsError


@dataclass(frozen=True)
class Credentials:
    """One kubeconfig's current context, ready to connect with."""

    source: Path
    server: str
    context: tls.Context
    token: str | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    proxy_url: str | None = None
    certificate: bytes | None = None
    authority: bytes | None = None
    """What the client shows, as PEM."""
    exposed: Path | None = None
    """The file with the secret, if every user of this host can read it."""


def load(source: Path, files: Files) -> Credentials:
    """Read a kubeconfig's current context and build the TLS context that it stands for.

    Raises CredentialsError, which may pass: k3s rewrites its files one after the other.
    """
    config = files.yaml(source)
    if not isinstance(config, dict):
        raise CredentialsError(f"{source}: not a kubeconfig")
    context = _entry(source, config, "context", config.get("current-context"))
    cluster = _entry(source, config, "cluster", context.get("cluster"))
    user = _entry(source, config, "user", context.get("user"))
    for refused in ("exec", "auth-provider"):
        if refused in user:
            raise CredentialsError(
                f"{source}: uses an {refused} plugin, which dtagent does not run; "
                "give [node] kubeconfig a file with a certificate or a token"
            )
    server, host = str(cluster.get("server", "")), None
    with contextlib.suppress(ValueError):
        host = urlsplit(server).hostname
    if not (host and server.startswith("https://")):
        raise CredentialsError(f"{source}: server {server!r} is not an https:// address")
    if cluster.get("insecure-skip-tls-verify"):
        raise CredentialsError(
            f"{source}: insecure-skip-tls-verify is not supported; name its certificate-authority"
        )
    tls_server_name = _text(source, cluster, "tls-server-name")

    def pem(table: Mapping[str, Any], key: str) -> bytes | None:
        """`KEY-data`, which is base64, goes before the file that `KEY` names, as in client-go."""
        if data := table.get(f"{key}-data"):
            try:
                return base64.b64decode(str(data), validate=True)
            except ValueError as error:
                raise CredentialsError(f"{source}: {key}-data is not base64") from error
        return files.read(source.parent / str(table[key])) if table.get(key) else None

    certificate, key = pem(user, "client-certificate"), pem(user, "client-key")
    authority = pem(cluster, "certificate-authority")
    return Credentials(
        source=source,
        server=server.rstrip("/"),
        context=tls.context(
            source,
            tls_server_name or host,
            authority,
            certificate + b"\n" + key if certificate and key else None,
        ),
        token=_token(source, user, files),
        tls_server_name=tls_server_name,
        proxy_url=_text(source, cluster, "proxy-url"),
        certificate=certificate if key else None,
        authority=authority,
        exposed=_exposed(source, user),
    )


def _exposed(source: Path, user: Mapping[str, Any]) -> Path | None:
    """The file that the private key or the token is in, if others may read it and get there."""
    inline = user.get("client-key-data") or user.get("token")
    named = None if inline else user.get("client-key") or user.get("tokenFile")
    file = source.parent / str(named) if named else source
    with contextlib.suppress(OSError, ValueError):
        file = file.resolve(strict=True)
        way = all(folder.stat().st_mode & stat.S_IXOTH for folder in file.parents)
        if way and file.stat().st_mode & stat.S_IROTH:
            return file
    return None


def _entry(source: Path, config: Mapping[str, Any], kind: str, name: object) -> Mapping[str, Any]:
    entries = config.get(f"{kind}s")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name:
            body = entry.get(kind)
            if isinstance(body, dict):
                return body
    raise CredentialsError(f"{source}: has no {kind} {name!r}")


def _text(source: Path, table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise CredentialsError(f"{source}: {key} is no text")
    return value


def _token(source: Path, user: Mapping[str, Any], files: Files) -> str | None:
    if file := user.get("tokenFile"):
        token = files.read(source.parent / str(file)).decode("ascii", "replace").strip()
    else:
        token = str(user.get("token") or "")
    if not re.fullmatch("[!-~]*", token):
        raise CredentialsError(f"{source}: its token is not one word of ASCII")
    return token or None
