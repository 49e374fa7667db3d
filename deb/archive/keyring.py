"""The package dtagent-archive-keyring: the public keys that `make repo` signs with.

Made here and not by `make deb`, since the keys are not known before. Its version is the time at
which the keys last changed, so the same keys give the same bytes, and later ones a later version.
No tool of debhelper's is needed for one file (deb(5), dpkg-deb(1)).
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path

from deb import host
from deb.archive.key import Key
from deb.archive.suites import KEYRING, KEYRING_PLACE
from deb.maintainer import maintainer

TEMPLATES = Path(__file__).parent / "templates"
DOCUMENTS = Path("usr/share/doc") / KEYRING


def package(key: Key, keyring: Path, pool: Path) -> Path:
    """Make the package of an exported keyring in the folder `pool`; the .deb file."""
    when = datetime.fromtimestamp(key.changed(), timezone.utc)
    values = {
        "VERSION": when.strftime("%Y%m%d.%H%M%S"),
        "DATE": format_datetime(when),
        "MAINTAINER": maintainer(),
        "SIZE": "4",  # KiB, rounded up (deb-substvars(5))
    }
    deb = pool / f"{KEYRING}_{values['VERSION']}_all.deb"
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary, "root")
        _lay_out(root, keyring, values)
        epoch = {"SOURCE_DATE_EPOCH": str(key.changed())}
        host.run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, deb, env=epoch)
    return deb


def _lay_out(root: Path, keyring: Path, values: dict[str, str]) -> None:
    """The files of the package; modes are those of Debian Policy 10.9, whatever the umask."""
    target = root / KEYRING_PLACE.lstrip("/")
    for folder in (target.parent, root / DOCUMENTS, root / "DEBIAN"):
        folder.mkdir(parents=True)
    shutil.copyfile(keyring, target)
    shutil.copyfile(TEMPLATES / "copyright", root / DOCUMENTS / "copyright")
    changelog = gzip.compress(_filled("changelog", values), mtime=0)
    (root / DOCUMENTS / "changelog.gz").write_bytes(changelog)
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    sums = [f"{hashlib.md5(f.read_bytes()).hexdigest()}  {f.relative_to(root)}\n" for f in files]  # noqa: S324
    (root / "DEBIAN/control").write_bytes(_filled("control", values))
    (root / "DEBIAN/md5sums").write_text("".join(sums))  # for dpkg --verify
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _filled(template: str, values: dict[str, str]) -> bytes:
    text = (TEMPLATES / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text.encode()
