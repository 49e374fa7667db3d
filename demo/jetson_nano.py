"""An example board, after the Jetson Nano: no dump of one, but shaped as one.

Its numbers are for show. What holds as on the real thing: /gpu@57000000 is at the root, an
LED group has a child node called `status`, and half of the buses are off.
"""

from __future__ import annotations

from demo.tree import Tree, cells, strings

CLOCKS, INTERRUPTS, GPIO, PWM, FAN, RAIL, CPU_HOT, VDD_CORE = range(1, 9)
"""Phandles: what another node points with."""

OFF = strings("disabled")
ON = strings("okay")


def _cpu(number: int) -> Tree:
    return {
        "device_type": strings("cpu"),
        "compatible": strings("arm,cortex-a57"),
        "reg": cells(number),
        "enable-method": strings("psci"),
    }


def _device(
    compatible: tuple[str, ...], at: int, size: int, clock: int, more: Tree | None = None
) -> Tree:
    """A device in the SoC's address space; `more` stands beside what every device has."""
    return {
        "compatible": strings(*compatible),
        "reg": cells(0, at, 0, size),
        "clocks": cells(CLOCKS, clock),
        **(more or {}),
    }


def _tegra(name: str, at: int, size: int, clock: int, status: bytes) -> Tree:
    return _device((f"nvidia,tegra210-{name}",), at, size, clock, {"status": status})


def _i2c(at: int, clock: int, status: bytes, devices: Tree | None = None) -> Tree:
    bus: Tree = {"#address-cells": cells(1), "#size-cells": cells(0)}
    return _tegra("i2c", at, 0x100, clock, status) | bus | (devices or {})


def _uart(at: int, clock: int, status: bytes) -> Tree:
    names = ("nvidia,tegra210-uart", "nvidia,tegra20-uart")
    return _device(names, at, 0x40, clock, {"status": status})


