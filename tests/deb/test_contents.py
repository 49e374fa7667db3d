"""What a package brings, and what it says of itself."""

from __future__ import annotations

import gzip
import re
from datetime import timezone
from email.utils import parsedate_to_datetime

from deb.source import version

from .conftest import CHECKOUT, Package, source

MEGABYTE = 10**6


def text(package: Package, path: str) -> str:
    return (package.files / path).read_text()


def test_a_package_is_the_version_of_the_agent(package: Package) -> None:
    revision = "~bundled1" if package.flavour.bundled else ""
    assert package.fields["Package"] == "dtagent"
    assert package.fields["Version"] == version() + revision
    assert package.fields["Architecture"] == package.flavour.architecture


def test_a_package_is_small(package: Package) -> None:
    assert package.deb.stat().st_size < 50 * MEGABYTE
    assert int(package.fields["Installed-Size"]) * 1024 < 50 * MEGABYTE


def test_the_flavour_on_the_releases_own_libraries_carries_none(package: Package) -> None:
    depends = package.fields["Depends"]
    carried = {path.name for path in package.library.iterdir()}
    for library in ("kubernetes", "pydantic-settings", "watchdog"):
        assert (f"python3-{library} " in depends) != package.flavour.bundled
    assert (carried == {"dtagent"}) != package.flavour.bundled


def test_what_every_release_has_new_enough_comes_from_it(package: Package) -> None:
    for library in ("sdnotify", "systemd", "urllib3", "yaml"):
        assert f"python3-{library}" in package.fields["Depends"]
    for module in ("sdnotify", "systemd", "urllib3", "yaml", "requests", "certifi"):
        assert not list(package.library.glob(f"{module}*"))


def test_the_agents_modules_are_the_checkouts(package: Package) -> None:
    modules = {str(path): content for path, (_, content) in CHECKOUT.files.items()
               if path.parts[0] == "dtagent"}  # fmt: skip
    installed = [path for path in (package.library / "dtagent").rglob("*") if path.is_file()]
    assert {
        str(path.relative_to(package.library)): path.read_bytes() for path in installed
    } == modules


def test_the_launcher_starts_an_isolated_interpreter(package: Package) -> None:
    assert text(package, "usr/bin/dtagent").startswith("#!/usr/bin/python3 -I\n")
    assert (package.files / "usr/bin/dtagent").stat().st_mode & 0o777 == 0o755


def test_the_unit_lies_where_its_releases_debhelper_and_systemd_look(package: Package) -> None:
    folder = "lib/systemd/system" if package.flavour.bundled else "usr/lib/systemd/system"
    assert text(package, f"{folder}/dtagent.service") == source("packaging/dtagent.service")


def test_installation_enables_and_starts_and_an_upgrade_restarts_what_runs(
    package: Package,
) -> None:
    postinst = (package.control / "postinst").read_text()
    assert "deb-systemd-helper enable 'dtagent.service'" in postinst
    assert re.search(
        r'if \[ -n "\$2" \]; then\s+deb-systemd-invoke try-restart \'dtagent.service\'', postinst
    )
    assert "deb-systemd-invoke start dtagent.service >/dev/null || true" in postinst


def test_modules_are_compiled_before_the_service_starts_and_cleaned_at_removal(
    package: Package,
) -> None:
    postinst = (package.control / "postinst").read_text()
    assert "/usr/lib/dtagent" in postinst
    assert postinst.index("py3compile -p dtagent") < postinst.index("deb-systemd-invoke")
    prerm = (package.control / "prerm").read_text()
    assert prerm.index("deb-systemd-invoke stop 'dtagent.service'") < prerm.index("py3clean")


def test_removal_stops_and_purge_forgets(package: Package) -> None:
    postrm = (package.control / "postrm").read_text()
    assert "deb-systemd-helper purge 'dtagent.service'" in postrm


def test_the_configuration_is_a_conffile_with_a_folder_of_dropins(package: Package) -> None:
    assert (package.control / "conffiles").read_text().split() == ["/etc/dtagent.toml"]
    assert text(package, "etc/dtagent.toml") == source("etc/dtagent.toml")
    assert list((package.files / "etc/dtagent.toml.d").iterdir()) == []


def test_documents_come_along(package: Package) -> None:
    for name in ("dtagent.toml.reference", "nfd.conf"):
        installed = text(package, f"usr/share/doc/dtagent/examples/{name}")
        assert installed == source(f"packaging/{name}")
    for name in ("ansible/dtagent.yml", "cloud-init/user-data", "k3s/config.yaml"):
        installed = text(package, f"usr/share/doc/dtagent/examples/{name}")
        assert installed == source(f"examples/{name}")
    catalog = "usr/lib/systemd/catalog/dtagent.catalog"
    assert text(package, catalog) == source("packaging/dtagent.catalog")
    for section, page in ((8, "dtagent.8"), (5, "dtagent.toml.5")):
        compressed = (package.files / f"usr/share/man/man{section}/{page}.gz").read_bytes()
        assert gzip.decompress(compressed).decode() == source(f"packaging/man/{page}")


def test_completion_lies_where_bash_and_zsh_look_for_it(package: Package) -> None:
    for path, line in (
        ("usr/share/bash-completion/completions/dtagent", r"complete .*-F _shtab_dtagent dtagent"),
        ("usr/share/zsh/vendor-completions/_dtagent", "#compdef dtagent"),
    ):
        assert re.search(f"(?m)^{line}$", text(package, path))
        assert (package.files / path).stat().st_mode & 0o777 == 0o644


def test_every_file_is_roots_and_as_old_as_the_changelog(package: Package) -> None:
    dates = {line.split()[3] for line in package.listing()}
    assert {line.split()[1] for line in package.listing()} == {"root/root"}
    dated = re.findall(r"(?m)^ -- .+>  (.+)$", source("packaging/debian/changelog"))[0]
    assert dates == {parsedate_to_datetime(dated).astimezone(timezone.utc).strftime("%Y-%m-%d")}


def test_nothing_is_compiled_or_left_over_in_it(package: Package) -> None:
    names = [line.split()[5] for line in package.listing()]
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", "~"))]
