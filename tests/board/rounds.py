"""On the board: overlays applied and removed again and again, and how long their labels took.

`rounds.py MODE COUNT`. One clock: the board's CLOCK_MONOTONIC, in which journald stamps the line
that the agent writes once the server has accepted its patch. Prints a JSON list of [added,
removed], each the milliseconds from the node's being visible (or gone) in /proc/device-tree to that
line.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

OVERLAYS = Path("/sys/kernel/config/device-tree/overlays")
NODE = Path("/proc/device-tree/widget-a")
KEY = "beta.devicetree.org/acme-widget-a"
BLOB = Path("/lib/firmware/widget-a.dtbo").read_bytes()


def apply(mode: str, folder: Path) -> None:
    folder.mkdir()
    (folder / "dtbo").write_bytes(BLOB)
    if mode == "switch":
        (folder / "status").write_text("1")


def seen(there: bool) -> float:
    """The moment at which the node is (or is not) there."""
    while NODE.exists() != there:
        time.sleep(0.002)
    return time.monotonic()


def wake() -> None:
    """`journalctl -f` was seen to sleep over the last entry that there was: another one wakes it.

    A time is that of its own entry, so this changes none.
    """
    while True:
        time.sleep(30)
        subprocess.run(["systemd-cat", "echo", "rounds.py is at work"], check=True)


def line(journal: Iterable[str], sign: str) -> float:
    """When journald took the agent's line that says the label was added, or removed."""
    for text in journal:
        entry = json.loads(text)
        if f"{sign}{KEY}" in str(entry.get("MESSAGE")) and "Node " in entry["MESSAGE"]:
            return int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
    raise EOFError("the journal ended")


def main() -> None:
    mode, count = sys.argv[1], int(sys.argv[2])
    follow = ["journalctl", "-f", "-n", "0", "-o", "json", "--output-fields=MESSAGE"]
    follow += ["-u", "dtagent"]
    results = []
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as journal:
        assert journal.stdout is not None
        time.sleep(1)  # journalctl says nothing when it has begun to follow
        threading.Thread(target=wake, daemon=True).start()
        for number in range(count):
            folder = OVERLAYS / f"round{number}"
            applying = threading.Thread(target=apply, args=(mode, folder))
            applying.start()
            visible = seen(there=True)
            added = line(journal.stdout, "+") - visible
            applying.join()
            removing = threading.Thread(target=folder.rmdir)
            removing.start()
            gone = seen(there=False)
            removed = line(journal.stdout, "-") - gone
            removing.join()
            results.append([round(added * 1000), round(removed * 1000)])
        journal.terminate()
    print(json.dumps(results))


main()
