"""Tracing the packets of a unit."""

from __future__ import annotations

import pytest

from tests.datapath.test_engine import POLICY
from trireme_collector.records import FlowRecord, PacketEvent, PacketReport, Record
from trireme_datapath.engine import Engine
from trireme_datapath.packets import QueuedPacket
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import SECOND_NS, START_NS, craft
from trireme_datapath.tracing import TraceDirection, TraceRequest

END_NS = START_NS + 60 * SECOND_NS
REQUEST = "tcp 192.0.2.1:4000 > 10.0.0.2:80"
ANSWER = "tcp 10.0.0.2:80 > 192.0.2.1:4000 SA"
DENIED = "tcp 192.0.2.1:4000 > 10.0.0.2:81"


@pytest.fixture
def engine() -> Engine:
    return Engine(compile_policy(parse_policy(POLICY)))


def trace(
    engine: Engine,
    unit: str = "web",
    direction: TraceDirection = TraceDirection.BOTH,
    payload_bytes: int = 64,
) -> None:
    request = TraceRequest(direction=direction, until_ns=END_NS, payload_bytes=payload_bytes)
    assert engine.trace(unit, request)


def receive(engine: Engine, *lines: str, now_ns: int = START_NS) -> list[Record]:
    return [one for line in lines for one in engine.receive(craft(line), now_ns).records]


def traced(records: list[Record]) -> list[tuple[str, str, str]]:
    return [
        (one.puid, str(one.event.value), one.drop_reason)
        for one in records
        if isinstance(one, PacketReport)
    ]


def test_every_packet_of_a_unit_is_reported(engine: Engine) -> None:
    trace(engine)
    records = receive(engine, REQUEST, ANSWER, DENIED)
    assert traced(records) == [
        ("web", "Received", ""),
        ("web", "Received", ""),
        ("web", "Dropped", "policy"),
    ]
    assert len([one for one in records if isinstance(one, FlowRecord)]) == 2
    report = next(one for one in records if isinstance(one, PacketReport))
    assert report.event is PacketEvent.RECEIVED
    assert (report.source_ip, report.source_port) == ("192.0.2.1", 4000)
    assert (report.destination_ip, report.destination_port) == ("10.0.0.2", 80)
    assert (report.namespace, report.claims) == ("/shop", ("app=web",))
    assert (report.protocol, report.tcp_flags, report.length) == (6, 2, 40)
    assert report.payload == craft(REQUEST).data
    assert report.timestamp_ns == START_NS
    assert engine.counters["traced_packets"] == 3


@pytest.mark.parametrize(
    ("direction", "ports"),
    [(TraceDirection.NETWORK, [80]), (TraceDirection.APPLICATION, [4000])],
)
def test_a_direction_is_what_the_unit_gets_or_sends(
    engine: Engine, direction: TraceDirection, ports: list[int]
) -> None:
    trace(engine, direction=direction)
    records = receive(engine, REQUEST, ANSWER)
    assert [r.destination_port for r in records if isinstance(r, PacketReport)] == ports


def test_a_packet_between_two_traced_units_is_reported_for_both(engine: Engine) -> None:
    trace(engine, "web")
    trace(engine, "ctx-db")
    records = receive(engine, "tcp 10.0.0.2:4000 > 10.0.0.3:5432")
    assert traced(records) == [("web", "Received", ""), ("db", "Received", "")]


def test_others_are_not_reported(engine: Engine) -> None:
    trace(engine, "db")
    assert traced(receive(engine, REQUEST, DENIED)) == []


def test_a_drop_that_is_reported_anyway_is_reported_once(engine: Engine) -> None:
    trace(engine)
    cut = craft("udp 192.0.2.1:9 > 10.0.0.2:53 size=60")
    data = cut.data[:6] + b"\x00\x05" + cut.data[8:]  # a later fragment
    (report,) = engine.receive(QueuedPacket(data=data), START_NS).records
    assert isinstance(report, PacketReport)
    assert (report.puid, report.drop_reason) == ("web", "fragment")


def test_a_payload_is_as_long_as_asked(engine: Engine) -> None:
    trace(engine, payload_bytes=20)
    (report,) = [r for r in receive(engine, REQUEST) if isinstance(r, PacketReport)]
    assert report.payload == craft(REQUEST).data[:20]


def test_a_trace_ends_by_itself(engine: Engine) -> None:
    trace(engine)
    engine.take_records(END_NS - 1)
    assert traced(receive(engine, REQUEST, now_ns=END_NS - 1))
    engine.take_records(END_NS)
    assert not traced(receive(engine, ANSWER, now_ns=END_NS))


def test_a_trace_ends_when_told(engine: Engine) -> None:
    trace(engine)
    trace(engine, direction=TraceDirection.DISABLED)
    assert not traced(receive(engine, REQUEST))


def test_a_trace_outlives_a_change_of_the_policy(engine: Engine) -> None:
    trace(engine)
    engine.replace_policy(compile_policy(parse_policy(POLICY)))
    assert traced(receive(engine, REQUEST))


def test_an_unknown_unit_is_refused(engine: Engine) -> None:
    with pytest.raises(LookupError, match="'nobody'"):
        engine.trace("nobody", TraceRequest(direction=TraceDirection.BOTH, until_ns=END_NS))


def test_reports_are_limited(engine: Engine) -> None:
    trace(engine)
    packet = craft(REQUEST)
    for _ in range(10_010):
        engine.receive(packet, START_NS)
    assert engine.counters["traced_packets"] == 10_000
    assert engine.counters["traced_packets_suppressed"] == 10


def test_answers_to_a_unit_that_only_a_mark_tells_are_found_by_their_flow() -> None:
    by_address = 'select = { address = ["10.0.0.2", "fd00::2"] }'
    text = POLICY.replace(by_address, "select = { mark = 7 }")
    engine = Engine(compile_policy(parse_policy(text + EGRESS)))
    trace(engine)
    records = receive(
        engine,
        "tcp 10.1.0.1:4000 > 192.0.2.1:443 hook=3 mark=7",
        "tcp 192.0.2.1:443 > 10.1.0.1:4000 SA hook=1",
    )
    assert [r.source_port for r in records if isinstance(r, PacketReport)] == [4000, 443]


EGRESS = """
[[unit]]
id = "spare"
select = { address = "10.9.9.9" }
"""


def test_the_fast_door_stands_back_while_somebody_is_traced(engine: Engine) -> None:
    queued = craft(REQUEST)
    lane = engine.lane(queued)
    rows = [(1, b"k", 0, 0x45, 40, 6, bytes(12), 0, 0)] * 3
    trace(engine)
    assert engine.receive_batch(rows, lane, b"k", START_NS) == ([], [0, 1, 2])
