"""What else goes wrong on a node beside its cluster: its clock, its disk, its root, its network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.test_clock import BOOT, NOW, library
from tests.process import wait_for
from tests.system.journal import WARNING, mark

from .host import CONFIG, Host
from .kubelet import KUBEADM
from .network import AGENT, Door, networks
from .table import Cause, Table

PREFIX = "beta.devicetree.org/"
DROP_IN = "/etc/systemd/system/dtagent.service.d/test.conf"
KUBECONFIG = "/etc/kubernetes/dtagent.conf"
FAKETIME, WALL = "/opt/libfaketime.so.1", "/opt/wall"
CLOCK = f"""\
Environment=LD_PRELOAD={FAKETIME} FAKETIME_TIMESTAMP_FILE={WALL}
Environment=FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1
"""
IN_ITS_NETWORK = f"""\
ExecStart=
ExecStart=+/usr/bin/nsenter --net=/run/netns/{AGENT} /usr/bin/dtagent run
"""
"""Without the unit's sandbox: NetworkNamespacePath= is refused in a container of systemd-nspawn."""

FILL = """\
used=$(df --output=used -B1 /run | tail -n 1)
mount -o remount,size=$((used + 65536)) /run
dd if=/dev/zero of=/run/filler bs=4k status=none
df --output=avail /run | tail -n 1
"""
"""All of /run, whatever lies there already; prints how much is left."""


def key(name: str) -> str:
    return f"{PREFIX}acme-{name}"


def wait_label(node: Host, name: str) -> None:
    wait_for(lambda: node.labels.get(key(name)) == "1", f"the label of {name}: {node.status}")


def wait_true(node: Host) -> None:
    wait_for(lambda: f"true on Node {node.node}" in node.status, "the labels, found true")


@contextmanager
def set_up(node: Host, *lines: str, config: str = CONFIG) -> Iterator[None]:
    """The agent, started anew, with these lines in its unit and this configuration."""
    machine = node.machine
    anew = "systemctl daemon-reload && systemctl restart dtagent"
    node.configure(config)
    machine.put(DROP_IN, "[Service]\n" + "".join(lines))
    try:
        machine.run(anew, check=True)
        yield
    finally:
        node.configure(CONFIG)
        machine.run(f"rm {DROP_IN} && {anew}", check=True)
        wait_true(node)


def kubeconfig(node: Host, server: str, more: str = "") -> str:
    """The kubelet's own with another server, and `more` lines for the cluster: a configuration."""
    text = node.machine.run(f"cat {KUBEADM.kubeconfig}", check=True).stdout
    line = f"server: {node.cluster.url}\n"
    assert line in text
    node.machine.put(KUBECONFIG, text.replace(line, f"server: {server}\n{more}"), 0o600)
    return f'{CONFIG}[node]\nkubeconfig = "{KUBECONFIG}"\n'


def test_a_clock_that_is_wrong_by_years_costs_labels_only_until_it_is_set(
    node: Host, table: Table
) -> None:
    """A board without one boots in 1970. The clock is the agent's alone (libfaketime): a kubelet
    in the same straits would keep the Node from being Ready, and no label from being true."""
    node.machine.put(FAKETIME, Path(library()).read_bytes())
    node.machine.put(WALL, BOOT)
    before = mark(node.machine)
    with set_up(node, CLOCK):
        wait_for(lambda: "certificate is not yet valid" in node.status, "what is wrong, said")
        assert node.status.startswith("waiting since 1970-")
        node.apply("clock", clock="acme,clock")
        assert node.ready
        assert key("clock") not in node.labels
        cause = Cause(node)
        node.machine.put(WALL, NOW)
        wait_label(node, "clock")
        assert not [each for each in node.entries(before) if "Warning" in each.message]
        table.add("the clock was in 1970, and is set", "what came meanwhile is labelled", cause)


def test_a_full_run_costs_no_label_and_is_told(node: Host, table: Table) -> None:
    """As a journal on a tmpfs, or a container's log, fills it."""
    machine = node.machine
    machine.run("systemctl stop dtagent", check=True)
    left = machine.run(FILL).stdout
    try:
        assert left.split() == ["0"]
        before = mark(machine)
        machine.run("systemctl start dtagent", check=True)
        wait_true(node)
        cause = Cause(node)
        node.apply("full", full="acme,full")
        wait_label(node, "full")
        told = machine.run("dtagent status")
        assert told.status == 1
        assert told.stderr.startswith("dtagent: /run/dtagent/state.json: could not be written")
        lines = [each for each in node.entries(before) if "No space left" in each.message]
        assert [each.priority for each in lines] == [WARNING]
        table.add("/run is full", "labels true, status and journal say so", cause)
    finally:
        machine.run("rm -f /run/filler && mount -o remount,size=20% /run", check=True)
    cause = Cause(node)
    machine.run("systemctl reload dtagent", check=True)
    wait_for(lambda: "true on Node" in machine.run("dtagent status").stdout, "a status again")
    assert machine.run("dtagent status").status == 0
    table.add("… and has room again, a reload", "dtagent status knows again", cause, cause.elapsed)


