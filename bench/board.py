"""The agent as its unit on the emulated arm64 board: `python -m bench.board`.

From systemd's start of the process to READY=1, with a configuration file to judge and without;
memory once the start has settled; and twenty overlays, from the node in the tree to the label that
the server has accepted. All by the board's own clock, and in emulation: a real board is faster.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

from tests.apiserver import ApiServer
from tests.board.agent import board_with_agent
from tests.board.machine import Board

STARTS = 5
ROUNDS = 20
AS_INSTALLED = (
    "rm /etc/dtagent.toml && mkdir -p /etc/kubernetes"
    " && mv /etc/dtagent.kubeconfig /etc/kubernetes/kubelet.conf"
)
SETTLED = 15.0  # seconds: the series of scans after a start ends at 10


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as place,
        ApiServer(Path(place)) as cluster,
        board_with_agent(cluster, Path(place)) as board,
    ):
        time.sleep(SETTLED)
        print(f"settled: {memory(board)}")
        added, removed = rounds(board)
        print(f"overlay to label, {ROUNDS} rounds: {added}; back to none: {removed}")
        print(f"with a configuration: {starts(board)}")
        board.run(AS_INSTALLED, check=True)
        print(f"without one: {starts(board)}")
        time.sleep(SETTLED)
        print(f"settled: {memory(board)}")


def memory(board: Board) -> str:
    """Resident and anonymous memory of the agent's process."""
    pid = "$(systemctl show -P MainPID dtagent)"
    text = board.run(f"cat /proc/{pid}/status", check=True).stdout
    fields = dict(line.split(":", 1) for line in text.splitlines())
    sizes = {key: int(fields[key].split()[0]) / 1024 for key in ("VmRSS", "RssAnon")}
    return f"{sizes['VmRSS']:.1f} MiB resident, {sizes['RssAnon']:.1f} anonymous"


def rounds(board: Board) -> tuple[str, str]:
    """Milliseconds from a node's coming, and from its going, to the patch."""
    command = f"python3 /usr/lib/dtagent/rounds.py vendor {ROUNDS}"
    added, removed = zip(
        *json.loads(board.run(command, timeout=900, check=True).stdout), strict=True
    )
    return shown(added), shown(removed)


def starts(board: Board) -> str:
    """Milliseconds from the start of the process to READY=1."""
    times = []
    for _ in range(STARTS):
        board.run("systemctl restart dtagent", timeout=300, check=True)
        properties = "ExecMainStartTimestampMonotonic,ActiveEnterTimestampMonotonic"
        text = board.run(f"systemctl show -p {properties} dtagent", check=True).stdout
        values = dict(line.split("=") for line in text.splitlines())
        begun, ready = (int(values[key]) for key in properties.split(","))
        times.append((ready - begun) / 1000)
    return f"start to READY {shown(times)}"


def shown(times: list[float] | tuple[float, ...]) -> str:
    return f"median {statistics.median(times):.0f} ms, worst {max(times):.0f} ms"


if __name__ == "__main__":
    main()
