"""What the journal is told: one entry an event, with fields, a priority and an explanation."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from demo.tree import add_node, remove_node, strings
from dtagent.host import log
from tests.apiserver import ApiServer
from tests.process import wait_for

from .journal import DEBUG, ERROR, INFO, NOTICE, WARNING, mark
from .packages import Package
from .secrets import secrets, shown
from .site import KUBECONFIG, PREFIX, Site, running

OVERLAYS = "/srv/overlays"
CONFIG = f"""\
log_level = "debug"
resync_interval = "1s"
[devicetree]
nodes = ["/", "compatible:acme,*"]
[overlays]
path = "{OVERLAYS}"
[[rules]]
label = "example.com/model"
property = "model"
"""
MESSAGE_IDS = {
    name: value
    for name, value in vars(log).items()
    if name.isupper() and isinstance(value, str) and len(value) == 32
}
FORGED = "an entry of its own"
UNKNOWN = uuid.uuid4().hex


@pytest.fixture(scope="module")
def place(package: Package, cluster: ApiServer) -> Iterator[Site]:
    """An agent that says all it has to say, and looks at the Node each second."""
    with running(package, cluster, config=CONFIG) as site:
        yield site


def has(site: Site, key: str) -> bool:
    return key in site.labels


def test_each_message_id_has_an_explanation_in_the_catalog(site: Site) -> None:
    assert MESSAGE_IDS
    for name, message_id in MESSAGE_IDS.items():
        said = site.machine.run(f"journalctl --dump-catalog {message_id}", check=True).stdout
        assert "Subject: " in said and "Defined-By: dtagent" in said, name


def test_journalctl_x_explains_an_entry_with_its_own_node(site: Site) -> None:
    said = site.machine.run("journalctl -x -u dtagent", check=True).stdout
    assert f"Subject: Labels of Node {site.node} changed" in said


def test_an_overlay_that_comes_and_goes_is_two_entries_with_its_name(site: Site) -> None:
    since = mark(site.machine)
    hat = f"{OVERLAYS}/2_hat"
    for file, content in {"path": "\n", "dtbo": "blob", "status": "applied\n"}.items():
        site.machine.put(f"{hat}/{file}", content)
    add_node(site.machine.devicetree, "/hat@0", {"compatible": strings("acme,hat")})
    entry = site.wait_entry(log.OVERLAY_APPLIED, since)
    assert entry["DTAGENT_OVERLAY"] == ["hat"]
    assert entry.priority == INFO
    remove_node(site.machine.devicetree, "/hat@0")
    site.machine.run(f"rm -r {hat}", check=True)
    entry = site.wait_entry(log.OVERLAY_GONE, since)
    assert entry["DTAGENT_OVERLAY"] == ["hat"]
    wait_for(lambda: not has(site, PREFIX + "acme-hat"), "the label's end")


def test_an_outage_is_one_warning_and_its_end_one_notice(site: Site) -> None:
    since = mark(site.machine)
    site.cluster.stop_server()
    try:
        began = site.wait_entry(log.OUTAGE_BEGAN, since)
        wait_for(lambda: site.status.startswith("waiting since "), "the status line")
    finally:
        site.cluster.start_server()
    ended = site.wait_entry(log.OUTAGE_ENDED, since)
    assert (began.priority, ended.priority) == (WARNING, NOTICE)
    assert began["DTAGENT_NODE"] == ended["DTAGENT_NODE"] == [site.node]
    said = [entry for entry in site.entries(since) if entry.priority < INFO]
    assert [entry.message_id for entry in said] == [log.OUTAGE_BEGAN, log.OUTAGE_ENDED]


def test_a_tree_that_cannot_be_read_is_one_warning_and_the_labels_stay(site: Site) -> None:
    since, before = mark(site.machine), site.labels
    tree = site.machine.devicetree
    aside = tree.with_name("aside")
    tree.rename(aside)
    entry = site.wait_entry(log.TREE_UNREADABLE, since)
    assert entry.priority == WARNING
    assert "/sys/firmware/devicetree/base" in entry.message
    assert site.labels == before
    aside.rename(tree)
    site.machine.run("systemctl reload dtagent", check=True)
    wait_for(
        lambda: any("can be read again" in each.message for each in site.entries(since)),
        "its end's entry",
    )


def test_control_characters_of_a_devicetree_forge_nothing(site: Site) -> None:
    since = mark(site.machine)
    node = f"acme,{FORGED}\nPRIORITY=0\nMESSAGE={FORGED}\n<0>{FORGED}\x1b[2J"
    add_node(site.machine.devicetree, "/forger@0", {"compatible": strings(node)})
    file = site.machine.devicetree / "model"
    model = file.read_bytes()
    file.unlink()
    file.write_bytes(f"{FORGED}\nSTATUS={FORGED}\nMAINPID=1\n".encode() + b"\0")
    site.machine.run("systemctl reload dtagent", check=True)
    wait_for(lambda: any(key.startswith(f"{PREFIX}acme-an-entry") for key in site.labels), "it")
    for entry in site.entries(since):
        assert entry.priority in range(ERROR, DEBUG + 1)
        assert not entry.message.startswith((FORGED, "<0>"))
        assert len(entry["MESSAGE"]) == 1
        for values in entry.fields.values():
            assert not any(c in value for value in values for c in "\n\x1b")
    assert not site.status.startswith(FORGED)
    assert site.pid > 1
    remove_node(site.machine.devicetree, "/forger@0")
    file.unlink()
    file.write_bytes(model)
    site.machine.run("systemctl reload dtagent", check=True)
    wait_for(lambda: not any("an-entry" in key for key in site.labels), "the labels' end")


@pytest.mark.parametrize("good", [True, False])
def test_no_secret_of_a_kubeconfig_is_seen(site: Site, good: bool) -> None:
    """Neither of one that works nor of one whose token and key are refused."""
    since = mark(site.machine)
    content = site.join() if good else site.join(token=UNKNOWN)
    if good:
        site.machine.run("systemctl restart dtagent", check=True)
        wait_for(lambda: f"true on Node {site.node}" in site.status, "the labels, found true")
    else:
        site.machine.run("systemctl restart dtagent", check=True)
        site.wait_entry(log.OUTAGE_BEGAN, since)
    said = shown(site.machine)
    assert KUBECONFIG in said
    for secret in secrets(content):
        assert secret not in said


def test_every_entry_has_a_priority_and_a_name_to_find_it_by(site: Site) -> None:
    entries = site.entries()
    assert {INFO, NOTICE, WARNING} <= {entry.priority for entry in entries}
    for entry in entries:
        assert entry["SYSLOG_IDENTIFIER"] == ["dtagent"], entry
        assert entry.priority in range(ERROR, DEBUG + 1), entry
        if entry.message_id:
            assert entry.message_id in MESSAGE_IDS.values(), entry
