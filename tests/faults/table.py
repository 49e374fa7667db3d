"""All the faults, each with a name of its own, which is its Node's name too."""

from __future__ import annotations

from . import by_answer, by_credentials, by_name, by_network, by_node

FAULTS = {
    fault.name: fault
    for fault in (
        # Those that take longest begin first.
        *by_network.FAULTS,
        *by_node.FAULTS,
        *by_answer.FAULTS,
        *by_credentials.FAULTS,
        *by_name.FAULTS,
    )
}
