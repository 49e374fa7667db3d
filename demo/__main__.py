"""`make demo`: the main job on an example board, without a cluster and without a board.

A folder stands for the devicetree of a Jetson Nano. `dtagent scan` shows its labels, then
`dtagent run --dry-run` the very patch that it would send, and the changed one as a node comes and
goes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from demo.jetson_nano import JETSON_NANO
from demo.tree import Tree, add_node, remove_node, strings, write_tree

NODES = ["-n", "gpu", "pwm-fan", "lidar"]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dtagent-demo-") as folder:
        base = Path(folder) / "base"
        write_tree(JETSON_NANO, base)
        # Of their own, so that a cluster and a configuration of this machine stay out of it.
        config = Path(folder) / "dtagent.toml"
        config.touch()
        options = ["--config", str(config), "--root", str(base), *NODES]

        say("the labels of a Jetson Nano: dtagent scan -n gpu pwm-fan lidar")
        subprocess.run([sys.executable, "-m", "dtagent", "scan", *options], check=True)

        say("the patch for its Node: dtagent run --dry-run")
        dry_run = ["run", "--dry-run", "--node-name", "jetson"]
        dry_run += ["--kubeconfig", str(Path(folder) / "kubelet.kubeconfig")]
        with subprocess.Popen(
            [sys.executable, "-m", "dtagent", *dry_run, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as agent:
            assert agent.stdout is not None
            show_patch(agent.stdout)

            say("a lidar on I2C appears in the tree, and the agent is told to look again")
            lidar: Tree = {"compatible": strings("acme,lidar-2"), "status": strings("okay")}
            add_node(base, "/lidar@0", lidar)
            agent.send_signal(signal.SIGHUP)
            show_patch(agent.stdout)

            say("the lidar is gone again")
            remove_node(base, "/lidar@0")
            agent.send_signal(signal.SIGHUP)
            show_patch(agent.stdout)

            agent.send_signal(signal.SIGTERM)
        say(f"dtagent was told to stop, and ended with exit status {agent.returncode}")


def say(text: str) -> None:
    print(f"\n== {text}\n", flush=True)


def show_patch(output: IO[str]) -> None:
    """Pass on one patch, which ends with its Node's uid and an empty line."""
    seen_uid = False
    for line in output:
        if seen_uid and not line.strip():
            return
        print(line, end="", flush=True)
        seen_uid = seen_uid or line.strip().startswith("uid:")


if __name__ == "__main__":
    main()
