"""How long one scan of an 860-node tree takes inside the process; `python -m bench.scan`.

The tree has the size of the largest that k8s-dt-node-labeller was measured on: 860 nodes and 5,362
properties, of which that tool reads every one (112 ms for the whole run).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from bench.tree860 import tree860
from demo.tree import write_tree
from dtagent.config.settings import DevicetreeTable, Settings
from dtagent.tree.devicetree import LiveTree, scan
from dtagent.tree.labels import decide

SELECTIONS = {
    "/ alone": ("/",),
    "/, gpu and pwm-fan": ("/", "gpu", "pwm-fan"),
    "every compatible": ("/", "compatible:*"),
}
ROUNDS = 50


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        tree = LiveTree(base)
        write_tree(tree860(), base)
        for title, nodes in SELECTIONS.items():
            settings = Settings(devicetree=DevicetreeTable(nodes=nodes))
            times = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                scan(tree, partial(decide, settings=settings))
                times.append((time.perf_counter() - start) * 1000)
            print(
                f"{title}: median {statistics.median(times):.2f} ms, "
                f"best {min(times):.2f} ms, worst {max(times):.2f} ms of {ROUNDS}"
            )


if __name__ == "__main__":
    main()
