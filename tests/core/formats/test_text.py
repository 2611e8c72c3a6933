"""Lines for people: aligned, complete, harmless."""

from __future__ import annotations

import re

import pytest
from hypothesis import given

from trireme_collector import (
    RECORD_TYPES,
    ActionType,
    Checkpoint,
    CollectorCount,
    ConnectionExceptionReport,
    ContainerRecord,
    Counter,
    CounterReport,
    Direction,
    DNSRequestReport,
    EndPoint,
    FlowRecord,
    IPTablesTrace,
    IPTablesTraceRecord,
    PacketEvent,
    PacketReport,
    PingReport,
    Record,
    TraceReport,
    UserRecord,
)
from trireme_collector.formats import (
    protocol_name,
    record_time_ns,
    render_summary,
    render_text,
)
from trireme_collector.testing.strategies import NASTY_TEXT, records

TIME_NS = 1_767_323_045_000_006_000
ACCEPTED = FlowRecord(
    context_id="web",
    source=EndPoint(ip="10.0.0.1", port=40_000),
    destination=EndPoint(ip="10.0.0.2", port=80),
    policy_id="allow-web",
    action=ActionType.ACCEPT,
    l4_protocol=6,
    count=3,
    direction=Direction.INGRESS,
    end_time_ns=TIME_NS,
)
REJECTED = FlowRecord(
    context_id="db",
    source=EndPoint(ip="2001:db8::1", port=40_000),
    destination=EndPoint(ip="2001:db8::2", port=5432),
    policy_id="default",
    action=ActionType.REJECT,
    drop_reason="policy",
    observed_action=ActionType.ACCEPT,
    observed_policy_id="p9",
    l4_protocol=17,
    count=1,
    direction=Direction.EGRESS,
    start_time_ns=TIME_NS,
)
GOLDEN: list[tuple[Record, str]] = [
    (
        ACCEPTED,
        (
            "03:04:05.000006 ingress  ACCEPT  tcp   10.0.0.1:40000        -> 10.0.0.2:80          "
            " policy=allow-web unit=web x3"
        ),
    ),
    (
        REJECTED,
        (
            "03:04:05.000006 egress   REJECT  udp   [2001:db8::1]:40000   -> [2001:db8::2]:5432   "
            " policy=default unit=db reason=policy observed=accept observed_policy=p9"
        ),
    ),
    (
        FlowRecord(
            source=EndPoint(ip="10.0.0.1"),
            destination=EndPoint(ip="10.0.0.2", uri='GET /a b"c'),
            l4_protocol=1,
        ),
        (
            "--:--:--.------ flow     NONE    icmp  10.0.0.1              -> 10.0.0.2             "
            ' uri="GET /a b\\"c"'
        ),
    ),
    (
        PacketReport(
            source_ip="10.0.0.1",
            destination_ip="10.0.0.2",
            source_port=5,
            destination_port=6,
            protocol=132,
            event=PacketEvent.DROPPED,
            drop_reason="packetdrop",
            length=60,
            timestamp_ns=TIME_NS,
        ),
        (
            "03:04:05.000006 packet   DROPPED sctp  10.0.0.1:5            -> 10.0.0.2:6           "
            " reason=packetdrop length=60"
        ),
    ),
    (
        ContainerRecord(context_id="web", event="start", ip_address={"bridge": "10.0.0.1"}),
        "--:--:--.------ unit     start   unit=web addresses=bridge=10.0.0.1",
    ),
    (
        UserRecord(id="7", claims=("a=1", "b=2")),
        "--:--:--.------ user     id=7 claims=a=1,b=2",
    ),
    (
        CounterReport(context_id="web", counters=(Counter(name="a", value=2), Counter(name="b"))),
        "--:--:--.------ counters unit=web counters=a=2",
    ),
    (
        DNSRequestReport(name_lookup="example.test.", error="no such host", count=2),
        '--:--:--.------ dns      FAILED  name=example.test. error="no such host" x2',
    ),
    (
        PingReport(source_id="a", latency="1ms", request=1),
        "--:--:--.------ ping     origin  unit=a latency=1ms request=1",
    ),
    (
        TraceReport(lines=("TRACE: raw:PREROUTING\x07", "two")),
        "--:--:--.------ trace    TRACE: raw:PREROUTING\\u0007 (and 1 more lines)",
    ),
    (
        ConnectionExceptionReport(
            source_ip="10.0.0.1",
            destination_ip="10.0.0.2",
            destination_port=80,
            protocol=6,
            reason="expired",
            state="TCPSynSend",
            value=3,
        ),
        (
            "--:--:--.------ no-reply expired tcp   10.0.0.1              -> 10.0.0.2:80          "
            " state=TCPSynSend attempts=3"
        ),
    ),
    (
        IPTablesTrace(records=(IPTablesTraceRecord(table_name="raw", chain="OUTPUT", rule_id=2),)),
        "--:--:--.------ iptables steps=raw/OUTPUT:2",
    ),
    (
        Checkpoint(
            timestamp_ns=TIME_NS,
            final=True,
            sequence=12,
            collectors=(
                CollectorCount(
                    name="a", accepted=11, delivered=5, dead_lettered=3, dropped=2, queued=1
                ),
                CollectorCount(name="b"),
            ),
        ),
        "03:04:05.000006 counts   final   sequence=12 collectors=a:5+3+2+1=11,b:0+0+0+0=0",
    ),
]


@pytest.mark.parametrize(("record", "line"), GOLDEN, ids=lambda value: type(value).__name__)
def test_golden(record: Record, line: str) -> None:
    assert render_text(record) == line


def test_every_kind_has_a_golden_line() -> None:
    assert {type(record) for record, _ in GOLDEN} == set(RECORD_TYPES.values())


@pytest.mark.parametrize(("record", "color"), [(ACCEPTED, "\x1b[32m"), (REJECTED, "\x1b[31m")])
def test_color_is_around_the_verdict_and_nothing_else_changes(record: Record, color: str) -> None:
    line = render_text(record, color=True)
    assert color in line
    assert re.sub(r"\x1b\[\d+m", "", line) == render_text(record)


@given(records(text=NASTY_TEXT))
def test_a_line_is_one_printable_line(record: Record) -> None:
    assert render_text(record).isprintable()
    assert render_summary(record).isprintable()


def test_long_lists_are_shortened() -> None:
    record = UserRecord(claims=tuple(f"c{n}=1" for n in range(20)))
    assert render_text(record).endswith('c7=1,... 12 more"')


def test_a_summary_has_no_time_and_no_alignment() -> None:
    assert render_summary(ACCEPTED) == (
        "ingress ACCEPT tcp 10.0.0.1:40000 -> 10.0.0.2:80 policy=allow-web unit=web x3"
    )


@given(records(text=NASTY_TEXT))
def test_a_summary_is_the_line_without_its_time(record: Record) -> None:
    assert render_summary(record) == " ".join(render_text(record).split()[1:])


def test_times_of_records() -> None:
    assert record_time_ns(ACCEPTED) == TIME_NS
    assert record_time_ns(REJECTED) == TIME_NS
    assert record_time_ns(FlowRecord()) is None
    assert record_time_ns(DNSRequestReport(time_ns=5)) == 5
    assert record_time_ns(DNSRequestReport()) is None
    assert record_time_ns(ContainerRecord()) is None


def test_protocols_have_names_or_numbers() -> None:
    assert [protocol_name(n) for n in (6, 17, 58, 254)] == ["tcp", "udp", "icmp6", "254"]
