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


class Stale(Published):
    """One whose connection is made of something that is another by now."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def publish(self, labels: Mapping[str, str], resync: bool = True) -> Outcome:
        self.done.append("publish")
        return Outcome("the Node", [], dict(labels))

    def drifted(self, labels: Mapping[str, str]) -> bool:
        return "close" in self.done  # while its watch is up, it would say no

    def outdated(self) -> bool:
        return "close" not in self.done

    def close(self) -> None:
        self.done.append("close")


def test_a_resync_connects_anew_where_a_kubeconfig_or_the_clock_has_changed() -> None:
    """After a suspend, say, when the watch may be dead and nobody has noticed."""
    publisher, reconciler = Stale(), Reconciler(Told(), lambda: 0.0)
    reconciler.use(publisher)
    for resync in (False, False, True):
        reconciler.want({"a": "1"}, frozenset(), resync)
        reconciler.step()
    assert publisher.done == ["publish", "close", "publish"]
