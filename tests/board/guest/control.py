"""The board's end of the tests' control channel: runs commands, writes files, says how it went.

One JSON object a line each way, over a virtio port. Only light modules are imported: everything
here is emulated, and the tests wait for it to start.
"""
# pathlib is not light.
# ruff: noqa: PTH101, PTH103, PTH120, PTH208

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PORTS = "/sys/class/virtio-ports"


def run(command: str, timeout: float) -> dict[str, Any]:
    """Run a command under sh; past its deadline it is killed with all it started.

    Output goes to memory files and not to pipes: a command may leave something running in the
    background, which would hold a pipe open for ever.
    """
    outputs = [os.memfd_create(name) for name in ("stdout", "stderr")]
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd="/root",
            stdin=subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
        stdout, stderr = (text(output) for output in outputs)
    finally:
        for output in outputs:
            os.close(output)
    return {"status": status, "stdout": stdout, "stderr": stderr}


def text(output: int) -> str:
    """All that was written to a memory file; bytes that are no UTF-8 show as escapes."""
    return os.pread(output, os.fstat(output).st_size, 0).decode(errors="backslashreplace")


def put(path: str, data: str, mode: int) -> dict[str, Any]:
    """Write a file whole, folders above it included."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(base64.b64decode(data))
    os.chmod(path, mode)
    return {}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do one request; what goes wrong with it is its answer."""
    kinds: dict[str, Callable[..., dict[str, Any]]] = {"run": run, "put": put}
    try:
        return kinds[request["kind"]](**request["arguments"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> int:
    (name,) = os.listdir(PORTS)  # vport2p1: the number of the device depends on what else there is
    with open(f"/dev/{name}", "r+b", buffering=0) as port:
        port.write(b'{"id": 0}\n')
        for line in io.BufferedReader(port, 1 << 16):
            request = json.loads(line)
            reply = json.dumps({"id": request["id"], **answer(request)}).encode() + b"\n"
            while reply:
                reply = reply[port.write(reply) or 0 :]
    return 0  # the host has closed its end


if __name__ == "__main__":
    sys.exit(main())
