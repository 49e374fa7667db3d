"""Node Feature Discovery from the Go module proxy: its programs, and the manifests it ships."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

from deb.cache import cached
from tests.apiserver import build

MODULE = Path(__file__).parent
"""Where go.mod and go.sum are."""

NAME = "sigs.k8s.io/node-feature-discovery"
PROGRAMS = {name: f"{NAME}/cmd/{name}" for name in ("nfd-master", "nfd-worker")}

FEATURES = "features.d"
"""Where our nfd-worker looks: in the folder that it runs in, so that each host of a test has its
own. The released one has /etc/kubernetes/node-feature-discovery before it."""

MANIFESTS = ("deployment/base/nfd-crds", "deployment/base/rbac")
"""The kinds that it stores, and the rights of its two service accounts."""


def nfd() -> Path:
    """The folder with nfd-master, nfd-worker and their manifests, built when need be."""
    settings = repr((_flags(), PROGRAMS, MANIFESTS, build.ENVIRONMENT, platform.machine()))
    return cached("nfd", [MODULE / "go.mod", MODULE / "go.sum", settings], _build)


def _build(made: Path, work: Path) -> None:
    build.build(PROGRAMS, made, work, _flags(), MODULE)
    shipped = build.source(NAME, MODULE, work)
    for folder in MANIFESTS:
        for manifest in (shipped / folder).glob("*.yaml"):
            shutil.copy(manifest, made)


def _flags() -> tuple[str, ...]:
    """Without symbols, with the version, which it wants to be told, and with `FEATURES`."""
    version = re.search(rf"{NAME} (v\S+)", (MODULE / "go.mod").read_text())
    assert version, "go.mod requires no release"
    stamps = {
        "pkg/version.version": version[1],
        "source/local.featureFilesDir": FEATURES,
    }
    values = (f"-X {NAME}/{variable}={value}" for variable, value in stamps.items())
    return (*build.FLAGS, f"-ldflags={' '.join(('-s', '-w', *values))}")
