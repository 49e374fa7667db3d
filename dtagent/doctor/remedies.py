"""What to do about a check that is not well: the first pattern that its name and message fit."""

from __future__ import annotations

import re

REMEDIES = (
    ("configuration:.*metrics.conf", "make the folder, and use the unit's drop-in metrics.conf"),
    ("configuration:", "correct what it names; `dtagent check-config` tries it"),
    ("devicetree:", "correct [devicetree] root and nodes; a PC has no devicetree, and no labels"),
    ("overlays:.*sysctl", "raise it by `sysctl -w`, and in /etc/sysctl.d for the next boot"),
    ("overlays:", "have the folder there and readable, or correct [overlays] path"),
    ("nfd:.*stays from", "remove the file"),
    ("nfd:.*fight over", "do as it says"),
    ("nfd:", "use the unit's drop-in nfd.conf, which makes the folder; see docs/nfd.md"),
    ("kubeconfig:.*chmod", "chmod 600 the file"),
    ("kubeconfig:.*Permission denied", "run it as root; else let the unit read it: dtagent(8)"),
    ("kubeconfig:", "have this host join its cluster, or set [node] kubeconfig to the node's own"),
    ("server:.*proxy", "correct proxy-url, HTTPS_PROXY or NO_PROXY, or have the proxy run"),
    ("server:", "see that the address is right and the server up; the agent waits for it"),
    ("clock:", "set the clock, and let it be kept: `timedatectl set-ntp true`"),
    ("certificates:.*not valid before|not yet valid", "set this host's clock"),
    ("certificates:.*its CA expired", "give it the cluster's new CA, and that alone"),
    ("certificates:.*expire", "if the clock is right: restart the kubelet (k3s), which renews it"),
    ("certificates:", "give certificate-authority this cluster's CA: have the host join again"),
    ("identity:.*401", "have the kubelet (k3s) renew its credential, or the host join again"),
    ("identity:", "leave [node] name empty, or set [node] kubeconfig to this Node's own"),
    ("node:.*there is no Node", "have the kubelet (k3s) run, which registers it"),
    ("node:|permission:.*403", "use the node's own kubeconfig: leave [node] kubeconfig empty"),
    ("permission:", "choose another [labels] prefix or rule, as the server's words have it"),
    ("second-writer:", "stop who sets it, then take it off: `kubectl label node NAME KEY-`"),
    ("unit-installed:.*masked", "systemctl unmask dtagent && systemctl enable --now dtagent"),
    ("unit-installed:", "install the package dtagent"),
    ("unit-enabled:", "systemctl enable dtagent"),
    ("unit-active:", "systemctl restart dtagent; `journalctl -x -u dtagent` says why it ended"),
    ("unit-alone:", "end that process, then: systemctl restart dtagent"),
    ("unit-sandbox:", "undo the drop-in that denies it: `systemctl cat dtagent`; see dtagent(8)"),
)


def remedy(name: str, message: str) -> str:
    """A line for a user: what makes this check well."""
    return next((text for what, text in REMEDIES if re.match(what, f"{name}: {message}")), "")
