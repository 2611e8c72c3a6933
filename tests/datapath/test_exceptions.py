"""Connections that were let through and came to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.datapath.test_engine import POLICY
from trireme_collector.records import ConnectionExceptionReport, FlowPhase, FlowRecord
from trireme_datapath.engine import Engine
from trireme_datapath.kernel.marks import ConnectionMark
from trireme_datapath.packets import Verdict
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import SECOND_NS, START_NS, craft

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_collector.records import Record
    from trireme_datapath.kernel.conntrack import ConnectionRow

CLIENT, WEB = bytes([192, 0, 2, 1]), bytes([10, 0, 0, 2])
SYN = "tcp 192.0.2.1:4000 > 10.0.0.2:80"
SYN_ACK = "tcp 10.0.0.2:80 > 192.0.2.1:4000 SA"
RST = "tcp 10.0.0.2:80 > 192.0.2.1:4000 RA"
CLOSE, SYN_SENT, SYN_RECEIVED, TIME_WAIT = 8, 1, 2, 7


def engine_of(*, marked: bool = False, max_per_second: int = 100) -> Engine:
    engine = Engine(compile_policy(parse_policy(POLICY)), accept_mark=64 if marked else None)
    engine.report_exceptions(max_per_second=max_per_second)
    engine.take_records(START_NS)
    return engine


def receive(engine: Engine, *lines: str, now_ns: int = START_NS) -> list[Record]:
    for line in lines:
        engine.receive(craft(line), now_ns)
    return engine.take_records(now_ns)


def told(records: Iterable[Record]) -> list[tuple[str, str, int]]:
    return [
        (one.state, one.reason, one.value)
        for one in records
        if isinstance(one, ConnectionExceptionReport)
    ]


def row(
    sent: int = 1, answered: int = 0, answered_bytes: int = 0, state: int = SYN_SENT
) -> ConnectionRow:
    ports = (4000).to_bytes(2, "big"), (80).to_bytes(2, "big")
    counts = (sent, 60 * sent, answered, answered_bytes)
    return (6, CLIENT, WEB, *ports, *counts, START_NS, START_NS, 0, state)


def test_a_reset_that_answers_is_told_at_once() -> None:
    engine = engine_of()
    records = receive(engine, SYN, SYN, RST)
    assert told(records) == [("TCPSynSend", "reset", 2)]
    (report,) = [one for one in records if isinstance(one, ConnectionExceptionReport)]
    assert (report.puid, report.namespace) == ("web", "/shop")
    assert (report.source_ip, report.destination_ip) == ("192.0.2.1", "10.0.0.2")
    assert (report.destination_port, report.protocol) == (80, 6)
    assert report.timestamp_ns == START_NS
    assert engine.counters["connections_reset"] == 1
    assert told(receive(engine, RST)) == []


def test_silence_is_told_when_the_connection_is_forgotten() -> None:
    engine = engine_of()
    assert told(receive(engine, SYN, SYN, SYN)) == []
    assert told(engine.take_records(START_NS + 50 * SECOND_NS)) == []
    records = [
        one
        for seconds in range(60, 100, 5)
        for one in engine.take_records(START_NS + seconds * SECOND_NS)
    ]
    assert told(records) == [("TCPSynSend", "expired", 3)]


@pytest.mark.parametrize(
    "lines",
    [
        (SYN, SYN_ACK, "tcp 192.0.2.1:4000 > 10.0.0.2:80 A"),
        (SYN, SYN_ACK, "tcp 192.0.2.1:4000 > 10.0.0.2:80 A", RST),
        (SYN, "tcp 192.0.2.1:4000 > 10.0.0.2:80 R"),
        ("tcp 192.0.2.1:4000 > 10.0.0.2:81", "tcp 10.0.0.2:81 > 192.0.2.1:4000 RA"),
        ("udp 192.0.2.1:4000 > 10.0.0.2:53",),
    ],
    ids=["answered", "reset later", "given up by the client", "rejected", "udp"],
)
def test_what_is_no_exception(lines: tuple[str, ...]) -> None:
    engine = engine_of()
    records = receive(engine, *lines)
    for seconds in range(0, 200, 5):
        records += engine.take_records(START_NS + seconds * SECOND_NS)
    assert told(records) == []


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (row(sent=4), [("TCPSynSend", "expired", 4)]),
        (row(2, 1, 40, CLOSE), [("TCPSynSend", "reset", 2)]),
        (row(1, 3, 180, SYN_RECEIVED), [("TCPSynAckSend", "expired", 1)]),
        (row(3, 1, 60, CLOSE), []),
        (row(5, 4, 900, TIME_WAIT), []),
        (row(0, 0, 0, 0), []),
    ],
    ids=["silence", "reset", "half open", "reset by the client", "sound", "not counted"],
)
def test_what_the_kernel_counted_tells_it_too(
    ended: ConnectionRow, expected: list[tuple[str, str, int]]
) -> None:
    engine = engine_of(marked=True)
    account = engine.keep_account(mark=ConnectionMark())
    receive(engine, SYN)
    account.ended([ended], START_NS)
    assert told(engine.take_records(START_NS)) == expected


def test_a_reset_that_came_by_is_not_told_again_at_the_end() -> None:
    engine = engine_of()
    account = engine.keep_account()
    assert told(receive(engine, SYN, RST)) == [("TCPSynSend", "reset", 1)]
    account.ended([row(1, 1, 40, CLOSE)], START_NS)
    assert told(engine.take_records(START_NS)) == []


def test_a_reset_that_the_kernel_tells_first_is_still_an_answer() -> None:
    engine = engine_of()
    account = engine.keep_account()
    receive(engine, SYN)
    account.ended([row(1, 1, 40, CLOSE)], START_NS)
    assert engine.receive(craft(RST), START_NS).verdict is Verdict.ACCEPT
    records = engine.take_records(START_NS)
    assert told(records) == [("TCPSynSend", "reset", 1)]
    assert [one.phase for one in records if isinstance(one, FlowRecord)] == [FlowPhase.ENDED]
    assert engine.receive(craft(SYN), START_NS).records  # a connection of its own
    late = [
        one
        for seconds in range(5, 200, 5)
        for one in engine.take_records(START_NS + seconds * SECOND_NS)
    ]
    assert told(late) == []


def test_reports_are_limited() -> None:
    engine = engine_of(max_per_second=3)
    records = []
    for port in range(4000, 4005):
        syn = f"tcp 192.0.2.1:{port} > 10.0.0.2:80"
        records += receive(engine, syn, f"tcp 10.0.0.2:80 > 192.0.2.1:{port} RA")
    assert len(told(records)) == 3
    assert engine.counters["exception_reports_suppressed"] == 2