def test_a_network_without_ipv4_is_enough(node: Host, table: Table) -> None:
    """The server's address stands as a literal in the kubeconfig (RFC 3986, 3.2.2)."""
    machine = node.machine
    with (
        networks(machine, eth0=("2001:db8::2/64", "2001:db8::1/64")),
        Door(machine, "2001:db8::1", node.cluster.port, connect=False) as door,
    ):
        machine.run(f"ip -n {AGENT} -4 address flush dev lo", check=True)
        assert not machine.run(f"ip -n {AGENT} -4 address", check=True).stdout
        config = kubeconfig(node, f"https://{door.authority}")
        with set_up(node, IN_ITS_NETWORK, config=config):
            wait_true(node)
            assert any(f"at https://{door.authority}" in each.message for each in node.entries())
            cause = Cause(node)
            node.apply("six", six="acme,six")
            wait_label(node, "six")
            table.add("no IPv4, the server at an IPv6 address", "an overlay is labelled", cause)


def test_a_proxy_on_one_of_two_networks_is_enough(node: Host, table: Table) -> None:
    """Nothing leads to the server but a proxy, which the kubeconfig names or the unit."""
    machine, server = node.machine, f"10.0.2.2:{node.cluster.port}"
    nics = {
        "eth0": ("192.0.2.2/24", "192.0.2.1/24"),
        "eth1": ("198.51.100.2/24", "198.51.100.1/24"),
    }
    with (
        networks(machine, **nics),
        Door(machine, "192.0.2.1", node.cluster.port, connect=True) as proxy,
    ):
        url = f"http://{proxy.authority}"
        config = kubeconfig(node, f"https://{server}", f"    proxy-url: {url}\n")
        with set_up(node, IN_ITS_NETWORK, config=config):
            wait_true(node)
            assert set(proxy.asked) == {f"CONNECT {server}"}
            cause = Cause(node)
            node.apply("kubeconfig-proxy", proxied="acme,proxied")
            wait_label(node, "proxied")
            table.add("a proxy of the kubeconfig's", "an overlay is labelled", cause)
        proxy.asked.clear()
        config = kubeconfig(node, f"https://{server}")
        environment = f"Environment=HTTPS_PROXY={url} NO_PROXY=.example.org\n"
        with set_up(node, IN_ITS_NETWORK, environment, config=config):
            wait_true(node)
            assert set(proxy.asked) == {f"CONNECT {server}"}
            before, cause = mark(machine), Cause(node)
            for way in ("down", "up"):
                machine.run(f"ip -n {AGENT} link set eth1 {way}", check=True)
                node.apply(f"eth1-{way}", **{way: f"acme,{way}"})
                wait_label(node, way)
            assert not [each for each in node.entries(before) if each.priority <= WARNING]
            table.add("HTTPS_PROXY of the unit, the other NIC down and up", "no outage", cause)
            machine.run(f"ip -n {AGENT} link set eth0 down", check=True)
            node.apply("eth0", away="acme,away")
            wait_for(lambda: "waiting since" in node.status, "an outage")
            assert key("away") not in node.labels
            cause = Cause(node)
            machine.run(f"ip -n {AGENT} link set eth0 up", check=True)
            wait_label(node, "away")
            table.add(
                "… the proxy's NIC was down, and is up", "what came meanwhile is there", cause
            )


def test_a_root_that_is_read_only_from_the_boot_on_is_enough(node: Host, table: Table) -> None:
    """The last of this machine's tests. /var is a file system of its own, and so is what stands for
    devices: the rest is as an image that is never written, or a card that has failed."""
    machine = node.machine
    machine.shut_down()
    places = ("/var", "/opt")
    machine.options = ("--read-only", *(f"--bind={machine.root}{each}:{each}" for each in places))
    machine.boot()
    for place in places:  # which systemd-nspawn makes read-only too
        machine.run(f"mount -o remount,bind,rw {place}", check=True)
    machine.run("systemctl start containerd", check=True)
    assert "Read-only file system" in machine.run("touch /etc/x").stderr
    wait_true(node)
    cause = Cause(node)
    machine.run("touch /run/before && systemctl restart dtagent", check=True)
    wait_true(node)
    node.apply("root", root="acme,root")
    wait_label(node, "root")
    table.add("a read-only root, a boot", "an overlay is labelled", cause)
    node.restart_kubelet()
    node.wait_ready()
    assert node.labels[key("root")] == "1"
    places_to_write = "/run /dev/shm /tmp /var/tmp /var/lib"
    found = machine.run(f"find {places_to_write} -newer /run/before -type f -name '*dtagent*'")
    inside = machine.run("ls -A /run/dtagent", check=True).stdout.split()
    assert set(inside) <= {"lock", "state.json"}
    assert not [each for each in found.stdout.split() if "/systemd/" not in each]