JETSON_NANO: Tree = {
    "compatible": strings("nvidia,jetson-nano", "nvidia,tegra210"),
    "model": strings("NVIDIA Jetson Nano Developer Kit"),
    "serial-number": strings("0421019012345"),
    "#address-cells": cells(2),
    "#size-cells": cells(2),
    "interrupt-parent": cells(INTERRUPTS),
    "aliases": {
        "serial0": strings("/serial@70006000"),
        "i2c0": strings("/i2c@7000c000"),
        "i2c4": strings("/i2c@7000d000"),
        "mmc0": strings("/sdhci@700b0000"),
    },
    "chosen": {
        "bootargs": strings("console=ttyS0,115200n8 root=/dev/mmcblk0p1 rw rootwait"),
        "stdout-path": strings("serial0:115200n8"),
    },
    "cpus": {
        "#address-cells": cells(1),
        "#size-cells": cells(0),
        "cpu@0": _cpu(0),
        "cpu@1": _cpu(1),
        "cpu@2": _cpu(2),
        "cpu@3": _cpu(3),
    },
    "memory@80000000": {
        "device_type": strings("memory"),
        "reg": cells(0, 0x80000000, 0, 0xFEE00000),
    },
    "reserved-memory": {
        "#address-cells": cells(2),
        "#size-cells": cells(2),
        "ranges": b"",
        "framebuffer@92c00000": {"reg": cells(0, 0x92C00000, 0, 0x800000), "no-map": b""},
    },
    "firmware": {
        "optee": {"compatible": strings("linaro,optee-tz"), "method": strings("smc")},
        "security-key": bytes(range(16)),
    },
    "psci": {"compatible": strings("arm,psci-1.0"), "method": strings("smc")},
    "timer": {"compatible": strings("arm,armv8-timer"), "always-on": b""},
    "interrupt-controller@50041000": {
        "compatible": strings("arm,gic-400"),
        "reg": cells(0, 0x50041000, 0, 0x1000, 0, 0x50042000, 0, 0x2000),
        "interrupt-controller": b"",
        "#interrupt-cells": cells(3),
        "phandle": cells(INTERRUPTS),
    },
    "host1x@50000000": {
        "compatible": strings("nvidia,tegra210-host1x"),
        "reg": cells(0, 0x50000000, 0, 0x34000),
        "#address-cells": cells(2),
        "#size-cells": cells(2),
        "ranges": cells(0, 0x54000000, 0, 0x54000000, 0, 0x1000000),
        "dc@54200000": _tegra("dc", 0x54200000, 0x40000, 27, ON),
        "dsi@54300000": _tegra("dsi", 0x54300000, 0x40000, 48, OFF),
        "vic@54340000": _tegra("vic", 0x54340000, 0x40000, 178, OFF),
        "sor@54580000": _tegra("sor1", 0x54580000, 0x40000, 183, ON),
    },
    "gpu@57000000": _device(
        ("nvidia,tegra210-gm20b", "nvidia,gm20b"), 0x57000000, 0x1000000, 184, {"status": ON}
    ),
    "clock@60006000": {
        "compatible": strings("nvidia,tegra210-car"),
        "reg": cells(0, 0x60006000, 0, 0x1000),
        "#clock-cells": cells(1),
        "phandle": cells(CLOCKS),
    },
    "gpio@6000d000": {
        "compatible": strings("nvidia,tegra210-gpio", "nvidia,tegra30-gpio"),
        "reg": cells(0, 0x6000D000, 0, 0x1000),
        "#gpio-cells": cells(2),
        "gpio-controller": b"",
        "phandle": cells(GPIO),
        "camera-mux": {"gpio-hog": b"", "gpios": cells(56, 0), "output-high": b""},
    },
    "serial@70006000": _uart(0x70006000, 6, ON),
    "serial@70006040": _uart(0x70006040, 7, ON),
    "serial@70006200": _uart(0x70006200, 55, OFF),
    "i2c@7000c000": _i2c(0x7000C000, 12, ON),
    "i2c@7000c400": _i2c(
        0x7000C400,
        54,
        ON,
        {"eeprom@57": {"compatible": strings("atmel,24c02"), "reg": cells(0x57)}},
    ),
    "i2c@7000c700": _i2c(0x7000C700, 103, OFF),
    "i2c@7000d000": _i2c(
        0x7000D000,
        47,
        ON,
        {
            "pmic@3c": {
                "compatible": strings("maxim,max77620"),
                "reg": cells(0x3C),
                "regulators": {
                    "sd0": {"regulator-name": strings("vdd_core"), "phandle": cells(VDD_CORE)},
                },
            },
        },
    ),
    "spi@7000d400": _tegra("spi", 0x7000D400, 0x200, 41, OFF),
    "spi@7000d600": _tegra("spi", 0x7000D600, 0x200, 44, OFF),
    "pwm@7000a000": {
        **_tegra("pwm", 0x7000A000, 0x100, 17, ON),
        "#pwm-cells": cells(2),
        "phandle": cells(PWM),
    },
    "rtc@7000e000": _device(("nvidia,tegra20-rtc",), 0x7000E000, 0x100, 4),
    "usb@70090000": _tegra("xusb", 0x70090000, 0x8000, 89, ON),
    "pcie@1003000": {
        **_tegra("pcie", 0x1003000, 0x800, 70, ON),
        "device_type": strings("pci"),
        "pci@1,0": {"device_type": strings("pci"), "reg": cells(0x800, 0, 0, 0, 0)},
        "pci@2,0": {"device_type": strings("pci"), "reg": cells(0x1000, 0, 0, 0, 0)},
    },
    "sdhci@700b0000": {
        **_tegra("sdhci", 0x700B0000, 0x200, 14, ON),
        "bus-width": cells(4),
        "vmmc-supply": cells(RAIL),
    },
    "sdhci@700b0600": _tegra("sdhci", 0x700B0600, 0x200, 15, OFF),
    "pwm-fan": {
        "compatible": strings("pwm-fan"),
        "pwms": cells(PWM, 3, 45334),
        "cooling-levels": cells(0, 64, 128, 255),
        "#cooling-cells": cells(2),
        "phandle": cells(FAN),
    },
    "leds": {
        "compatible": strings("gpio-leds"),
        "status": {"label": strings("green:status"), "gpios": cells(GPIO, 65, 0)},
    },
    "regulator-vdd-3v3-sd": {
        "compatible": strings("regulator-fixed"),
        "regulator-name": strings("vdd-3v3-sd"),
        "enable-active-high": b"",
        "phandle": cells(RAIL),
    },
    "thermal-zones": {
        "cpu-thermal": {
            "polling-delay": cells(0),
            "trips": {"hot": {"temperature": cells(82000), "phandle": cells(CPU_HOT)}},
            "cooling-maps": {"map0": {"trip": cells(CPU_HOT), "cooling-device": cells(FAN, 0, 3)}},
        },
    },
    "__symbols__": {
        "gpu": strings("/gpu@57000000"),
        "fan": strings("/pwm-fan"),
        "uarta": strings("/serial@70006000"),
        "gen1_i2c": strings("/i2c@7000c000"),
        "sdmmc1": strings("/sdhci@700b0000"),
    },
}
