"""What is counted, for node_exporter's textfile collector: metrics without a port of our own.

Not by prometheus_client: importing that takes 5 MB, and its writer leaves the mode to the unit's
umask. Format: Prometheus documentation, "Exposition formats", text.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from dtagent.host.status import Report


def text(report: Report, counts: Mapping[tuple[str, str], float]) -> Iterator[str]:
    """Its lines; `counts` are by the name of a counter and the value of its label."""
    tries, published = {"success": 0, "failure": 0}, {"changed": 0, "unchanged": 0, "failed": 0}
    at = datetime.fromisoformat(report.at).timestamp() if report.at else 0
    left = len(report.left_alone)
    # Name, label, a number for each value that is there from the beginning, what it says.
    table: tuple[tuple[str, str, Mapping[str, float], str], ...] = (
        ("scans_total", "result", tries, "Scans of the devicetree."),
        ("scan_seconds_total", "", {"": 0}, "Seconds that scans took."),
        ("publications_total", "result", published, "Labels made true."),
        ("api_errors_total", "kind", {}, "Failed publications, by kind of failure."),
        ("reloads_total", "result", tries, "Reloads of the configuration."),
        ("healthy", "", {"": report.healthy}, "1 if the labels are true."),
        ("tree_readable", "", {"": not report.tree_failure}, "1 if the devicetree can be read."),
        ("labels", "", {"": len(report.labels)}, "Labels that were made true."),
        ("labels_left_alone", "", {"": left}, "Labels that others set back each time."),
        ("overlays", "", {"": len(report.overlays)}, "Overlays that are applied."),
        ("last_success_timestamp_seconds", "", {"": at}, "When the labels were last made true."),
    )
    for name, label, samples, what in table:
        kind = "counter" if name.endswith("_total") else "gauge"
        yield f"# HELP dtagent_{name} {what}\n# TYPE dtagent_{name} {kind}\n"
        counted = {value: number for (of, value), number in counts.items() if of == name}
        for value, number in {**samples, **counted}.items():
            labels = f'{{{label}="{value}"}}' if label else ""
            yield f"dtagent_{name}{labels} {float(number)}\n"
