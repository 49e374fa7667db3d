"""What the agent does while nothing happens: `python -m bench.idle [SECONDS]`.

The agent as a process with a real API server and an overlay folder, left alone for a minute after
its start has settled. Voluntary context switches of all its threads (proc(5), /proc/pid/status) are
its wake-ups; its processor time and memory are beside them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from tests.apiserver import ApiServer
from tests.host import Host
from tests.process import Process

SETTLED = 12.0  # seconds: the series of scans after a start ends at 10


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "cluster").mkdir()
        (folder / "overlays").mkdir()
        (folder / "run").mkdir()
        with ApiServer(folder / "cluster") as cluster:
            cluster.create_node("idle")
            host = Host(cluster, "idle", folder / "host")
            host.configure(f'overlays.path = "{folder}/overlays"')
            options = ["--config", str(host.config)]
            with Process(folder, *options, RUNTIME_DIRECTORY=str(folder / "run")) as agent:
                agent.wait_said("READY=1")
                time.sleep(SETTLED)
                before = measure(agent.popen.pid)
                time.sleep(seconds)
                after = measure(agent.popen.pid)
                status = Path(f"/proc/{agent.popen.pid}/status").read_text()
    print(
        f"idle for {seconds:.0f} s: {after[0] - before[0]} wake-ups of {after[2]} threads, "
        f"{(after[1] - before[1]) * 1000:.0f} ms of processor time"
    )
    print(*(line for line in status.splitlines() if line.startswith(("VmRSS", "RssAnon"))))


def measure(pid: int) -> tuple[int, float, int]:
    """Voluntary context switches, processor seconds and threads of a process."""
    switches = 0
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    for task in tasks:
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                switches += int(line.split()[1])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return switches, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), len(tasks)


if __name__ == "__main__":
    main()
