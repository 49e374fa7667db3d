"""What the agent does while nothing happens: `python -m bench.idle [SECONDS]`, two minutes.

Voluntary context switches of all its threads are its wake-ups. The server sends each watch a
bookmark a minute, so that a link that is silent is known to be dead.
"""

from __future__ import annotations

import sys
import time

from bench.measure import usage
from bench.report import section, table
from bench.site import NAME, SETTLED, site

MINUTES = 2.0


def main() -> None:
    wanted = float(sys.argv[1]) if len(sys.argv) > 1 else 60 * MINUTES
    with site() as place, place.agent() as agent:
        time.sleep(SETTLED)
        mark = place.cluster.audit_mark()
        before = usage(agent.popen.pid)
        time.sleep(wanted)
        after = usage(agent.popen.pid)
        requests = place.cluster.audit(user=f"system:node:{NAME}", since=mark)
    rows = [
        ("wake-ups", after.switches - before.switches),
        ("processor time", f"{(after.processor - before.processor) * 1000:.0f} ms"),
        ("requests", len(requests)),
        ("threads, descriptors", f"{after.threads}, {after.descriptors}"),
    ]
    section("idle", table((f"in {wanted:.0f} s", "all threads together"), rows))


if __name__ == "__main__":
    main()
