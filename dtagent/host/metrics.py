"""What is counted, for node_exporter's textfile collector: metrics without a port of our own.

Not by prometheus_client: importing that takes 5 MB, and its writer leaves the mode to the unit's
umask. Format: Prometheus documentation, "Exposition formats", text.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtagent.host.status import Report

# Name, label, the values that are there from the beginning, what is counted.
_COUNTERS = (
    ("scans_total", "result", ("success", "failure"), "Scans of the devicetree."),
    ("scan_seconds_total", "", ("",), "Seconds that scans took."),
    ("publications_total", "result", ("changed", "unchanged", "failed"), "Labels made true."),
    ("api_errors_total", "kind", (), "Failed publications, by kind of failure."),
    ("reloads_total", "result", ("success", "failure"), "Reloads of the configuration."),
)
REMEDY = (
    "its folder must be there, and the unit must be allowed to write in it: see the drop-in "
    "metrics.conf among the examples"
)

log = logging.getLogger(__name__)


def text(report: Report, counts: Mapping[tuple[str, str], float]) -> Iterator[str]:
    """A line each; `counts` are by the name of a counter and the value of its label."""
    for name, label, values, what in _COUNTERS:
        yield from (f"# HELP dtagent_{name} {what}", f"# TYPE dtagent_{name} counter")
        seen = {value: number for (counter, value), number in counts.items() if counter == name}
        for value, number in {**dict.fromkeys(values, 0), **seen}.items():
            labels = f'{{{label}="{value}"}}' if label else ""
            yield f"dtagent_{name}{labels} {number}"
    success = datetime.fromisoformat(report.at).timestamp() if report.at else 0
    for name, number, what in (
        ("healthy", report.healthy, "1 if the labels are true."),
        ("tree_readable", not report.tree_failure, "1 if the devicetree can be read."),
        ("labels", len(report.labels), "Labels that were made true."),
        ("labels_left_alone", len(report.left_alone), "Labels that others set back each time."),
        ("overlays", len(report.overlays), "Overlays that are applied."),
        ("last_success_timestamp_seconds", success, "When the labels were last made true."),
    ):
        yield from (f"# HELP dtagent_{name} {what}", f"# TYPE dtagent_{name} gauge")
        yield f"dtagent_{name} {float(number)}"


def check(file: str) -> None:
    """Warn if its folder cannot be looked into: most often it is not there."""
    try:
        Path(file).parent.stat()
    except OSError as error:
        log.warning("%s: %s; %s", file, error.strerror, REMEDY)
