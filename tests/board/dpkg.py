"""dpkg's own records, for packages that were unpacked without dpkg.

With them the board's dpkg knows what is there, so that a .deb under test is installed, upgraded
and removed as on any Debian, its dependencies checked. Layout: dpkg(1), FILES; deb(5).
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path


def record(deb: Path, root: Path) -> None:
    """Enter one package as installed. Its maintainer scripts are kept for later, not run."""
    database = root / "var/lib/dpkg"
    info = database / "info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "format").write_text("1\n")
    control = _members(deb)
    stanza = control.pop("control")[0].decode().rstrip("\n")
    name = _file_name(stanza)
    for kind, (content, mode) in control.items():
        path = info / f"{name}.{kind}"
        path.write_bytes(content)
        path.chmod(mode)
    (info / f"{name}.list").write_text("\n".join(_paths(deb)) + "\n")
    first, rest = stanza.split("\n", 1)
    with open(database / "status", "a") as status:
        status.write(f"{first}\nStatus: install ok installed\n{rest}\n\n")


def _open(deb: Path, part: str) -> tarfile.TarFile:
    tar = subprocess.run(["dpkg-deb", part, deb], stdout=subprocess.PIPE, check=True).stdout
    return tarfile.open(fileobj=io.BytesIO(tar))


def _members(deb: Path) -> dict[str, tuple[bytes, int]]:
    """The control files of a package, by name: content and mode."""
    with _open(deb, "--ctrl-tarfile") as tar:
        return {
            Path(member.name).name: (file.read(), member.mode)
            for member in tar
            if (file := tar.extractfile(member))
        }


def _paths(deb: Path) -> list[str]:
    """Every path a package holds, in the form of a .list file, where the root is `/.`."""
    with _open(deb, "--fsys-tarfile") as tar:
        return [name.removeprefix(".").rstrip("/") or "/." for name in tar.getnames()]


def _file_name(stanza: str) -> str:
    """Packages that can be there for several architectures at once carry theirs in the name."""
    fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
    several = fields.get("Multi-Arch") == "same"
    return fields["Package"] + (f":{fields['Architecture']}" if several else "")
