"""Faults of the Node itself, by whoever else may write it, and of the server that keeps it."""

from __future__ import annotations

from tests.host import PREFIX

from .by_network import REFUSED, SILENT
from .fault import Fault, nothing
from .scene import THEIRS, Scene

BOARD = PREFIX + "acme-board"
LONGER = 25.0
"""Seconds: more than a request may take."""


def edit(scene: Scene) -> None:
    scene.edit({BOARD: "9"})


def delete_label(scene: Scene) -> None:
    scene.edit({BOARD: None})


def delete_node(scene: Scene) -> None:
    scene.cluster.delete_node(scene.name)


def create_node(scene: Scene) -> None:
    """As a kubelet registers it: the same name, another uid."""
    scene.cluster.create_node(scene.name, THEIRS)


def recreate(scene: Scene) -> None:
    states = len(scene.nodes.history(scene.name))
    delete_node(scene)
    create_node(scene)
    scene.nodes.wait_history(scene.name, states)


def on_server(
    name: str,
    begin: str,
    end: str,
    says: str,
    seconds: float = 3.0,
) -> Fault:
    """A fault of the whole server: two of ApiServer's methods."""
    return Fault(
        name,
        lambda scene: getattr(scene.cluster, begin)(),
        lambda scene: getattr(scene.cluster, end)(),
        says,
        own_server=True,
        seconds=seconds,
    )


FAULTS = [
    Fault("label-edited", edit, changes=False, blocks=False, seconds=0),
    Fault("label-deleted", delete_label, changes=False, blocks=False, seconds=0),
    Fault("node-deleted", delete_node, create_node, "there is no Node"),
    Fault("node-recreated", recreate, changes=False, blocks=False, seconds=0),
    Fault("node-recreated-meanwhile", recreate, nothing, blocks=False, seconds=0),
    on_server("server-restarted", "stop_server", "start_server", REFUSED),
    on_server("server-frozen", "freeze", "thaw", ""),
    on_server("server-frozen-for-longer", "freeze", "thaw", SILENT, LONGER),
]
