"""How packages are built: the same twice, without network, from the checkout's own files."""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path

import pytest

from deb import root, source
from deb.__main__ import again
from deb.build import FLAVOURS, LINTIAN, TOOLS, Flavour, built
from deb.container import inside, writable
from deb.host import HostError
from deb.maintainer import NOBODY
from deb.source import Source

from .conftest import CHECKOUT, Package, named


def test_a_second_build_elsewhere_and_later_is_the_same_bytes(
    package: Package, tmp_path: Path
) -> None:
    second = again(package.flavour, CHECKOUT, tmp_path)
    assert filecmp.cmp(second, package.deb, shallow=False)


def test_what_has_not_changed_is_not_built_again(package: Package) -> None:
    before = package.deb.stat()
    after = built(package.flavour, CHECKOUT).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("flavour", [FLAVOURS[0], FLAVOURS[-1]], ids=named)
def test_its_suites_lintian_finds_neither_error_nor_warning_and_would_say_so(
    flavour: Flavour, tmp_path: Path
) -> None:
    """The build fails on either; here the package is broken to see that."""
    with writable(root.root(flavour.suite, TOOLS)) as folder:
        deb = Path(shutil.copy(built(flavour, CHECKOUT), folder / "opt"))
        inside(folder, *LINTIAN, f"/opt/{deb.name}")
        script = (
            f"cd /opt && dpkg-deb -R {deb.name} x && rm x/usr/share/doc/dtagent/copyright"
            " && dpkg-deb -b x broken.deb"
        )
        inside(folder, "sh", "-c", script)
        with pytest.raises(HostError, match="no-copyright-file"):
            inside(folder, *LINTIAN, "/opt/broken.deb")


def test_a_build_has_no_network(tmp_path: Path) -> None:
    with writable(root.root("trixie", TOOLS)) as folder:
        interfaces = inside(folder, "cat", "/proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def test_a_root_stays_what_it_was_made(tmp_path: Path) -> None:
    below = root.root("trixie", TOOLS)
    before = {path: path.lstat().st_ctime_ns for path in below.rglob("*")}
    with writable(below) as folder:
        inside(folder, "sh", "-c", "echo changed > /etc/debian_version && rm -r /usr/share")
        assert (folder / "etc/debian_version").read_text() == "changed\n"
        assert not (folder / "usr/share").exists()
    assert {path: path.lstat().st_ctime_ns for path in below.rglob("*")} == before
    assert not folder.exists()


def test_the_source_is_what_git_knows_or_would(tmp_path: Path) -> None:
    Source.of_checkout().export(tmp_path, bundled=False)
    exported = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert {"dtagent/cli.py", "packaging/debian/rules", "pyproject.toml"} <= exported
    assert not {
        name for name in exported if "__pycache__" in name or name.startswith((".", "tests"))
    }
    assert (tmp_path / "debian/control").samefile(tmp_path / "packaging/debian/control")


def test_the_bundled_flavours_source_has_its_own_control_file_and_version(tmp_path: Path) -> None:
    Source.of_checkout().export(tmp_path, bundled=True)
    _, own = CHECKOUT.files[source.BUNDLED / "control"]
    assert (tmp_path / "debian/control").read_bytes() == own
    first = (tmp_path / "debian/changelog").read_text().splitlines()[0]
    assert first.startswith(f"dtagent ({source.version()}{source.REVISION}) ")


@pytest.mark.parametrize("bundled", [False, True])
def test_the_maintainer_is_who_builds_or_nobody(
    bundled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, address in (("A Builder", "builder@build.test"), (None, None)):
        for key, value in (("DEBFULLNAME", name), ("DEBEMAIL", address)):
            monkeypatch.setenv(key, value) if value else monkeypatch.delenv(key)
        folder = tmp_path / str(name)
        folder.mkdir()
        Source.of_checkout().export(folder, bundled)
        expected = f"{name} <{address}>" if name else NOBODY
        assert f"\nMaintainer: {expected}\n" in (folder / "debian/control").read_text()
        assert f"\n -- {expected}  " in (folder / "debian/changelog").read_text()


@pytest.mark.parametrize(
    ("name", "address"),
    [("A Builder", ""), ("", "a@b.test"), ("A\nBuilder", "a@b.test"), ("A Builder", "nowhere")],
)
def test_half_a_maintainer_is_refused(
    name: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBFULLNAME", name)
    monkeypatch.setenv("DEBEMAIL", address)
    with pytest.raises(HostError, match="set both"):
        Source.of_checkout()


def test_a_changelog_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Source.of_checkout().export(tmp_path, bundled=False)
    changelog = tmp_path / "packaging/debian/changelog"
    changelog.write_text(changelog.read_text().replace(source.version(), "99.0", 1))
    monkeypatch.setattr(source, "CHECKOUT", tmp_path)
    with pytest.raises(HostError, match=r"changelog begins: dtagent \(99\.0\)"):
        source.version()
