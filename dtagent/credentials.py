"""One kubeconfig: what it says, ready to connect with.

Read here and not by the kubernetes client's loader, which writes inline private keys to temporary
files and would run the programs that a kubeconfig may name. Format: client-go's
`tools/clientcmd/api/v1`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from errno import EACCES
from pathlib import Path
from typing import Any

import yaml

from dtagent.errors import CredentialsError

FILE_MAX = 1 << 20  # bytes; a kubelet's kubeconfig with its certificates inline has some 6 KiB

NAME_MAX = 255  # bytes of a file's name (limits.h)


@dataclass(frozen=True)
class Credentials:
    """One kubeconfig's current context, ready to connect with."""

    source: Path
    server: str
    context: ssl.SSLContext
    token: str | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    proxy_url: str | None = None
    exposed: Path | None = None
    """The file with the secret, if every user of this host can read it."""


def load(source: Path) -> Credentials:
    """Read a kubeconfig's current context and build the TLS context that it stands for.

    Raises CredentialsError, which may pass: k3s rewrites its files one after the other.
    """
    cluster, user = current(source)
    for refused in ("exec", "auth-provider"):
        if refused in user:
            raise CredentialsError(
                f"{source}: uses an {refused} plugin, which dtagent does not run; "
                "give [node] kubeconfig a file with a certificate or a token"
            )
    server = str(cluster.get("server", ""))
    if not server.startswith("https://"):
        raise CredentialsError(f"{source}: server {server!r} is not an https:// address")
    if cluster.get("insecure-skip-tls-verify"):
        raise CredentialsError(
            f"{source}: insecure-skip-tls-verify is not supported; name its certificate-authority"
        )
    return Credentials(
        source=source,
        server=server.rstrip("/"),
        context=_tls(source, cluster, user),
        token=_token(source, user),
        tls_server_name=_text(source, cluster, "tls-server-name"),
        proxy_url=_text(source, cluster, "proxy-url"),
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


def current(source: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The cluster and the user of a kubeconfig's current context."""
    try:
        config = parsed(_read(source))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise CredentialsError(f"{source}{where}: not YAML") from error
    if not isinstance(config, dict):
        raise CredentialsError(f"{source}: not a kubeconfig")
    context = _entry(source, config, "context", config.get("current-context"))
    return (
        _entry(source, config, "cluster", context.get("cluster")),
        _entry(source, config, "user", context.get("user")),
    )


def parsed(content: bytes) -> Any:
    """What YAML says; YAMLError for what PyYAML itself stumbles over in other ways.

    Those are numbers of 5,000 digits, the 30th of February, ill-formed tags and deep nesting.
    """
    try:
        return yaml.safe_load(content)
    except (ValueError, AttributeError, RecursionError) as error:
        raise yaml.YAMLError(str(error)) from error


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


def _token(source: Path, user: Mapping[str, Any]) -> str | None:
    if file := user.get("tokenFile"):
        token = _read(source.parent / str(file)).decode("ascii", "replace").strip()
    else:
        token = str(user.get("token") or "")
    if not re.fullmatch("[!-~]*", token):
        raise CredentialsError(f"{source}: its token is not one word of ASCII")
    return token or None


def _tls(source: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    """Chain and host name are checked; X.509 strictness is not.

    Python 3.13 sets VERIFY_X509_STRICT, which refuses CAs without extensions, as microk8s makes
    them; a Go client accepts them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    authority = _pem(source, cluster, "certificate-authority")
    certificate = _pem(source, user, "client-certificate")
    key = _pem(source, user, "client-key")
    try:
        if authority is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise CredentialsError(f"{source}: its certificate-authority is not PEM") from error
    if certificate is not None and key is not None:
        try:
            with _in_memory(certificate + b"\n" + key) as pem:
                context.load_cert_chain(pem, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise CredentialsError(
                f"{source}: its client certificate and key are no pair in PEM, or are encrypted"
            ) from error
    return context


def _no_password() -> bytes:
    """Without it OpenSSL would ask for an encrypted key's password on the terminal."""
    return b""


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A file name for bytes that must never be on a disk: OpenSSL takes keys by name alone."""
    with os.fdopen(os.memfd_create("dtagent-key"), "wb", buffering=0) as file:
        file.write(content)
        yield f"/proc/self/fd/{file.fileno()}"


def _pem(source: Path, table: Mapping[str, Any], key: str) -> bytes | None:
    """`KEY-data`, which is base64, goes before the file that `KEY` names, as in client-go."""
    if data := table.get(f"{key}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except (binascii.Error, ValueError) as error:
            raise CredentialsError(f"{source}: {key}-data is not base64") from error
    return _read(source.parent / str(table[key])) if table.get(key) else None


def _shown(file: Path) -> str:
    """A file's name for a message; a key may have been put where its file's name belongs."""
    text = str(file)
    good = text.isprintable() and len(file.name) <= NAME_MAX
    return text if good else "a file that the kubeconfig names"


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_MAX + 1)
    except OSError as error:
        hint = "; the unit's sandbox may deny it, see dtagent(8)" if error.errno == EACCES else ""
        raise CredentialsError(f"{_shown(file)}: {error.strerror}{hint}") from error
    except ValueError as error:  # a NUL, or what is no UTF-8
        raise CredentialsError(f"{_shown(file)}: no name of a file") from error
    if len(content) > FILE_MAX:
        raise CredentialsError(f"{file}: larger than {FILE_MAX} bytes")
    return content
