"""When the newest labels are published, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

from dtagent.errors import UnreachableError
from dtagent.host.log import Systemd
from dtagent.host.status import Status
from dtagent.publish.reconcile import BURST, BURST_TIME, Outcome, Publisher, Reconciler


class Published(Publisher):
    """A publisher that succeeds, each time with a change."""

    def publish(self, labels: Mapping[str, str]) -> Outcome:
        return Outcome("the Node", ["+a=1"], dict(labels))


def test_the_status_claims_no_label_that_the_burst_limit_still_holds_back() -> None:
    now, status = 0.0, Status(Systemd({}))
    reconciler = Reconciler(status, lambda: now)
    reconciler.use(Published())
    for number in range(BURST):
        reconciler.want({"a": str(number)}, resync=False)
        reconciler.step()
    reconciler.want({"a": "1", "late": "1"}, resync=False)
    status.update(overlays=["hat"])
    reconciler.step()
    assert status.report.labels == {"a": str(BURST - 1)}
    assert status.report.status.startswith("1 label true on the Node at ")
    assert status.report.status.endswith("; overlays: hat")
    now = BURST_TIME
    assert reconciler.due == now
    reconciler.step()
    assert status.report.labels == {"a": "1", "late": "1"}


class Stale(Published):
    """One whose connection is made of something that is another by now."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def publish(self, labels: Mapping[str, str]) -> Outcome:
        self.done.append("publish")
        return Outcome("the Node", [], dict(labels))

    def outdated(self) -> bool:
        return "close" not in self.done

    def close(self) -> None:
        self.done.append("close")


def test_a_resync_connects_anew_where_a_kubeconfig_or_the_clock_has_changed() -> None:
    """After a suspend, say, when the watch may be dead and nobody has noticed."""
    publisher, reconciler = Stale(), Reconciler(Status(Systemd({})), lambda: 0.0)
    reconciler.use(publisher)
    for resync in (False, False, True):
        reconciler.want({"a": "1"}, resync)
        reconciler.step()
    assert publisher.done == ["publish", "close", "publish"]


class Unwatched(Published):
    """A Node that nobody watches: it is read when that is asked for."""

    def __init__(self) -> None:
        self.read = 0

    def resync(self) -> None:
        self.read += 1


def test_a_resync_looks_at_the_node_even_when_the_labels_are_others_as_well() -> None:
    publisher, status = Unwatched(), Status(Systemd({}))
    reconciler = Reconciler(status, lambda: 0.0)
    reconciler.use(publisher)
    reconciler.want({"a": "1"}, resync=True, why="overlay hat applied")
    reconciler.step()
    assert publisher.read == 1
    assert status.report.last_change["why"] == "overlay hat applied"


class Away(Published):
    """A server that is out of reach, until it is not."""

    away = True

    def publish(self, labels: Mapping[str, str]) -> Outcome:
        if self.away:
            raise UnreachableError("no route")
        return super().publish(labels)


def test_what_waits_for_an_outage_to_end_keeps_its_cause_through_a_resync() -> None:
    now, status, publisher = 0.0, Status(Systemd({})), Away()
    reconciler = Reconciler(status, lambda: now)
    reconciler.use(publisher)
    reconciler.want({"a": "1"}, resync=True, why="overlay hat applied")
    reconciler.step()
    reconciler.want({"a": "1"}, resync=True, why="the devicetree changed")
    publisher.away, now = False, 3600.0
    reconciler.step()
    assert status.report.last_change["why"] == "overlay hat applied"
