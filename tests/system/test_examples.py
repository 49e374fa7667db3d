"""What examples/ has for a fleet, done as it stands by cloud-init and by Ansible themselves.

Each runs on a host of the cluster, filled in as its comments ask for, with the repository on
loopback. k3s is not to be had here: in place of its installer one is served that notes what it was
asked for, and whose k3s-agent.service writes the kubeconfig, as k3s does when it has registered.
What has not run is k3s itself, the restart of a Raspberry Pi, and Ansible's way over ssh.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from dtagent.cluster import credentials
from dtagent.cluster.credentials import Files
from dtagent.host import log
from tests.apiserver import ApiServer

from .channel import OURS_ALONE, Channel, channel
from .packages import Package
from .site import BOARD, KUBECONFIG, Site, site

EXAMPLES = Path(__file__).parents[2] / "examples"
K3S_CONFIG = "/etc/rancher/k3s/config.yaml"
CMDLINE = "/boot/firmware/cmdline.txt"
ASKED = "/var/log/k3s-installer"
CREDENTIALS = "/opt/kubelet.kubeconfig"
USER_DATA, PLAY = "/opt/examples/cloud-init/user-data", "/opt/examples/ansible/dtagent.yml"
PATIENCE = 900.0
"""Seconds that a whole set-up may take; apt's part is most of it."""

INSTALLER = f"""\
#!/bin/sh
set -e
env | grep ^INSTALL_K3S_ | sort > {ASKED}
systemctl is-active dtagent >> {ASKED}
printf '#!/bin/sh\\n' > /usr/local/bin/k3s
cat > /etc/systemd/system/k3s-agent.service <<END
[Service]
Type=oneshot
ExecStart=/usr/bin/install -D -m 600 {CREDENTIALS} {KUBECONFIG}
END
systemctl daemon-reload
[ -n "$INSTALL_K3S_SKIP_START" ] || systemctl start k3s-agent
"""

# Each needs its reason: the two tools, ansible-lint, what Ansible's apt module asks for, and what
# cloud-init's example fetches with (apt has no archive of Debian's here).
TOOLS = ("ansible-core", "ansible-lint", "cloud-init", "curl", "python3-apt")

# Of all that cloud-init does at a first boot, the modules of the example alone: it must not set up
# the network, which the container shares with this machine.
ONLY_THE_EXAMPLES = b"""\
datasource_list: [NoCloud]
network: {config: disabled}
cloud_init_modules: [write_files]
cloud_config_modules: [apt_configure, runcmd]
cloud_final_modules: [package_update_upgrade_install, scripts_user, power_state_change]
"""

SEED = "/var/lib/cloud/seed/nocloud"
FILES = {
    **OURS_ALONE,
    "/etc/cloud/cloud-init.disabled": b"",  # the tests start it, with their own patience
    "/etc/cloud/cloud.cfg.d/99-test.cfg": ONLY_THE_EXAMPLES,
    CMDLINE: b"console=tty1 root=PARTUUID=1 rootwait\n",
}

Host = Callable[[], Site]


@pytest.fixture(scope="module")
def archive(package: Package) -> Iterator[Channel]:
    with channel(package.suite, package) as found:
        yield found


@pytest.fixture
def site_(package: Package, cluster: ApiServer) -> Iterator[Site]:
    """A board with the tools and the examples, that has neither the package nor a cluster."""
    with site(package, cluster, more=TOOLS, files=FILES) as host:
        for path in EXAMPLES.rglob("*"):
            if path.is_file():
                host.machine.put(f"/opt/examples/{path.relative_to(EXAMPLES)}", path.read_bytes())
        host.machine.put(CREDENTIALS, host.kubeconfig(), 0o600)
        yield host
        print(host.machine.run("journalctl -u dtagent -o short-monotonic -n 80").stdout)


