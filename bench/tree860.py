"""A tree of 860 nodes and 5,362 properties, the size at which the tools before were measured.

Made up, in the proportions of a large SoC: most nodes are pin groups, operating points and devices
with ten properties and more, the deepest six steps down (/soc/bus@…/i2c@…/pmic@…/regulators/buck0).
Each node has its `name` property, so the dict, the folder and the blob have the same numbers.
"""

from __future__ import annotations

from demo.tree import Tree, cells, nodes, strings

NODES = 860
PROPERTIES = 5362
DISABLED = 20

BUSES = 16
KINDS = ("i2c", "spi", "serial", "mmc", "pwm", "usb", "watchdog", "dma", "i2s", "can", "adc")


def tree860() -> Tree:
    """The tree, a new one at each call and always the same."""
    root: Tree = {
        "compatible": strings("example,bench-board-v2", "example,bench-board", "example,soc860"),
        "model": strings("Example Bench Board"),
        "serial-number": strings("0123456789abcdef"),
        "#address-cells": cells(2),
        "#size-cells": cells(2),
        "interrupt-parent": cells(1),
        "aliases": {f"serial{bus}": strings(f"/soc/bus@{bus}/serial@2") for bus in range(BUSES)},
        "chosen": {"stdout-path": strings("serial0:115200n8")},
        "memory@80000000": {"device_type": strings("memory"), "reg": cells(0, 1 << 31, 1, 0)},
        "cpus": _cpus(),
        "reserved-memory": {f"region@{at}": {"reg": cells(0, at, 0, 1)} for at in range(8)},
        "gpu@57000000": _device("gpu", 0x57000000),
        "pwm-fan": {"compatible": strings("pwm-fan"), "pwms": cells(2, 0, 45334)},
        "soc": {f"bus@{at}": bus(at) for at in range(BUSES)},
    }
    for table in range(4):
        points = {f"opp-{mhz}000000": _operating_point(mhz) for mhz in range(200, 1400, 100)}
        root[f"opp-table-{table}"] = {"compatible": strings("operating-points-v2"), **points}
    devices = [node for path, node in nodes(root) if path.count("/") == 3 and "clocks" in node]
    for device in devices[:: len(devices) // DISABLED][:DISABLED]:
        device["status"] = strings("disabled")
    pins: Tree = {"compatible": strings("example,soc860-pinctrl"), "reg": cells(0, 0x3000, 0, 0x10)}
    root["pinctrl@3000"] = pins
    for group in range(NODES - len(list(nodes(root)))):
        pins[f"group{group}"] = pin_group(group)
    complete(root, PROPERTIES)
    return root


def properties(tree: Tree) -> int:
    """How many properties there are in all."""
    return sum(isinstance(value, bytes) for _, node in nodes(tree) for value in node.values())


def _cpus() -> Tree:
    cpus: Tree = {"#address-cells": cells(1), "#size-cells": cells(0)}
    for number in range(8):
        names = {"device_type": strings("cpu"), "compatible": strings("arm,cortex-a57")}
        cpus[f"cpu@{number}"] = {
            **names,
            "reg": cells(number),
            "l2-cache": {"cache-level": cells(2)},
        }
    return cpus


def bus(number: int) -> Tree:
    """A bus of 24 nodes, which are devices and regulators."""
    table: Tree = {"compatible": strings("simple-bus"), "ranges": b"", "#address-cells": cells(1)}
    for at, kind in enumerate(KINDS):
        table[f"{kind}@{at}"] = _device(kind, number << 16 | at << 12)
    bucks: Tree = {
        f"buck{buck}": {
            "regulator-name": strings(f"vdd-{number}-{buck}"),
            "regulator-min-microvolt": cells(600_000),
            "regulator-max-microvolt": cells(1_800_000),
        }
        for buck in range(10)
    }
    pmic: Tree = {"compatible": strings("maxim,max77620"), "reg": cells(0x3C), "regulators": bucks}
    table["i2c@0"] = {**_device("i2c", number << 16), "pmic@3c": pmic}
    return table


def pin_group(number: int) -> Tree:
    """The pins of one function: a node without a compatible, as most are."""
    return {
        "pins": strings(f"GPIO{number}", f"GPIO{number + 1}"),
        "function": strings(KINDS[number % len(KINDS)]),
        "drive-strength": cells(4),
        "bias-disable": b"",
        "phandle": cells(0x1000 + number),
    }


def _device(kind: str, at: int) -> Tree:
    return {
        "compatible": strings(f"example,soc860-{kind}", f"example,soc1-{kind}"),
        "reg": cells(0, at, 0, 0x1000),
        "interrupts": cells(0, at >> 12 & 0xFF, 4),
        "clocks": cells(3, 1, 3, 2),
        "clock-names": strings("core", "bus"),
        "resets": cells(4, 1),
        "reset-names": strings("core"),
        "power-domains": cells(5, 2),
        "pinctrl-0": cells(0x1000),
        "pinctrl-names": strings("default"),
    }


def _operating_point(mhz: int) -> Tree:
    return {"opp-hz": cells(0, mhz * 1_000_000), "opp-microvolt": cells(800_000)}


def complete(root: Tree, total: int) -> None:
    """Give each node its name, and the nodes in turn one property more until there are `total`."""
    every = list(nodes(root))
    for path, node in every:
        node["name"] = strings(path.rpartition("/")[2].partition("@")[0])
    for number in range(total - properties(root)):
        _, node = every[number % len(every)]
        node[f"example,tuning-{number // len(every)}"] = cells(number)
