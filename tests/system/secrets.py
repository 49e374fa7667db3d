"""What of a kubeconfig must never be seen outside it, and all that a machine shows of itself."""

from __future__ import annotations

import base64
import json

from .machine import Machine


def secrets(kubeconfig: bytes) -> list[str]:
    """The token, and the private key: as the kubeconfig has it, and each line of the PEM in it."""
    (user,) = (entry["user"] for entry in json.loads(kubeconfig)["users"])
    found = [user["token"]] if "token" in user else []
    if data := user.get("client-key-data"):
        pem = base64.b64decode(data).decode().splitlines()
        found += [data, *(line for line in pem if not line.startswith("-----"))]
    return found


def shown(machine: Machine) -> str:
    """The whole journal with every field, the unit's status, and what is in its runtime folder."""
    return machine.run(
        "journalctl --sync; journalctl --all -o export; systemctl status dtagent; "
        "systemctl show dtagent; cat /run/dtagent/*",
        timeout=120,
    ).stdout