def replaced(text: str, changes: dict[str, str]) -> str:
    """As who fills it in does; what is replaced must be there."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def filled_in(archive: Channel) -> str:
    """The user-data of a user with this repository, who does not restart."""
    return replaced(
        (EXAMPLES / "cloud-init/user-data").read_text(),
        {
            "PUT-THE-KEY-IN-BASE64-HERE": base64.b64encode(archive.keyring).decode(),
            "https://apt.example.org/": archive.address,
            "https://get.k3s.io": archive.beside("k3s-installer", INSTALLER),
            "condition: test -e /run/reboot-for-k3s": "condition: false",
        },
    )


def waited_first(site: Site) -> bool:
    """Whether the agent was there before k3s, and said that it waits."""
    kinds = [entry.message_id for entry in site.entries()]
    return kinds.index(log.OUTAGE_BEGAN) < kinds.index(log.LABELS_CHANGED)


def test_the_examples_pass_their_own_tools(site_: Site, archive: Channel) -> None:
    """As they stand: cloud-init's schema, Ansible's syntax, ansible-lint."""
    machine = site_.machine
    said = machine.run(f"cloud-init schema --config-file {USER_DATA}", check=True)
    assert "Valid" in said.stdout + said.stderr
    machine.run(f"ansible-playbook --syntax-check -i localhost, {PLAY}", check=True)
    machine.run(f"cd /opt/examples/ansible && ansible-lint --offline {PLAY}", 600, check=True)


def test_cloud_init_makes_a_board_a_k3s_agent_with_dtagent(site_: Site, archive: Channel) -> None:
    machine = site_.machine
    machine.put(f"{SEED}/user-data", filled_in(archive))
    machine.put(f"{SEED}/meta-data", "instance-id: board\n")
    stages = ("init --local", "init", "modules --mode=config", "modules --mode=final")
    for stage in stages:
        machine.run(f"cloud-init {stage}", PATIENCE, check=True)
    assert machine.path(ASKED).read_text().splitlines() == [
        "INSTALL_K3S_CHANNEL=stable",
        "INSTALL_K3S_EXEC=agent",
        "INSTALL_K3S_SKIP_START=true",
        "active",
    ]
    added = " cgroup_memory=1 cgroup_enable=memory\n"
    assert machine.path(CMDLINE).read_text() == FILES[CMDLINE].decode().rstrip() + added
    # The restart, which starts k3s.
    assert machine.path("/run/reboot-for-k3s").exists()
    machine.run("systemctl start k3s-agent", check=True)
    site_.wait_labels(BOARD)
    assert waited_first(site_)
    config = machine.path(K3S_CONFIG)
    assert config.stat().st_mode & 0o777 == 0o600


def play(site: Site, archive: Channel, words: str = "") -> str:
    """Run the play on the board itself, as with the repository and the key filled in."""
    site.machine.put("/opt/examples/ansible/dtagent-archive-keyring.pgp", archive.keyring)
    installer = archive.beside("k3s-installer", INSTALLER)
    variables = f"dtagent_repository={archive.address} k3s_installer={installer}"
    command = (
        "ansible-playbook --connection=local -i boards, -l boards --skip-tags reboot "
        f"--extra-vars '{variables}' {words} {PLAY}"
    )
    return site.machine.run(command, PATIENCE, check=True).stdout


def test_the_play_makes_a_board_a_k3s_agent_and_a_second_run_changes_nothing(
    site_: Site, archive: Channel
) -> None:
    said = play(site_, archive)
    assert "failed=0" in said
    assert site_.labels == BOARD
    assert waited_first(site_)
    assert site_.machine.path(ASKED).read_text().splitlines() == [
        "INSTALL_K3S_CHANNEL=stable",
        "INSTALL_K3S_EXEC=agent",
        "active",
    ]
    assert "cgroup_enable=memory" in site_.machine.path(CMDLINE).read_text()
    assert " changed=0 " in play(site_, archive)


def test_the_play_refuses_a_wrong_configuration_and_the_agent_keeps_the_old_one(
    site_: Site, archive: Channel
) -> None:
    site_.join()
    assert "failed=0" in play(site_, archive, "--tags dtagent")
    site_.wait_labels(BOARD)
    settings = site_.machine.path("/etc/dtagent.toml.d/fleet.toml")
    before = settings.read_text()
    wrong = """--tags dtagent -e '{"dtagent_settings": "no such = key"}'"""
    with pytest.raises(Exception, match=r"fleet\.toml|no such"):
        play(site_, archive, wrong)
    assert settings.read_text() == before
    assert site_.labels == BOARD


def test_cloud_init_and_ansible_give_k3s_the_same_configuration(tmp_path: Path) -> None:
    """k3s itself cannot read it here; it is YAML of k3s agent's own flags, and dtagent reads it."""
    user_data = yaml.safe_load((EXAMPLES / "cloud-init/user-data").read_text())
    (written,) = (file for file in user_data["write_files"] if file["path"] == K3S_CONFIG)
    text = (EXAMPLES / "k3s/config.yaml").read_text()
    config = yaml.safe_load(text)
    assert yaml.safe_load(written["content"]) == config
    assert set(config) == {"server", "token", "node-label"}
    moved = tmp_path / "mnt/nvme/k3s/agent/kubelet.kubeconfig"
    place = tmp_path / K3S_CONFIG.lstrip("/")
    for path in (moved, place):
        path.parent.mkdir(parents=True)
        path.touch()
    place.write_text(replaced(text, {"#data-dir:": "data-dir:"}))
    assert moved in credentials.find("", tmp_path, Files())
