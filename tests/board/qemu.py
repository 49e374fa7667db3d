"""The emulator's command line, and the devicetree of the board it emulates."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deb.host import run

from .build import Images

HARDWARE = ("-cpu", "cortex-a72", "-smp", "2", "-m", "1024", "-display", "none", "-nodefaults")
# The kernel finds the slots of this machine in reverse: the last disc is /dev/vda.
DISCS = (
    *("-device", "virtio-blk-device,drive=files", "-device", "virtio-blk-device,drive=root"),
    *("-device", "virtio-rng-device"),
)
CHANNEL = ("-device", "virtio-serial-device", "-device", "virtserialport,chardev=channel")
NETWORK = ("-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-device,netdev=net")
COMMAND_LINE = (
    "console=ttyAMA0 loglevel=4 panic=-1 root=/dev/vda rw init=/usr/lib/board/init"
    " ip=10.0.2.15::10.0.2.2:255.255.255.0:board:eth0:off"
    # Nobody reads the serial line but after a failure, and each byte of it is emulated.
    " systemd.show_status=error systemd.log_level=warning"
)


def start(
    images: Images, payload: Path, console: Path, channel: int, kernel_arguments: str
) -> subprocess.Popen[bytes]:
    """Switch a board on. `channel` is the file descriptor of its control port's other end."""
    return subprocess.Popen(
        [
            # However this process ends, the board does not outlive it.
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-aarch64", "-M", "virt", *HARDWARE),
            *("-kernel", images.kernel, "-append", f"{COMMAND_LINE} {kernel_arguments}"),
            *("-dtb", _devicetree(console.with_name("board.dtb"))),
            *("-serial", f"file:{console}", "-no-reboot"),
            *("-drive", f"id=root,if=none,format=raw,snapshot=on,file={images.rootfs}"),
            *("-drive", f"id=files,if=none,format=raw,readonly=on,file={payload}"),
            *("-chardev", f"socket,id=channel,fd={channel}"),
            *(*DISCS, *CHANNEL, *NETWORK),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        pass_fds=[channel],
    )


def _devicetree(path: Path) -> Path:
    """The machine's own tree, under the name of a board that people have.

    A kernel whose tree has no /__symbols__ refuses an overlay with labels, so it gets an empty one.
    """
    run("qemu-system-aarch64", "-M", f"virt,dumpdtb={path}", *HARDWARE)
    run("fdtput", "-t", "s", path, "/", "compatible", "raspberrypi,4-model-b", "brcm,bcm2711")
    run("fdtput", "-t", "s", path, "/", "model", "Raspberry Pi 4 Model B")
    run("fdtput", "-c", path, "/__symbols__")
    return path
