"""A fleet on one API server: `python -m bench.fleet [REAL [LOOPS]]`, some ten minutes.

REAL (50) agents are processes as systemd starts them, with overlay folders of their own; LOOPS
(950) are the same loop in shared processes (bench/loops.py), whose overlay events are put by hand.
All of it runs in a network namespace of its own, whose loopback has no other traffic: its bytes are
those of the fleet, with TLS, TCP and IP. Requests are the server's own count, its audit log.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from bench.measure import Usage, usage
from bench.report import section, table
from demo.tree import add_node, strings, write_tree
from tests.apiserver import ApiServer, assets
from tests.apiserver.client import client_context
from tests.host import PREFIX, Host
from tests.process import Process

REAL, LOOPS = 50, 950
SHARED = 95  # loops a process
REST = 75.0  # seconds of it, a bookmark of each watch among them
AWAY = 10.0  # seconds that the server is away
AGAIN = 80.0  # seconds after it; the longest wait of an agent is 60
PATIENCE = 240.0  # seconds for all of them to do anything
USER = 64000  # inotify instances are counted for each user, and root's are few
# It may read whatever root may: a Python in root's home among it.
AS_USER = (
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
)
OUTSIDE = "BENCH_NETWORK"
BYTES = Path("/proc/net/dev")  # of the own namespace; /sys/class/net is that of whoever mounted it


@dataclass(frozen=True)
class Sample:
    at: float
    """wall clock, as the audit log has it"""
    bytes: int
    server: Usage | None


def received() -> int:
    """Bytes that the loopback has had: what is sent there is received there."""
    (line,) = (line for line in BYTES.read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.partition(":")[2].split()[0])


class Fleet:
    """The cluster, its Nodes and whoever speaks for them."""

    def __init__(self, cluster: ApiServer, folder: Path, real: int, loops: int) -> None:
        self.cluster, self.folder = cluster, folder
        self.names = [f"node-{number:04}" for number in range(real + loops)]
        self.real = self.names[:real]
        cluster.ca_file.chmod(0o644)
        for name in self.names:
            cluster.create_node(name)
            host = Host(cluster, name, folder / name)
            shutil.rmtree(host.base)
            write_tree({"compatible": strings("acme,board")}, host.base)
            if name in self.real:
                (folder / name / "overlays").mkdir()
                (folder / name / "run").mkdir()
                host.configure(f'overlays.path = "{folder / name}/overlays"')
                for place in [folder / name, *(folder / name).rglob("*")]:
                    os.chown(place, USER, USER)
        self.samples: list[Sample] = []
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample)
        self.shared: list[subprocess.Popen[str]] = []
        self.processes: list[Process] = []

    def __enter__(self) -> Fleet:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.shared:
            assert each.stdin
            each.stdin.close()
        for process in self.processes:
            process.stop()
        for each in self.shared:
            try:
                each.wait(30)
            except subprocess.TimeoutExpired:
                each.kill()
        self._done.set()
        self._sampler.join()

    def _sample(self) -> None:
        while not self._done.wait(1.0):
            try:
                server = usage(self.cluster.pid) if self.cluster.pid else None
            except (OSError, KeyError):  # it ends; what has ended has no memory
                server = None
            self.samples.append(Sample(time.time(), received(), server))

    def load(self) -> None:
        """The shared processes, ready to begin."""
        rest = self.names[len(self.real) :]
        for start in range(0, len(rest), SHARED):
            command = [sys.executable, "-m", "bench.loops", str(self.folder)]
            each = subprocess.Popen(
                [*command, *rest[start : start + SHARED]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.shared.append(each)
        for each in self.shared:
            assert each.stdout
            assert each.stdout.readline() == "loaded\n"

    def begin(self) -> None:
        """All at once."""
        self._tell()
        for name in self.real:
            place = self.folder / name
            self.processes.append(
                Process(
                    place,
                    "--config",
                    str(place / "dtagent.toml"),
                    under=AS_USER,
                    RUNTIME_DIRECTORY=str(place / "run"),
                )
            )

    def overlay(self) -> None:
        """A device for each, and the event of its overlay."""
        for name in self.names:
            add_node(self.folder / name / "base", "/hat@0", {"compatible": strings("acme,hat")})
        self._tell()
        for name in self.real:
            (self.folder / name / "overlays" / "hat").mkdir()

    def _tell(self) -> None:
        for each in self.shared:
            assert each.stdin
            each.stdin.write("\n")
            each.stdin.flush()

    def wait_labels(self, key: str) -> float:
        """Until every Node has the label; seconds."""
        start = time.monotonic()
        while time.monotonic() - start < PATIENCE:
            path = f"/api/v1/nodes?labelSelector={key.replace('/', '%2F')}"
            found = len(self.cluster.admin("GET", path)[1].get("items", ()))
            if found == len(self.names):
                return time.monotonic() - start
            time.sleep(1)
        print(f"only {found} of {len(self.names)} have {key}, of which the figures say nothing")
        return PATIENCE


@dataclass(frozen=True)
class Phase:
    """What happened from `start` to `end`, by the wall clock."""

    name: str
    start: float
    end: float


def main() -> None:
    real, loops = (*map(int, sys.argv[1:]), *(REAL, LOOPS)[len(sys.argv) - 1 :])
    assets()  # built, where it must be, while there is a network
    if OUTSIDE not in os.environ:
        os.environ[OUTSIDE] = "own"
        again = [sys.executable, "-m", "bench.fleet", *sys.argv[1:]]
        up = 'ip link set lo up && exec "$@"'
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", up, "sh", *again])  # noqa: S606
    os.umask(0)  # agents of another user tell us that they are ready
    phases: list[Phase] = []
    with tempfile.TemporaryDirectory(prefix="dtagent-fleet-") as place, ExitStack() as stack:
        Path(place).chmod(0o755)  # agents of another user are to see it
        cluster = stack.enter_context(ApiServer(Path(place) / "cluster"))
        fleet = stack.enter_context(Fleet(cluster, Path(place), real, loops))
        fleet.load()

        @contextmanager
        def phase(name: str) -> Iterator[None]:
            start = time.time()
            print(f"{name} ...", flush=True)
            yield
            phases.append(Phase(name, start, time.time()))

        with phase("before any agent"):
            time.sleep(15)
        with phase("all start at once"):
            fleet.begin()
            began = fleet.wait_labels(PREFIX + "acme-board")
        with phase("after the start"):
            time.sleep(20)
        with phase("at rest"):
            time.sleep(REST)
        with phase("server restarts"):
            cluster.stop_server()
            time.sleep(AWAY)
            cluster.start_server()
            time.sleep(AGAIN)
        with phase("an overlay each"):
            fleet.overlay()
            changed = fleet.wait_labels(PREFIX + "acme-hat")
        flows = flow_of(cluster, fleet.real[0] if real else fleet.names[0])
        seats = limits(cluster)
        agents = [usage(process.popen.pid) for process in fleet.processes]
        shared = [usage(each.pid) for each in fleet.shared]
        nodes = len(cluster.admin("GET", "/api/v1/nodes")[1]["items"])
        events = cluster.audit(stage="ResponseComplete") + cluster.audit(stage="ResponseStarted")
        report(fleet, phases, events, (began, changed), flows, seats, agents, shared, nodes)


def flow_of(cluster: ApiServer, name: str) -> list[tuple[str, str, str]]:
    """For each kind of request that an agent makes: the flow schema and priority level it gets."""
    named = {
        item["metadata"]["uid"]: item["metadata"]["name"]
        for kind in ("flowschemas", "prioritylevelconfigurations")
        for item in cluster.admin("GET", f"/apis/flowcontrol.apiserver.k8s.io/v1/{kind}")[1][
            "items"
        ]
    }
    who = (f"system:node:{name}", ["system:nodes"])
    context = client_context(cluster.ca_file, *cluster.issue(*who))
    review = '{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}'
    node, select = f"/api/v1/nodes/{name}", f"fieldSelector=metadata.name={name}"
    rows = []
    for title, method, path, body in (
        ("SelfSubjectReview", "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review),
        ("get Node", "GET", node, None),
        ("watch Node", "GET", f"/api/v1/nodes?watch=1&{select}&timeoutSeconds=1", None),
        ("patch Node", "PATCH", node, '{"metadata": {}}'),
    ):
        connection = http.client.HTTPSConnection("127.0.0.1", cluster.port, context=context)
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        connection.request(method, path, body, {"Content-Type": kind})
        headers = connection.getresponse().headers
        connection.close()
        flow, level = (
            named.get(headers.get(f"X-Kubernetes-PF-{what}-UID", ""), "none")
            for what in ("FlowSchema", "PriorityLevel")
        )
        rows.append((title, flow, level))
    return rows


def limits(cluster: ApiServer) -> dict[str, float]:
    """Of each priority level: its seats, and what was refused or queued there (/metrics)."""
    context = client_context(cluster.ca_file, *cluster.issue("admin", ["system:masters"]))
    connection = http.client.HTTPSConnection("127.0.0.1", cluster.port, context=context)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith(
            (
                "apiserver_flowcontrol_nominal_limit_seats",
                "apiserver_flowcontrol_rejected_requests_total",
                "apiserver_flowcontrol_request_wait_duration_seconds_sum",
            )
        ) and any(f'priority_level="{level}"' in line for level in ("node-high", "system")):
            name, _, value = line.rpartition(" ")
            found[name.removeprefix("apiserver_flowcontrol_")] = float(value)
    return found


def report(
    fleet: Fleet,
    phases: Sequence[Phase],
    events: Sequence[dict[str, object]],
    took: tuple[float, float],
    flows: Sequence[tuple[str, str, str]],
    seats: dict[str, float],
    agents: Sequence[Usage],
    shared: Sequence[Usage],
    nodes: int,
) -> None:
    from bench.plot import plot

    ours = asked(events)
    rows = []
    count = len(fleet.names)
    for phase in phases:
        times = [at for at, _ in ours if phase.start <= at < phase.end]
        seconds = phase.end - phase.start
        inside = [s for s in fleet.samples if phase.start <= s.at <= phase.end]
        traffic = inside[-1].bytes - inside[0].bytes if inside else 0
        servers = [s.server for s in inside if s.server]
        cpu = sum(max(0.0, b.processor - a.processor) for a, b in pairwise(servers))
        peak = max(Counter(int(at) for at in times).values(), default=0)
        rows.append(
            (
                phase.name,
                f"{seconds:.0f}",
                len(times),
                f"{len(times) / seconds:.2f}",
                peak,
                f"{traffic / seconds / 1024:.1f}",
                f"{cpu / seconds:.2f}",
                f"{max((s.resident for s in servers), default=0):.0f}",
                max((s.descriptors for s in servers), default=0),
            )
        )
    head = ("phase", "s", "requests", "a second", "in the fullest second", "KiB/s on the wire")
    text = table((*head, "server: processors", "server: MB", "descriptors"), rows)
    by_kind = Counter(
        (phase.name, kind) for at, kind in ours for phase in phases if phase.start <= at < phase.end
    )
    text += "\n\nRequests by kind:\n\n" + table(
        ("phase", "kind", "requests"),
        [(name, kind, number) for (name, kind), number in sorted(by_kind.items())],
    )
    text += (
        f"\n\n{count} Nodes, {len(fleet.real)} agents as processes"
        f" ({middle(agents, 'resident'):.1f} MB resident, {middle(agents, 'anonymous'):.1f}"
        f" anonymous, {middle(agents, 'processor'):.1f} s of processor time each over the whole"
        f" run), {count - len(fleet.real)} as loops in {len(fleet.shared)} processes of up to"
        f" {SHARED} ({middle(shared, 'resident'):.0f} MB each). After all started at once the last"
        f" label was true after {took[0]:.0f} s, after an overlay for each {took[1]:.0f} s: they"
        f" share {os.cpu_count()} processors with the server.\n\n"
    )
    text += table(("request", "flow schema", "priority level"), flows) + "\n\n"
    text += table(("API Priority and Fairness", "value"), sorted(seats.items()))
    for phase, name in ((p, n) for p in phases for n in (PLOTS.get(p.name),) if n):
        axis = range(int(phase.end - phase.start) + 1)
        every = Counter(int(at - phase.start) for at, _ in ours if at >= phase.start)
        text += "\n\n" + plot(
            name,
            {"requests": (list(axis), [every[second] for second in axis])},
            f"seconds since: {phase.name}",
            "requests a second",
            steps=True,
        )
    section("fleet", text)


PLOTS = {
    "all start at once": "fleet-start",
    "server restarts": "fleet-restart",
    "an overlay each": "fleet-overlay",
}


def asked(events: Sequence[dict[str, object]]) -> list[tuple[float, str]]:
    """When each request of a Node's credential came, and what it was; a watch when it began."""
    found: dict[str, tuple[float, str]] = {}
    for event in events:
        user = event["user"]
        assert isinstance(user, dict)
        if not str(user.get("username")).startswith("system:node:node-"):
            continue
        at = datetime.fromisoformat(str(event["requestReceivedTimestamp"]).replace("Z", "+00:00"))
        reference = event.get("objectRef") or {}
        assert isinstance(reference, dict)
        status = event.get("responseStatus") or {}
        assert isinstance(status, dict)
        kind = f"{event['verb']} {reference.get('resource', '')} {status.get('code', '')}"
        found[str(event["auditID"])] = (at.timestamp(), kind)
    return sorted(found.values())


def middle(usages: Sequence[Usage], what: str) -> float:
    values = sorted(getattr(each, what) for each in usages)
    return float(values[len(values) // 2]) if values else 0.0


if __name__ == "__main__":
    main()
