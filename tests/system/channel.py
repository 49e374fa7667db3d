"""An APT repository as `make repo` makes it, served over loopback by a static web server.

http.server's handler with one fault of its own: a path that ends in .deb under /cut/ ends in the
middle of the file, as a connection that breaks does.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from deb.archive import key, suites, tree
from deb.archive.key import Key

from .packages import Package
from .site import Site

OURS_ALONE = {"/etc/apt/sources.list": b""}
"""No archive of Debian's: the dependencies are installed, and nothing is fetched from outside."""

SOURCES = "/etc/apt/sources.list.d/dtagent.sources"


class Channel:
    """A repository that grows, and copies of it that are not what they were."""

    def __init__(self, folder: Path, signer: Key, address: str, suite: str) -> None:
        self._folder, self.signer, self._address, self.suite = folder, signer, address, suite

    def publish(self, *packages: Package) -> None:
        """What `make repo` does with them."""
        debs = [package.deb for package in packages]
        tree.publish(debs, self._folder / "repo", self.signer, self.address)

    @property
    def address(self) -> str:
        """What a host's sources name."""
        return f"{self._address}/repo/"

    def beside(self, name: str, content: str) -> str:
        """The address of one more file on the same server."""
        (self._folder / name).write_text(content)
        return f"{self._address}/{name}"

    @property
    def keyring(self) -> bytes:
        return (self._folder / "repo" / f"{suites.KEYRING}.pgp").read_bytes()

    def sources(self, repository: str = "repo") -> str:
        """The file that the repository has for this release."""
        file = self._folder / repository / "dists" / self.suite / "dtagent.sources"
        return file.read_text().replace("/repo/", f"/{repository}/")

    def changed(self, name: str, pattern: str, change: Callable[[bytes], bytes]) -> str:
        """The sources of a copy in which the files of a pattern are changed."""
        copy = self._folder / name
        shutil.copytree(self._folder / "repo", copy)
        found = [path for path in copy.glob(pattern) if path.is_file()]
        assert found, pattern
        for path in found:
            path.write_bytes(change(path.read_bytes()))
        return self.sources(name)

    def signed(self, name: str, by: Key, edit: Callable[[str], str] = str) -> str:
        """The sources of a copy whose Release file is another, or signed by another key."""
        sources = self.changed(name, f"dists/{self.suite}/InRelease", bytes)
        release = self._folder / name / "dists" / self.suite / "Release"
        release.write_text(edit(release.read_text()))
        by.sign(release, release.with_name("InRelease"), "--clearsign")
        return sources


class _Handler(SimpleHTTPRequestHandler):
    def copyfile(self, source: Any, outputfile: Any) -> None:
        if self.path.startswith("/cut/") and self.path.endswith(".deb"):
            outputfile.write(source.read(10_000))
        else:
            super().copyfile(source, outputfile)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def channel(suite: str, *packages: Package) -> Iterator[Channel]:
    """A repository of these packages with a key of its own, for hosts of one suite."""
    # Not under pytest's folder: a path of gpg's socket has 107 characters (unix(7)).
    with tempfile.TemporaryDirectory(prefix="dtagent-channel-") as temporary:
        home, folder = Path(temporary, "gpg"), Path(temporary, "served")
        home.mkdir()
        folder.mkdir()
        handler = partial(_Handler, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            signer = key.generate(home, "channel under test <nobody@dtagent.invalid>")
            address = f"http://127.0.0.1:{server.server_port}"
            found = Channel(folder, signer, address, suite)
            found.publish(*packages)
            yield found
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
            key.end_agent(home)


def subscribe(site: Site, channel: Channel) -> None:
    """What the README has a user do: the key and the sources in their places."""
    site.machine.put(suites.KEYRING_PLACE, channel.keyring)
    site.machine.put(SOURCES, channel.sources())
