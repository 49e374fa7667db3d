"""`make portable`: the bundled flavour as an image for systems that cannot take a .deb.

A portable service (portablectl(1); systemd.io, "Portable Services"): the image has a /usr with
Python and the package, and the package's unit; /etc, /var and /run are the host's, so that the
configuration and the kubeconfigs are where they are for the package. systemd 249 and newer.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from deb import cache, host, root
from deb.build import FLAVOURS, TOOLS, Flavour, built
from deb.container import inside, writable
from deb.package import depends
from deb.source import CHECKOUT, Source, version

SUITE = "trixie"
"""Whose Python is in the image: the newest that the bundled flavour runs on."""

OF_THE_HOST = """
# In a portable image /usr is the image's, and the rest is the host's.
[Service]
BindReadOnlyPaths=/etc /var -/opt
"""
MOUNT_POINTS = ("dev", "etc", "opt", "proc", "root", "run", "sys", "tmp", "var/tmp")
UNWANTED = ("doc", "doc-base", "info", "lintian", "locale", "man", "pixmaps", "zoneinfo")
"""Folders of /usr/share that no agent reads."""

CERTIFI = """\
def where():
    return "/usr/lib/dtagent/certificates.pem"
"""
COMPILE = ("python3", "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", "-s/srv")


def image(flavour: Flavour, source: Source) -> Path:
    """The image of one architecture, from the cache or made now."""
    host.ensure(("squashfs-tools",))
    deb = built(flavour, source)
    packages = ["base-files", "dash", *depends(deb)]

    def unpack(made: Path, _: Path) -> None:
        root.unpacked(SUITE, flavour.architecture, packages, made / "files")

    inputs: list[Path | str] = [*root.RECIPE, SUITE, flavour.architecture, " ".join(packages)]
    base = cache.cached(f"portable-base-{flavour.architecture}", inputs, unpack) / "files"

    def make(made: Path, _: Path) -> None:
        with writable(root.root(SUITE, TOOLS)) as folder:
            files = folder / "srv/image"
            shutil.copytree(base, files, symlinks=True)
            _lay_out(files, deb)
            inside(folder, *COMPILE, "/srv/image/usr/lib")
            _squash(files, made / f"dtagent_{version()}_{flavour.architecture}.raw")

    inputs = [Path(__file__), base.parent.name, deb]
    return next(cache.cached(f"portable-{flavour.architecture}", inputs, make).iterdir())


def _lay_out(files: Path, deb: Path) -> None:
    """The package over what it depends on, and nothing but /usr and places to mount on."""
    package = files.with_name("package")  # aside: it has a /lib, where here is a link to /usr/lib
    host.run("dpkg-deb", "--extract", deb, package)
    shutil.copytree(package / "usr", files / "usr", symlinks=True, dirs_exist_ok=True)
    _carry_certificates(files / "usr")
    for name in UNWANTED:
        shutil.rmtree(files / "usr/share" / name, ignore_errors=True)
    for path in files.iterdir():
        if path.name != "usr" and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    for name in MOUNT_POINTS:
        (files / name).mkdir(parents=True)
    # What the profiles of portablectl mount a file on.
    for name in ("etc/machine-id", "etc/resolv.conf"):
        (files / name).touch()
    unit = "lib/systemd/system/dtagent.service"
    units = (files / "usr" / unit).parent
    shutil.rmtree(units, ignore_errors=True)  # of what it depends on
    units.mkdir(parents=True)
    (files / "usr" / unit).write_text((package / unit).read_text() + OF_THE_HOST)


def _carry_certificates(usr: Path) -> None:
    """The bundle that certifi names, which the kubernetes client reads whatever it is to trust.

    Debian's certifi names one under /etc, and a host need not have it.
    """
    library = usr / "lib/dtagent"
    found = sorted((usr / "share/ca-certificates").rglob("*.crt"))
    (library / "certificates.pem").write_text("".join(file.read_text() for file in found))
    (library / "certifi.py").write_text(CERTIFI)


def _squash(files: Path, image: Path) -> None:
    options = ("-noappend", "-all-root", "-comp", "zstd", "-quiet", "-no-progress")
    # The same bytes for the same files: times are of no use in it.
    host.run("mksquashfs", files, image, *options, env={"SOURCE_DATE_EPOCH": "0"})


def main() -> int:
    dist = CHECKOUT / "dist"
    dist.mkdir(exist_ok=True)
    try:
        source = Source.of_checkout()
        for flavour in FLAVOURS:
            if flavour.bundled:
                file = Path(shutil.copy(image(flavour, source), dist))
                print(f"{file.relative_to(CHECKOUT)}: {file.stat().st_size / 1e6:.1f} MB")
    except host.HostError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
