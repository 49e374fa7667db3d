"""A container image made here of one static program, since no test may fetch one.

It serves as the sandbox of Pods, which Kubernetes calls the pause container, and as what runs in
them. Layout: the OCI image format, image-layout.md; the name that `ctr images import` gives it
stands in an annotation that is containerd's own.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deb.cache import cached
from deb.root import architecture
from tests.apiserver.build import compiled

NAME = "dtagent.test/pause:1"
"""What a Pod's specification calls it; a host of this name is asked for nothing."""

SOURCE = Path(__file__).parent / "pause"
PROGRAM = "program"
OCI = "application/vnd.oci.image"


def archive() -> Path:
    """The image as a file for `ctr images import`."""
    inputs: list[Path | str] = [SOURCE / "main.go", Path(__file__), architecture()]
    return cached("pause", inputs, _make) / "pause.tar"


def _make(made: Path, work: Path) -> None:
    program = compiled(SOURCE / "main.go", work)
    (made / "pause.tar").write_bytes(_packed(_files(program.read_bytes())))


def _files(program: bytes) -> dict[str, bytes]:
    """An OCI image layout: index, manifest, configuration, and a layer with the program."""
    blobs: dict[str, bytes] = {}

    def blob(kind: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    layer = blob("layer.v1.tar", _packed({PROGRAM: program}))
    image = {
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": [f"/{PROGRAM}"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    config = blob("config.v1+json", _json(image))
    manifest = blob(
        "manifest.v1+json", _json({"schemaVersion": 2, "config": config, "layers": [layer]})
    )
    named = {**manifest, "annotations": {"io.containerd.image.name": NAME}}
    return {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [named]}),
        **blobs,
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _packed(files: Mapping[str, bytes]) -> bytes:
    """A tar archive of `files`, each of which may be executed, and has no time."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
