"""When the newest labels are published, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

from dtagent.host.status import Report, Status
from dtagent.host.systemd import Systemd
from dtagent.publish.publisher import Outcome, Publisher
from dtagent.publish.reconcile import BURST, BURST_TIME, Reconciler


class Published(Publisher):
    """A publisher that succeeds, each time with a change."""

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        return Outcome("the Node", ["+a=1"], dict(labels))


class Told(Status):
    """What would be told."""

    def __init__(self) -> None:
        super().__init__(Systemd({}))
        self.reports: list[Report] = []

    def report(self, report: Report) -> None:
        self.reports.append(report)


def test_the_status_claims_no_label_that_the_burst_limit_still_holds_back() -> None:
    now, told = 0.0, Told()
    reconciler = Reconciler(told, lambda: now)
    reconciler.use(Published())
    for number in range(BURST):
        reconciler.want({"a": str(number)}, frozenset(), resync=False)
        reconciler.step()
    reconciler.want({"a": "1", "late": "1"}, frozenset({"hat"}), resync=False)
    reconciler.step()
    assert told.reports[-1].overlays == {"hat"}
    assert told.reports[-1].labels == {"a": str(BURST - 1)}
    assert told.reports[-1].status.startswith("1 label true on the Node at ")
    now = BURST_TIME
    assert reconciler.due == now
    reconciler.step()
    assert told.reports[-1].labels == {"a": "1", "late": "1"}
