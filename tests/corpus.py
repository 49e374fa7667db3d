"""The devicetrees of some thousand real boards, out of Debian's kernel packages.

apt-get is asked as an ordinary user, with a state of its own (apt.conf(5), Dir::State and
Dir::Cache) and the sources and keys in /etc/apt; the host's own packages are neither read nor
touched. What comes is kept in the cache.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

from deb.apt import archives
from deb.cache import cached
from deb.host import HostError, run

KERNELS = {"arm64": "linux-image-arm64", "armhf": "linux-image-armmp"}
"""For each architecture the package that depends on its newest kernel."""

CONFIG = """\
Dir::State "{work}/state";
Dir::State::lists "lists/";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
Dir::Cache::archives "archives/";
APT::Architecture "arm64";
#clear APT::Architectures;
APT::Architectures {{ "arm64"; "armhf"; }};
APT::Sandbox::User "root"; // the one who owns the work folder, where that is root
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
"""


class CorpusUnavailable(Exception):
    """No corpus on this machine; the message says why, for a test to skip with."""


def corpus() -> list[Path]:
    """The .dtb files, sorted, no two of the same content; fetched when they are not there yet.

    A corpus, once there, stays as it is until the machine's apt sources change.
    """
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise CorpusUnavailable(f"no {tool} here: the corpus comes from Debian's packages")
    try:
        # The number stands for what a corpus on disk looks like: another one fetches it anew.
        place = cached("corpus", ["2", repr(archives())], _fetch)
    except (OSError, HostError, tarfile.TarError) as error:
        raise CorpusUnavailable(f"the corpus could not be fetched: {error}") from error
    return sorted(place.rglob("*.dtb"))


def _fetch(made: Path, work: Path) -> None:
    """One kernel package for each architecture, the one the machine's own suite would install."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    configuration = work / "apt.conf"
    configuration.write_text(CONFIG.format(work=work))
    options = ("-q", "-c", configuration)
    try:
        said = run("apt-get", *options, "update")
    except HostError as error:  # one mirror in disorder may still leave all that is needed
        said = str(error)
    for architecture, newest in KERNELS.items():
        shown = run("apt-cache", *options, "show", "--no-all-versions", f"{newest}:{architecture}")
        kernel = re.search(r"^Depends:.*?\b(linux-image-[^ ,:|]+)", shown, re.MULTILINE)
        if kernel is None:
            wanted = f"{newest}:{architecture}"
            raise CorpusUnavailable(f"no {wanted} in reach of this machine's apt: {_reason(said)}")
        run("apt-get", *options, "download", f"{kernel[1]}:{architecture}", cwd=work)
        (package,) = work.glob(f"{kernel[1]}_*.deb")
        _unpack(package, made / architecture)


def _unpack(package: Path, boards: Path) -> None:
    """Write the package's .dtb files under `boards`, none that is there or beside it already."""
    seen = {hashlib.sha256(file.read_bytes()).digest() for file in boards.parent.rglob("*.dtb")}
    command = ("dpkg-deb", "--fsys-tarfile", str(package))
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".dtb") else None
            blob = content.read() if content else b""
            digest = hashlib.sha256(blob).digest()
            if blob and digest not in seen:
                seen.add(digest)
                path = PurePosixPath(member.name).parts[3:]  # after usr/lib/linux-image-VERSION
                file = boards.joinpath(*path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(blob)
        assert process.stdout is not None
        process.stdout.read()  # what pads the archive: dpkg-deb wants it taken
    if process.returncode or not boards.exists():
        raise CorpusUnavailable(f"dpkg-deb found no .dtb file in {package.name}")


def _reason(said: str) -> str:
    """The first complaint of an apt command, or that it had none."""
    complaints = (line for line in said.splitlines() if line.startswith(("E: ", "W: ")))
    return next(complaints, "it found no such package")
