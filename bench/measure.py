"""What the kernel counts of a process: memory, processor, wake-ups, threads, descriptors, calls.

proc(5): VmRSS, RssAnon and VmHWM of /proc/PID/status, utime and stime of /proc/PID/stat. MB are
2**20 bytes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """One look at a process."""

    resident: float
    """MB now, shared libraries among them"""
    anonymous: float
    """MB that are no file's: what the process alone has"""
    peak: float
    """MB resident at the most"""
    threads: int
    descriptors: int
    switches: int
    """voluntary context switches of all threads: each is a wait that ended, a wake-up"""
    processor: float
    """seconds, user and system"""

    def __str__(self) -> str:
        return (
            f"{self.resident:.1f} MB resident, {self.anonymous:.1f} anonymous, "
            f"{self.threads} threads, {self.descriptors} descriptors"
        )


def usage(pid: int) -> Usage:
    """Look at a process that is running."""
    proc = Path(f"/proc/{pid}")
    status = _fields(proc / "status")
    switches = 0
    for task in (proc / "task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            switches += int(_fields(task / "status")["voluntary_ctxt_switches"])
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    resident, anonymous, peak = (
        int(status[key].split()[0]) / 1024 for key in ("VmRSS", "RssAnon", "VmHWM")
    )
    return Usage(
        resident=resident,
        anonymous=anonymous,
        peak=peak,
        threads=int(status["Threads"]),
        descriptors=len(list((proc / "fd").iterdir())),
        switches=switches,
        processor=(int(fields[11]) + int(fields[12])) / TICK,
    )


def _fields(file: Path) -> Mapping[str, str]:
    return dict(line.split(":", 1) for line in file.read_text().splitlines())


def seconds(command: Sequence[str], rounds: int, environ: Mapping[str, str] | None = None) -> float:
    """The median of `rounds` runs of a command, the first of which fills the page cache."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environ)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def system_calls(command: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """How many system calls a command makes, its threads and children among them (strace(1))."""
    with tempfile.NamedTemporaryFile("r") as counts:
        counting = ["strace", "-f", "-qq", "-c", "-U", "calls,name", "-o", counts.name]
        subprocess.run([*counting, *command], check=True, capture_output=True, env=environ)
        return int(counts.read().split()[-2])
