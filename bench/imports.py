"""What starting costs: time, resident memory and modules; `python -m bench.imports`.

Each row is a fresh interpreter. Memory is VmRSS and RssAnon of /proc/self/status (proc(5)).
"""

from __future__ import annotations

import subprocess
import sys

STAGES = {
    "python alone": "pass",
    "dtagent scan": "import dtagent.cli, dtagent.tree.devicetree, dtagent.tree.labels",
    "dtagent run": "import dtagent.cli, dtagent.agent, dtagent.publish.node, dtagent.host.systemd\n"
    "from dtagent.cluster import client; client.modules()",
    "the process that judges a configuration, and ends": "import dtagent.config.judge",
    "the kubernetes client, whole": "import kubernetes.client",
}
PROGRAM = """
import sys, time
start = time.perf_counter()
{stage}
took = (time.perf_counter() - start) * 1000
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
kib = [int(status[key].split()[0]) / 1024 for key in ("VmRSS", "RssAnon")]
print("%.0f ms, %.1f MiB resident, %.1f anonymous, %d modules"
      % (took, kib[0], kib[1], len(sys.modules)))
"""


def main() -> None:
    for title, stage in STAGES.items():
        command = [sys.executable, "-c", PROGRAM.format(stage=stage)]
        subprocess.run(command, capture_output=True, check=True)  # fills the page cache
        run = subprocess.run(command, capture_output=True, check=True, text=True)
        print(f"{title}: {run.stdout.strip()}")


if __name__ == "__main__":
    main()
