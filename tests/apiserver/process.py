"""One program of ours in the background: started, waited for, ended, by its own process id."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STOP = 10.0
"""Seconds a killed program gets to be gone."""

STEP = 0.05
"""Seconds between two looks at a program that is starting."""


class Process:
    """A command that runs in `directory`, with what it says in `<its name>.log` there.

    Once it runs it ends with us however we end, killed included (prctl(2), PR_SET_PDEATHSIG, where
    there is a setpriv(1)). Ctrl-C is for us alone to act on. `environ` is added to our environment.
    """

    def __init__(self, command: Sequence[str], directory: Path, **environ: str) -> None:
        self._command = tuple(command)
        self._environ = environ
        self._directory = directory
        self._name = Path(command[0]).name
        self.log = directory / f"{self._name}.log"
        self._running: subprocess.Popen[bytes] | None = None
        # "Parent" in prctl(2) is the thread that forked, and a test may start a server from a
        # thread that ends: this one stays for as long as the program does.
        self._parent: ThreadPoolExecutor | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it is started."""
        return self._running.pid if self._running else None

    def start(self) -> None:
        if self._running:
            raise RuntimeError(f"{self._name} is already started")
        setpriv = shutil.which("setpriv")
        guard = (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
        self._parent = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        with self.log.open("ab") as log:
            self._running = self._parent.submit(
                subprocess.Popen,
                (*guard, *self._command),
                cwd=self._directory,
                env={**os.environ, **self._environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).result()

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait for `ready`; RuntimeError with the end of its log when it ends or is too slow."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._running is None or self._running.poll() is not None:
                raise RuntimeError(f"{self._name} ended while starting:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._name} not ready after {seconds:g} s:\n{self._tail()}")
            time.sleep(STEP)

    def signal(self, number: signal.Signals) -> None:
        if self._running is None:
            raise RuntimeError(f"{self._name} is not started")
        self._running.send_signal(number)

    def stop(self) -> None:
        """End it at once, as a power cut would; nothing when it is not started.

        Asked politely, kube-apiserver waits for every open watch. What it answered is with etcd and
        in the audit log by then, and what etcd wrote is with the kernel.
        """
        if self._running is not None:
            self._running.kill()
            self._running.wait(STOP)
        if self._parent is not None:
            self._parent.shutdown()
        self._running = self._parent = None

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
