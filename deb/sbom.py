"""The bundled flavour's bill of materials: python3 -m deb.sbom, in the build, after deb.unpack.

CycloneDX 1.5 (cyclonedx.org), which scanners of known vulnerabilities read; a component for each
wheel, named by its package URL (`pkg:pypi/NAME@VERSION`) and by the hash of the file that was
unpacked. Nothing in it depends on when or where it is written.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from .unpack import DOCUMENTS, Wheel

PLACE = "usr/share/doc/dtagent/dtagent.cdx.json"


def bill(version: str, wheels: list[Wheel]) -> dict[str, Any]:
    """The whole document, for a version of the package."""
    components = [_component(wheel) for wheel in wheels]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "dtagent",
                "name": "dtagent",
                "version": version,
            }
        },
        "components": components,
        "dependencies": [
            {"ref": "dtagent", "dependsOn": [component["bom-ref"] for component in components]}
        ],
    }


def _component(wheel: Wheel) -> dict[str, Any]:
    # pydantic-core is there once for each Python, so that a name and version are no reference.
    name = wheel.name.lower().replace("_", "-").replace(".", "-")
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": wheel.file.name,
        "name": name,
        "version": wheel.version,
        "purl": f"pkg:pypi/{name}@{wheel.version}?file_name={wheel.file.name}",
        "hashes": [
            {"alg": "SHA-256", "content": hashlib.sha256(wheel.file.read_bytes()).hexdigest()}
        ],
        "licenses": [{"license": {"name": wheel.license}}],
    }
    # What is linked into an extension module has a bill of its own, which the wheel brings.
    inner = [place for _, place in wheel.legal() if ".cyclonedx." in place]
    if inner:
        component["externalReferences"] = [
            {"type": "bom", "url": f"file:///{DOCUMENTS}/{wheel.name}/{place}"} for place in inner
        ]
    return component


def main() -> None:
    """For debian/rules: the package's version, the folder of wheels, and the package's."""
    version, files, package = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    wheels = [Wheel.open(file) for file in sorted(files.glob("*.whl"))]
    (package / PLACE).write_text(json.dumps(bill(version, wheels), indent=1) + "\n")


if __name__ == "__main__":
    main()
