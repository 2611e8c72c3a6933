"""What upstream's tests of the datapath expected of the mock, for packets through an engine.

Each test is a row of the table in the reference of the kit.
"""

from __future__ import annotations

import pytest

from tests.datapath.testing.policies import SHOP
from trireme_collector.testing import (
    FakeClock,
    FakeQueue,
    MockCollector,
    between,
    contains,
    play,
)
from trireme_datapath.testing import SECOND_NS
from trireme_datapath.tracing import TraceDirection, TraceRequest

CLIENT = "192.0.2.1:1000"
WEB = "10.0.0.2:80"
SYN = f"tcp {CLIENT} > {WEB} S"
SYN_ACK = f"tcp {CLIENT} < {WEB} SA"
ACK = f"tcp {CLIENT} > {WEB} A"
DATA = f"tcp {CLIENT} > {WEB} PA data=hello"


@pytest.fixture(name="queue")
def fixture_queue() -> FakeQueue:
    return FakeQueue(clock=FakeClock()).enforce(SHOP)


@pytest.mark.parametrize(
    "packets",
    [
        [SYN],
        [SYN, SYN_ACK],
        [SYN, SYN_ACK, ACK],
        [SYN, SYN_ACK, ACK, *[DATA] * 20],
        [SYN, SYN, SYN_ACK, ACK, SYN_ACK, ACK, DATA],
    ],
    ids=["syn", "syn-ack", "ack", "data", "replayed"],
)
def test_a_handshake_is_one_accept(queue: FakeQueue, packets: list[str]) -> None:
    with MockCollector() as collector:
        collector.expect.collect_flow_event(action="accept", count=1, policy_id="http").once()
        queue.feed(*packets)
        queue.judge(collector)


def test_two_flows_in_a_row_behave_alike(queue: FakeQueue) -> None:
    with MockCollector() as collector:
        for port in (1000, 1001):
            collector.expect.collect_flow_event(action="accept", source={"port": port})
            queue.feed(*(line.replace("1000", str(port)) for line in (SYN, SYN_ACK, ACK)))
            queue.judge(collector)


def test_a_rule_that_does_not_match_is_one_reject(queue: FakeQueue) -> None:
    with MockCollector() as collector:
        collector.expect.collect_flow_event(
            source={"ip": "192.0.2.1"},
            destination={"ip": "10.0.0.2", "port": 22},
            action="reject",
            count=1,
            drop_reason="policy",
            policy_id="default",
        )
        queue.feed(SYN.replace(":80", ":22"))
        queue.judge(collector)


def test_a_packet_from_the_middle_of_nowhere_has_its_reason() -> None:
    play(SHOP, f"{ACK} -> drop | reject default state")


def test_an_unreadable_packet_is_one_packet_event(queue: FakeQueue) -> None:
    with MockCollector() as collector:
        collector.expect.collect_packet_event(drop_reason="malformed:truncated")
        queue.feed(b"\x45\x00")
        queue.judge(collector)


def test_a_trace_reports_packets_by_their_direction(queue: FakeQueue) -> None:
    far = FakeClock().time_ns() + 60 * SECOND_NS
    queue.engine.trace("web", TraceRequest(direction=TraceDirection.NETWORK, until_ns=far))
    with MockCollector() as collector:
        collector.allow("collect_flow_event")
        collector.expect.collect_packet_event(destination_ip="10.0.0.2").times(2)
        queue.feed(SYN, SYN_ACK, ACK)
        queue.judge(collector)


def test_counters_come_at_their_interval_and_at_the_end() -> None:
    clock = FakeClock()
    queue = FakeQueue(clock=clock).enforce(SHOP)
    queue.engine.report_counters(interval_seconds=30)
    with MockCollector() as collector:
        collector.allow("collect_flow_event", "collect_counter_event")
        collector.expect.collect_counter_event(
            context_id="ctx-web", counters=contains({"value": between(1)})
        ).at_least(1)
        queue.feed(SYN, SYN_ACK)
        queue.judge(collector)
        clock.advance(31)
        queue.judge(collector)


def test_lookups_of_one_name_are_one_record_with_a_count() -> None:
    clock = FakeClock()
    queue = FakeQueue(clock=clock).enforce(SHOP)
    with MockCollector() as collector:
        collector.allow("collect_flow_event")
        name = "www.example.com."
        collector.expect.collect_dns_requests(name_lookup=name, count=1)
        collector.expect.collect_dns_requests(name_lookup=name, count=between(2, 10))
        for port in range(5000, 5005):
            asked = f"dns 10.0.0.2:{port} > 10.0.0.53:53 www.example.com"
            queue.feed(asked, asked.replace(">", "<") + " answer=203.0.113.5")
        queue.judge(collector)
        clock.advance(60)
        queue.judge(collector)
