"""A board on which the agent runs as its unit, for a Node of a real API server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.apiserver import ApiServer
from tests.process import wait_for

from .blobs import overlays
from .machine import Board

ROOT = Path(__file__).parents[2]
SCRIPTS = ("rounds.py", "renumber.py")
BOOT_LABEL = "beta.devicetree.org/brcm-bcm2711"

UNIT = b"""\
[Service]
ExecStart=
ExecStart=/usr/bin/python3 -m dtagent run
ExecReload=
ExecReload=/bin/kill -HUP $MAINPID
Environment=PYTHONPATH=/usr/lib/dtagent
"""
CONFIG = b"""\
[node]
kubeconfig = "/etc/dtagent.kubeconfig"
[devicetree]
nodes = ["/", "compatible:acme,*"]
"""


@contextlib.contextmanager
def board_with_agent(cluster: ApiServer, folder: Path) -> Iterator[Board]:
    """A board called `board` that has booted and published; its kubeconfig is made in `folder`."""
    port = cluster.url.rpartition(":")[2]
    kubeconfig = cluster.kubeconfig(
        "board", path=folder / "kubeconfig", inline=True, server=f"https://10.0.2.2:{port}"
    )
    cluster.create_node("board")
    files: dict[str, bytes | Path] = {
        "/usr/lib/dtagent/dtagent": ROOT / "dtagent",
        "/etc/systemd/system/dtagent.service": ROOT / "packaging" / "dtagent.service",
        "/etc/systemd/system/dtagent.service.d/board.conf": UNIT,
        "/etc/dtagent.toml": CONFIG,
        "/etc/dtagent.kubeconfig": kubeconfig,
    }
    files |= {f"/usr/lib/dtagent/{name}": Path(__file__).with_name(name) for name in SCRIPTS}
    files |= {f"/lib/firmware/{name}.dtbo": blob for name, blob in overlays().items()}
    with Board(files) as board:
        # As the package's installation does.
        board.run("python3 -m compileall -q /usr/lib/dtagent/dtagent", check=True)
        board.run("systemctl start dtagent", check=True)
        wait_for(lambda: BOOT_LABEL in cluster.labels("board"), "labels")
        board.run("systemctl is-active dtagent", check=True)
        yield board
