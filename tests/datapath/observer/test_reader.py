"""A ring and its readers: where they begin, what they see, what they lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from trireme_collector.records import ActionType, EndPoint, FlowPhase, FlowRecord, PacketReport
from trireme_datapath.observer import (
    FlowFilter,
    FlowObserver,
    FlowReader,
    FlowRing,
    FlowsRequest,
    LostEvents,
    ObservingCollector,
    RequestError,
    SeenFlow,
)
from trireme_datapath.observer.flow_filter import EventTypeFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND


def record(port: int, at: int, *, rejected: bool = False) -> FlowRecord:
    """Make a flow; a rejected one is told of later, so that it is one event and not two."""
    return FlowRecord(
        source=EndPoint(ip="192.0.2.1", port=port),
        destination=EndPoint(ip="192.0.2.2", port=443),
        l4_protocol=6,
        action=ActionType.REJECT if rejected else ActionType.ACCEPT,
        phase=FlowPhase.ENDED if rejected else UNSET,
        start_time_ns=START + at * SECOND,
        end_time_ns=START + at * SECOND,
    )


def observed(count: int, *, max_flows: int = 100) -> FlowObserver:
    """See flows with the ports 1, 2, ..., one in each second; every third was rejected."""
    observer = FlowObserver("node", START, max_flows=max_flows)
    for port in range(1, count + 1):
        observer.observe(record(port, port, rejected=port % 3 == 0), START + port * SECOND)
    return observer


def source_ports(entries: Sequence[SeenFlow | LostEvents]) -> list[int]:
    found = []
    for entry in entries:
        assert isinstance(entry, SeenFlow)
        flow = entry.flow
        assert flow is not None
        l4 = flow["l4"]
        assert isinstance(l4, dict)
        found.append(l4["TCP"]["source_port"])
    return found


def read_all(reader: FlowReader, budget: int = 1000) -> list[SeenFlow | LostEvents]:
    found: list[SeenFlow | LostEvents] = []
    for _ in range(10_000):
        if reader.finished or reader.waiting:
            return found
        found += reader.read(budget, START)
    raise AssertionError("it goes on for ever")


DROPPED = (FlowFilter(verdict=("DROPPED",)),)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (FlowsRequest(number=2), [9, 10]),
        (FlowsRequest(number=2, first=True), [1, 2]),
        (FlowsRequest(number=99), list(range(1, 11))),
        (FlowsRequest(), list(range(1, 11))),
        (FlowsRequest(first=True), list(range(1, 11))),
        (FlowsRequest(number=2, allow=DROPPED), [6, 9]),
        (FlowsRequest(number=2, first=True, allow=DROPPED), [3, 6]),
        (FlowsRequest(number=3, deny=DROPPED), [7, 8, 10]),
        (FlowsRequest(since_ns=START + 8 * SECOND), [8, 9, 10]),
        (FlowsRequest(until_ns=START + 2 * SECOND), [1, 2]),
        (FlowsRequest(since_ns=START + 3 * SECOND, until_ns=START + 5 * SECOND), [3, 4, 5]),
        # With a beginning, a number counts from there.
        (FlowsRequest(number=2, since_ns=START + 3 * SECOND), [3, 4]),
        # The last ones are found first, those that are too late are left out then.
        (FlowsRequest(number=4, until_ns=START + 8 * SECOND), [7, 8]),
        (FlowsRequest(since_ns=START + 99 * SECOND), []),
        (FlowsRequest(number=2, follow=True), [9, 10]),
        (FlowsRequest(follow=True), []),
        (FlowsRequest(follow=True, since_ns=START + 9 * SECOND), [9, 10]),
    ],
)
@pytest.mark.parametrize("budget", [1, 3, 1000])
def test_where_readers_begin_and_end(
    request_: FlowsRequest, expected: list[int], budget: int
) -> None:
    reader = observed(10).read(request_)
    assert source_ports(read_all(reader, budget)) == expected
    assert reader.finished is not request_.follow
    assert reader.lost == 0


def test_first_and_follow_exclude_each_other() -> None:
    with pytest.raises(RequestError, match="first cannot be specified with follow"):
        observed(1).read(FlowsRequest(first=True, follow=True))


def test_a_filter_that_is_none_is_refused() -> None:
    with pytest.raises(RequestError, match='invalid IP address in filter: "x"'):
        observed(1).read(FlowsRequest(allow=(FlowFilter(source_ip=("x",)),)))


def test_a_follower_reads_on() -> None:
    observer = observed(3)
    reader = observer.read(FlowsRequest(follow=True, number=1, deny=DROPPED))
    assert source_ports(read_all(reader)) == [2]
    observer.observe(record(50, 50), START)
    observer.observe(record(51, 51, rejected=True), START)
    assert source_ports(reader.read(100, START)) == [50]
    assert reader.waiting
    assert not reader.finished


def test_a_follower_ends_where_it_should() -> None:
    observer = observed(1)
    reader = observer.read(FlowsRequest(follow=True, until_ns=START + 5 * SECOND))
    observer.observe(record(5, 5), START)
    observer.observe(record(6, 6), START)
    observer.observe(record(7, 7), START)
    assert source_ports(reader.read(100, START)) == [5]
    assert reader.finished


def test_what_comes_later_is_not_for_those_who_do_not_follow() -> None:
    observer = observed(3)
    reader = observer.read(FlowsRequest())
    observer.observe(record(50, 50), START)
    assert source_ports(read_all(reader)) == [1, 2, 3]


def test_a_slow_reader_is_told_what_it_lost_once_a_second() -> None:
    observer = observed(0, max_flows=4)
    reader = observer.read(FlowsRequest(follow=True))
    for port in range(1, 11):
        observer.observe(record(port, port), START)
    found = reader.read(1, START)
    assert isinstance(found[0], LostEvents)
    assert (found[0].source, found[0].count) == ("HUBBLE_RING_BUFFER", 6)
    assert source_ports(found[1:]) == [7]
    for port in range(11, 21):
        observer.observe(record(port, port), START)
    # The next loss waits for its second, and is counted nevertheless.
    assert source_ports(reader.read(1, START + SECOND // 2)) == [17]
    found = reader.read(10, START + SECOND)
    assert isinstance(found[0], LostEvents)
    assert found[0].count == 9
    assert source_ports(found[1:]) == [18, 19, 20]
    assert reader.lost == 15


def test_losses_elsewhere_are_told_once_a_second() -> None:
    observer = FlowObserver("node", START)
    for _ in range(5):
        observer.lost("PERF_EVENT_RING_BUFFER", 2, START, cpu=3)
    observer.lost("OBSERVER_EVENTS_QUEUE", 1, START)
    observer.lost("OBSERVER_EVENTS_QUEUE", 0, START)
    observer.observe(record(1, 1), START + SECOND)
    found = read_all(observer.read(FlowsRequest()))
    losses = [(e.source, e.count, e.cpu) for e in found if isinstance(e, LostEvents)]
    assert losses == [
        ("PERF_EVENT_RING_BUFFER", 2, 3),
        ("PERF_EVENT_RING_BUFFER", 8, 3),
        ("OBSERVER_EVENTS_QUEUE", 1, None),
    ]
    assert observer.status(START).lost == 11
    # Losses do not count where flows are counted.
    assert len(read_all(observer.read(FlowsRequest(number=1)))) == 1


@given(
    count=st.integers(0, 30),
    capacity=st.integers(1, 12),
    number=st.integers(0, 12),
    first=st.booleans(),
    since=st.none() | st.integers(0, 32),
    until=st.none() | st.integers(0, 32),
    dropped=st.booleans(),
    budget=st.integers(1, 7),
)
def test_readers_against_lists(
    count: int,
    capacity: int,
    number: int,
    first: bool,
    since: int | None,
    until: int | None,
    dropped: bool,
    budget: int,
) -> None:
    observer = observed(count, max_flows=capacity)
    kept = list(range(1, count + 1))[-capacity:]
    fitting = [port for port in kept if port % 3 == 0 or not dropped]
    if since is not None:
        wanted = [port for port in fitting if port >= since]
    elif first or not number:
        wanted = fitting
    else:
        wanted = fitting[-number:]
    if until is not None:
        wanted = [port for port in wanted if port <= until]
    if number:
        wanted = wanted[:number]
    request = FlowsRequest(
        number=number,
        first=first,
        since_ns=None if since is None else START + since * SECOND,
        until_ns=None if until is None else START + until * SECOND,
        allow=DROPPED if dropped else (),
    )
    assert source_ports(read_all(observer.read(request), budget)) == wanted


def test_nothing_is_made_of_a_flow_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    observer = observed(0)
    make = observer.maker.make

    def count(source: FlowRecord, time_ns: int, sequence: int) -> dict[str, object] | None:
        made.append(source)
        return make(source, time_ns, sequence)

    monkeypatch.setattr(observer.maker, "make", count)
    for port in range(5):
        observer.observe(record(port, port), START)
    assert made == []
    for _ in range(3):
        read_all(observer.read(FlowsRequest(number=2)))
    assert len(made) == 2


def test_flows_have_a_name_of_their_own_and_a_node() -> None:
    flows = [e.flow for e in read_all(observed(3).read(FlowsRequest())) if isinstance(e, SeenFlow)]
    identifications = [flow["uuid"] for flow in flows if flow is not None]
    assert len(set(identifications)) == 3
    assert all(str(one)[14] == "8" for one in identifications)
    assert all(flow is not None and flow["node_name"] == "node" for flow in flows)
    assert flows[0] is not None
    assert flows[0]["time"] == "2027-01-15T08:00:01Z"


def test_messages_of_a_datapath_are_flows() -> None:
    observer = FlowObserver("node", START)
    observer.observe_message(b"", START)
    observer.observe_message(b"\x82nothing", START)
    observer.observe_message(b"\x01cut", START)
    drop = bytes.fromhex("01850000000000000000000000000000") + bytes(20)
    observer.observe_message(drop, START)
    (found,) = read_all(observer.read(FlowsRequest()))
    assert isinstance(found, SeenFlow)
    assert found.flow is not None
    assert found.flow["drop_reason_desc"] == "POLICY_DENIED"
    status = observer.status(START)
    assert (status.seen, status.unsound) == (2, 1)


def test_the_rate_is_that_of_the_last_minute() -> None:
    observer = observed(90)
    assert observer.status(START + 90 * SECOND).flows_per_second == pytest.approx(61 / 60)
    small = observed(90, max_flows=11)
    assert small.status(START + 90 * SECOND).flows_per_second == pytest.approx(1.1)
    assert observed(0).status(START).flows_per_second == 0


def test_namespaces_are_remembered_for_an_hour() -> None:
    observer = FlowObserver("node", START)
    for index, name in enumerate(("b", "a", "", "b")):
        observer.observe(FlowRecord(namespace=name), START + index * SECOND)
    assert observer.namespaces(START) == ["a", "b"]
    assert observer.namespaces(START + 3602 * SECOND) == ["b"]
    for index in range(5000):
        observer.observe(FlowRecord(namespace=str(index)), START)
    assert len(observer.namespaces(START)) == 1024


def test_somebody_is_woken_once() -> None:
    observer = observed(0)
    woken: list[int] = []
    observer.wake_once(lambda: woken.append(1))
    for port in range(3):
        observer.observe(record(port, port), START)
    assert woken == [1]


def test_a_ring_keeps_the_last() -> None:
    ring = FlowRing(3)
    assert (len(ring), ring.oldest, ring.get(0)) == (0, 0, None)
    for count in range(1, 6):
        ring.write(LostEvents("x", count, 0))
    assert (len(ring), ring.oldest, ring.next) == (3, 2, 5)
    assert [getattr(ring.get(number), "count", None) for number in range(6)] == [
        None,
        None,
        3,
        4,
        5,
        None,
    ]
    with pytest.raises(ValueError, match="at least one place"):
        FlowRing(0)


def test_a_collector_shows_flows_and_packets_and_hands_everything_on() -> None:
    class Everything:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def __getattr__(self, name: str) -> object:
            if name.startswith("collect_"):
                return lambda _: self.calls.append(name)
            raise AttributeError(name)

    behind = Everything()
    observer = FlowObserver("node", START)
    collector = ObservingCollector(behind, observer, lambda: START)  # type: ignore[arg-type]
    collector.collect_flow_event(record(1, 1))
    collector.collect_packet_event(PacketReport(source_ip="192.0.2.1", protocol=17))
    for name in ("container", "user", "trace", "counter", "ping"):
        getattr(collector, f"collect_{name}_event")(None)
    collector.collect_dns_requests(None)  # type: ignore[arg-type]
    assert len(behind.calls) == 8
    found = read_all(observer.read(FlowsRequest()))
    assert [getattr(e, "flow", {}).get("Summary") for e in found] == ["TCP", "UDP"]


def test_a_denied_flow_is_a_verdict_and_a_drop() -> None:
    observer = FlowObserver("node", START)
    denied = msgspec.structs.replace(
        record(7, 1), action=ActionType.REJECT, drop_reason="policy", policy_id="no-ssh"
    )
    observer.observe(denied, START + SECOND)
    assert observer.status(START + SECOND).seen == 2
    verdict, drop = (
        entry.flow
        for entry in read_all(observer.read(FlowsRequest()))
        if isinstance(entry, SeenFlow)
    )
    assert verdict is not None
    assert drop is not None
    assert (verdict["event_type"], drop["event_type"]) == (
        {"type": 5},
        {"type": 1, "sub_type": 133},
    )
    assert verdict["uuid"] != drop["uuid"]
    same = ("verdict", "drop_reason_desc", "time", "IP", "l4", "node_name")
    assert [verdict[name] for name in same] == [drop[name] for name in same]
    # As with Hubble, nobody knows of a dropped packet whether it answers.
    assert ("is_reply" in verdict, "is_reply" in drop) == (True, False)
    for wanted, count in (
        (FlowFilter(event_type=(EventTypeFilter(type=1),)), 1),
        (FlowFilter(drop_reason_desc=("POLICY_DENIED",)), 2),
    ):
        assert len(read_all(observer.read(FlowsRequest(allow=(wanted,))))) == count
