"""The devicetrees of some thousand real boards, out of Debian's kernel packages.

apt-get is asked as an ordinary user, with a state of its own (apt.conf(5), Dir::State and
Dir::Cache) and the sources and keys in /etc/apt; the host's own packages are neither read nor
touched. What comes is kept under the cache directory of the XDG Base Directory Specification.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

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
        cache = _cache()
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / "corpus.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left_over in cache.glob(".corpus-*"):  # by a fetch that was killed
                shutil.rmtree(left_over)
            with tempfile.TemporaryDirectory(dir=cache, prefix=".corpus-") as work:
                place = _fetched(cache, Path(work))
    except (OSError, subprocess.TimeoutExpired, tarfile.TarError) as error:
        raise CorpusUnavailable(f"the corpus could not be fetched: {error}") from error
    return sorted(place.rglob("*.dtb"))


def _cache() -> Path:
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = configured if configured.is_absolute() else Path.home() / ".cache"
    return home / "dtagent"


def _fetched(cache: Path, work: Path) -> Path:
    """The corpus for this machine's apt sources; it takes its place whole or not at all."""
    for folder in ("state/lists/partial", "cache/archives/partial", "boards"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    (work / "apt.conf").write_text(CONFIG.format(work=work))
    sources = _run(work, "apt-get", "update", "--print-uris").stdout
    # The number stands for what a corpus on disk looks like: another one fetches it anew.
    key = hashlib.sha256(f"1\n{sources}".encode()).hexdigest()[:12]
    place = cache / f"corpus-{key}"
    if not place.exists():
        for architecture, package in _download(work).items():
            _unpack(package, work / "boards" / architecture)
        (work / "boards").rename(place)
    return place


def _download(work: Path) -> dict[str, Path]:
    """One kernel package for each architecture, the one the machine's own suite would install."""
    # One mirror in disorder fails the update and may still leave all that is needed.
    update = _run(work, "apt-get", "-q", "update", check=False)
    packages = {}
    for architecture, newest in KERNELS.items():
        asked = ("apt-cache", "show", "--no-all-versions", f"{newest}:{architecture}")
        shown = _run(work, *asked, check=False).stdout
        kernel = re.search(r"^Depends:.*?\b(linux-image-[^ ,:|]+)", shown, re.MULTILINE)
        if kernel is None:
            raise CorpusUnavailable(
                f"no {newest}:{architecture} in reach of this machine's apt: {_reason(update)}"
            )
        _run(work, "apt-get", "-q", "download", f"{kernel[1]}:{architecture}")
        (packages[architecture],) = work.glob(f"{kernel[1]}_*.deb")
    return packages


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


def _run(work: Path, tool: str, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = (tool, "-c", str(work / "apt.conf"), *args)
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command,
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,  # seconds: a kernel package is 60 MB and more
        check=False,
    )
    if check and done.returncode:
        raise CorpusUnavailable(f"{tool} {args[-1]} failed: {_reason(done)}")
    return done


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The first complaint of an apt command, or that it had none."""
    complaints = (line for line in done.stderr.splitlines() if line.startswith(("E: ", "W: ")))
    return next(complaints, "it found no such package")
