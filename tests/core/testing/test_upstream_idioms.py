"""What tests did with the mock that was generated from upstream's interface, done with ours.

Each test is a row of the table in the reference of the kit.
"""

from __future__ import annotations

import pytest

from trireme_collector import EventCollector, NullCollector, UserRecord, stats_user_hash
from trireme_collector.records import (
    ActionType,
    ContainerEvent,
    ContainerRecord,
    Counter,
    CounterReport,
    DNSRequestReport,
    EndPoint,
    FlowRecord,
    PacketReport,
    PingReport,
)
from trireme_collector.testing import (
    MemoryCollector,
    MockCollector,
    UnexpectedCallError,
    between,
    contains,
    like,
    not_,
    one_of,
)

FLOW = FlowRecord(
    source=EndPoint(ip="10.1.10.76", port=40000),
    destination=EndPoint(ip="164.67.228.152", port=80),
    action=ActionType.REJECT,
    drop_reason="policy",
    count=1,
    policy_id="2",
)


class Enforcer:
    """Stands for what is tested: it reports to a collector."""

    def __init__(self, collector: EventCollector) -> None:
        self.collector = collector

    def reject(self, times: int = 1) -> None:
        for _ in range(times):
            self.collector.collect_flow_event(FLOW)

    def tick(self) -> None:
        counters = (Counter(name="a", value=0), Counter(name="dropped", value=4))
        self.collector.collect_counter_event(CounterReport(namespace="/ns", counters=counters))


@pytest.mark.parametrize("times", [0, 1, 2])
def test_flows_are_expected_a_number_of_times(times: int) -> None:
    with MockCollector() as collector:
        collector.expect.collect_flow_event().times(times)
        Enforcer(collector).reject(times)


def test_a_flow_is_compared_by_some_of_its_fields() -> None:
    with MockCollector() as collector:
        collector.expect.collect_flow_event(
            source={"ip": "10.1.10.76"},
            destination={"ip": "164.67.228.152", "port": 80},
            action=ActionType.REJECT,
            count=1,
            drop_reason="policy",
        )
        Enforcer(collector).reject()


def test_a_packet_is_compared_by_its_destination() -> None:
    with MockCollector() as collector:
        collector.expect.collect_packet_event(destination_ip="10.1.1.1")
        collector.collect_packet_event(PacketReport(destination_ip="10.1.1.1", length=60))


def test_counters_come_any_number_of_times_and_one_is_not_zero() -> None:
    with MockCollector() as collector:
        collector.expect.collect_counter_event(
            namespace="/ns", counters=contains({"name": "dropped", "value": between(1)})
        ).any_times()
        for _ in range(3):
            Enforcer(collector).tick()


def test_noise_is_any_argument_any_number_of_times() -> None:
    with MockCollector() as collector:
        collector.expect.collect_flow_event().once()
        collector.expect.collect_counter_event().any_times()
        collector.expect.collect_ping_event().any_times()
        Enforcer(collector).reject()
        Enforcer(collector).tick()
        collector.collect_ping_event(PingReport())


def test_a_call_that_nobody_expects_fails_the_test() -> None:
    collector = MockCollector()
    with pytest.raises(UnexpectedCallError, match="no call of collect_flow_event is expected"):
        Enforcer(collector).reject()


def test_a_call_that_does_not_come_fails_the_test() -> None:
    collector = MockCollector()
    collector.expect.collect_flow_event()
    with pytest.raises(AssertionError, match="expected exactly once, came never"):
        collector.verify()


def test_a_matcher_of_ones_own_is_a_function() -> None:
    with MockCollector() as collector:
        collector.expect.collect_flow_event(lambda record: record.policy_id.isdigit())
        Enforcer(collector).reject()


def test_a_call_can_answer() -> None:
    seen: list[object] = []
    with MockCollector() as collector:
        collector.expect.collect_flow_event().does(seen.append).times(2)
        Enforcer(collector).reject(2)
    assert seen == [FLOW, FLOW]


def test_container_events_come_in_their_order() -> None:
    with MockCollector() as collector:
        start = collector.expect.collect_container_event(event=ContainerEvent.START)
        update = collector.expect.collect_container_event(event=ContainerEvent.UPDATE).any_times()
        delete = collector.expect.collect_container_event(event=ContainerEvent.DELETE, tags=[])
        collector.in_order(start, update, delete)
        for event in ("start", "update", "update", "delete"):
            collector.collect_container_event(ContainerRecord(event=event))


@pytest.mark.parametrize("event", ["start", "ignore", "forcestop"])
def test_exactly_one_of_some_events_comes(event: str) -> None:
    with MockCollector() as collector:
        collector.expect.collect_container_event(event=one_of("start", "ignore", "forcestop"))
        collector.collect_container_event(ContainerRecord(event=event))


def test_lookups_are_gathered_and_counted() -> None:
    with MockCollector() as collector:
        collector.expect.collect_dns_requests(name_lookup="www.google.com.", count=1)
        collector.expect.collect_dns_requests(name_lookup="www.google.com.", count=between(2, 10))
        for count in (1, 7):
            collector.collect_dns_requests(
                DNSRequestReport(name_lookup="www.google.com.", count=count)
            )


def test_a_hand_written_fake_is_a_memory() -> None:
    memory = MemoryCollector()
    Enforcer(memory).reject()
    assert memory.flows == [like(FlowRecord, drop_reason="policy")]


def test_the_default_collector_takes_everything_and_keeps_nothing() -> None:
    Enforcer(NullCollector()).reject(3)


def test_a_user_has_its_id_before_the_call() -> None:
    user = stats_user_hash(UserRecord(namespace="/ns", claims=("sub=1", "role=admin")))
    with MockCollector() as collector:
        collector.expect.collect_user_event(id=not_(""), claims=contains("role=admin")).once()
        collector.collect_user_event(user)
