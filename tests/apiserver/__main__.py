"""`python -m tests.apiserver`: a cluster to try the agent against by hand, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from types import FrameType

from demo.jetson_nano import JETSON_NANO
from demo.tree import write_tree
from tests.apiserver import ApiServer, AssetsUnavailable, assets

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

HELP = """
A Kubernetes API server at {url}, with one Node, {node}: this host.

Publish the labels of an example board, or keep them true from another terminal (SIGHUP: scan now):

    {dtagent} publish --kubeconfig {kubeconfig} --root {root} -n gpu
    RUNTIME_DIRECTORY={runtime} {dtagent} run --kubeconfig {kubeconfig} --root {root} -n gpu

See them:

    curl -s --cacert {ca} --cert {admin}.crt --key {admin}.key \\
        {url}/api/v1/nodes/{node} | sed -n '/"labels"/,/}}/p'

Ctrl-C ends it and leaves nothing behind.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.apiserver", description=__doc__)
    parser.add_argument(
        "--assets",
        action="store_true",
        help="print the folder of kube-apiserver and etcd, built when not there yet, and exit",
    )
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        if options.assets:
            sys.stdout.write(f"{assets()}\n")
        else:
            _serve()
    except (AssetsUnavailable, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _serve() -> None:
    """Start the cluster, say how to use it, and wait for a signal."""
    node = socket.gethostname().lower()
    with tempfile.TemporaryDirectory(prefix="dtagent-") as work:
        root, runtime = Path(work, "devicetree"), Path(work, "run")
        runtime.mkdir()
        write_tree(JETSON_NANO, root)
        with ApiServer(Path(work, "cluster")) as server:
            server.create_node(node, boot_id=BOOT_ID.read_text().strip())
            help_text = HELP.format(
                url=server.url,
                node=node,
                dtagent=os.path.relpath(Path(sys.executable).with_name("dtagent")),
                kubeconfig=server.kubeconfig(node),
                root=root,
                runtime=runtime,
                ca=server.ca_file,
                admin=server.admin_kubeconfig(),
            )
            sys.stdout.write(help_text)
            sys.stdout.flush()
            while True:
                signal.pause()


def _end(_number: int, _frame: FrameType | None) -> None:
    """The first signal ends it; those that follow find it at that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
