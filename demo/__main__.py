"""`make demo`: the main job on an example board, without a cluster and without a board.

One folder stands for the devicetree of a Jetson Nano, another for configfs. `dtagent scan` shows
the labels, then `dtagent run --dry-run` the very patch that it would send, and the changed ones as
an overlay comes and goes.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from demo.jetson_nano import JETSON_NANO
from demo.tree import add_node, remove_node, strings, write_tree

NODES = ["-n", "gpu", "pwm-fan", "lidar"]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dtagent-demo-") as place:
        folder = Path(place)
        base, overlays = folder / "base", folder / "overlays"
        write_tree(JETSON_NANO, base)
        overlays.mkdir()
        # Of their own, so that a cluster and a configuration of this machine stay out of it.
        config = folder / "dtagent.toml"
        config.write_text(f'[overlays]\npath = "{overlays}"\n')
        options = ["--config", str(config), "--root", str(base), *NODES]

        say("the labels of a Jetson Nano: dtagent scan -n gpu pwm-fan lidar")
        subprocess.run([sys.executable, "-m", "dtagent", "scan", *options], check=True)

        say("the patch for its Node: dtagent run --dry-run")
        dry_run = ["run", "--dry-run", "--node-name", "jetson"]
        dry_run += ["--kubeconfig", str(folder / "kubelet.kubeconfig")]
        with subprocess.Popen(
            [sys.executable, "-m", "dtagent", *dry_run, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as agent:
            assert agent.stdout is not None
            show_patch(agent.stdout)

            say("an overlay is written, and the kernel takes 300 ms to put its lidar in the tree")
            write_overlay(overlays / "2_lidar")
            time.sleep(0.3)
            add_node(base, "/lidar@0", {"compatible": strings("acme,lidar-2")})
            show_patch(agent.stdout)

            say("10 s without a change: the overlay itself is believed, and becomes a label")
            show_patch(agent.stdout)

            say("the overlay is removed")
            remove_node(base, "/lidar@0")
            shutil.rmtree(overlays / "2_lidar")
            show_patch(agent.stdout)

            agent.send_signal(signal.SIGTERM)
        say(f"dtagent was told to stop, and ended with exit status {agent.returncode}")


def write_overlay(overlay: Path) -> None:
    """What configfs shows of an applied overlay, in Raspberry Pi's dialect."""
    overlay.mkdir()
    for file, content in {"path": "\n", "dtbo": "blob", "status": "applied\n"}.items():
        (overlay / file).write_text(content)


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
