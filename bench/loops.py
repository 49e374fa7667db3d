"""Many agents in one process, for a fleet on one machine: `python -m bench.loops FOLDER NAME ...`.

Each is the loop of `dtagent run` with its own Node, credentials, connections and watch, and shares
no more than the interpreter. A line on standard input begins them all, each further one is an
overlay event for each, and the end of it stops them.
"""

from __future__ import annotations

import queue
import sys
import threading
from pathlib import Path

from bench.inside import OVERLAY, STOP, Events, agent

STACK = 512 << 10  # bytes of address space a thread


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    threading.stack_size(STACK)
    queues: list[Events] = [queue.SimpleQueue() for _ in names]
    agents = [
        agent(folder / name / "base", name, folder / name / "kubelet.kubeconfig", events)
        for name, events in zip(names, queues, strict=True)
    ]
    threads = [threading.Thread(target=each.run) for each in agents]
    print("loaded", flush=True)
    if sys.stdin.readline():
        for thread in threads:
            thread.start()
        for _ in sys.stdin:
            for events in queues:
                events.put(OVERLAY)
        for events in queues:
            events.put(STOP)


if __name__ == "__main__":
    main()
