"""Lines as SVG files in docs/, by matplotlib (the extra `bench`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure

from bench.report import DOCS

matplotlib.rcParams["svg.hashsalt"] = "dtagent"  # the same picture is the same file

Line = tuple[Sequence[float], Sequence[float]]


def plot(
    name: str,
    lines: Mapping[str, Line],
    across: str,
    up: str,
    *,
    logarithmic: bool = False,
    steps: bool = False,
) -> str:
    """Draw each line (x, y) under its name into `docs/performance-<name>.svg`; the page's link."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, (x, y) in lines.items():
        if steps:
            axes.step(x, y, label=label, where="post")
        else:
            axes.plot(x, y, label=label, marker="." if len(x) < 50 else "")
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend()
    file = f"performance-{name}.svg"
    figure.savefig(DOCS / file, metadata={"Date": None})
    return f"![{up} against {across}]({file})"
