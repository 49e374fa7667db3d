"""The libraries that the bundled flavour carries: as published, listed, for every Python named."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path

import pytest

from deb.unpack import ONLY, Wheel, install
from deb.wheels import PYTHONS, wheels

from .conftest import Package

# Machine numbers of ELF headers, at byte 18 (elf(5)).
MACHINES = {"amd64": 62, "arm64": 183, "armhf": 40}


def published(package: Package) -> list[Wheel]:
    return [Wheel.open(file) for file in wheels(package.flavour.architecture)]


def test_every_module_is_as_its_wheel_has_it(bundled: Package) -> None:
    wanted = {
        name: wheel.archive.read(name) for wheel in published(bundled) for name in wheel.modules()
    }
    installed = {
        str(path.relative_to(bundled.library)): path.read_bytes()
        for path in bundled.library.rglob("*")
        if path.is_file()
    }
    ours = re.compile(r"dtagent/|[^/]+\.dist-info/METADATA$")
    assert {name: installed[name] for name in installed if not ours.match(name)} == wanted


def wheel(folder: Path, python: str, content: str) -> Wheel:
    """A wheel of one distribution for one Python, with one module."""
    file = folder / f"thing-1.0-{python}-{python}-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("thing.py", content)
        archive.writestr("thing-1.0.dist-info/METADATA", "Name: thing\nVersion: 1.0\n")
    return Wheel.open(file)


def test_one_folder_holds_wheels_for_several_pythons_unless_they_differ(tmp_path: Path) -> None:
    install([wheel(tmp_path, "cp310", "same"), wheel(tmp_path, "cp311", "same")], tmp_path / "1")
    assert (tmp_path / "1/usr/lib/dtagent/thing.py").read_text() == "same"
    with pytest.raises(SystemExit, match=r"two wheels differ in .*thing\.py"):
        install([wheel(tmp_path, "cp310", "one"), wheel(tmp_path, "cp311", "two")], tmp_path / "2")


def test_pydantic_core_is_there_for_every_python_of_the_releases(bundled: Package) -> None:
    modules = sorted((bundled.library / "pydantic_core").glob("*.so"))
    tags = [re.search(r"\.cpython-3(\d+)-", module.name) for module in modules]
    assert [f"3.{tag[1]}" for tag in tags if tag] == list(PYTHONS)
    for module in modules:
        head = module.read_bytes()[:20]
        assert head[:4] == b"\x7fELF"
        assert int.from_bytes(head[18:20], "little") == MACHINES[bundled.flavour.architecture]
    lowest, highest = PYTHONS[0], PYTHONS[-1].partition(".")[2]
    depends = bundled.fields["Depends"]
    assert f"python3 (>= {lowest})" in depends
    assert f"python3 (<< 3.{int(highest) + 1})" in depends


def test_the_c_library_that_is_depended_on_is_the_one_the_modules_want(bundled: Package) -> None:
    found = re.search(r"libc6 \(>= 2\.(\d+)\)", bundled.fields["Depends"])
    assert found
    for module in bundled.library.rglob("*.so"):
        wanted = re.findall(rb"GLIBC_2\.(\d+)", module.read_bytes())
        assert max(int(minor) for minor in wanted) <= int(found[1])


def test_of_the_kubernetes_client_there_is_what_the_agent_imports(bundled: Package) -> None:
    package = bundled.library / "kubernetes"
    files = {str(path.relative_to(bundled.library)) for path in package.rglob("*.*")}
    assert files == set(ONLY["kubernetes"])


def test_every_library_is_listed_with_its_version_and_licence(bundled: Package) -> None:
    documents = bundled.files / "usr/share/doc/dtagent"
    table = (documents / "bundled/README").read_text().splitlines()
    rows = [line.split() for line in table]
    copyright_ = (documents / "copyright").read_text()
    for wheel in published(bundled):
        assert [wheel.name, wheel.version, *wheel.license.split()] in rows
        assert list((documents / "bundled" / wheel.name).glob("LICENSE*"))
        for top in {name.partition("/")[0] for name in wheel.modules()}:
            assert f"Files: usr/lib/dtagent/{top}" in copyright_


def test_what_is_linked_into_the_extension_modules_is_listed_too(bundled: Package) -> None:
    bills = bundled.files / "usr/share/doc/dtagent/bundled/pydantic_core"
    for python in PYTHONS:
        assert list(bills.glob(f"cp{python.replace('.', '')}/*.cyclonedx.json*"))


def test_the_bill_of_materials_has_each_wheel_with_its_hash(bundled: Package) -> None:
    documents = bundled.files / "usr/share/doc/dtagent"
    said = json.loads((documents / "dtagent.cdx.json").read_text())
    assert said["metadata"]["component"]["version"] == bundled.fields["Version"]
    components = {each["bom-ref"]: each for each in said["components"]}
    files = wheels(bundled.flavour.architecture)
    assert set(components) == {file.name for file in files}
    for file in files:
        component, wheel = components[file.name], Wheel.open(file)
        name = re.sub(r"[-_.]+", "-", wheel.name).lower()
        assert (component["name"], component["version"]) == (name, wheel.version)
        assert component["purl"].startswith(f"pkg:pypi/{name}@{wheel.version}?")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert component["hashes"] == [{"alg": "SHA-256", "content": digest}]
        for reference in component.get("externalReferences", []):
            assert (bundled.files / reference["url"].removeprefix("file:///")).is_file()


def test_scanners_find_the_versions_beside_the_modules(bundled: Package) -> None:
    for wheel in published(bundled):
        metadata = bundled.library / wheel.info / "METADATA"
        assert f"Version: {wheel.version}\n" in metadata.read_text()
