"""Replay: the capture's clock, its numbers, what is passed to the engine, and the end."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP

from trireme_collector.records import FlowRecord
from trireme_datapath.backends.fake import FakeBackend
from trireme_datapath.backends.pcap import (
    CaptureDirection,
    CapturedPacket,
    CaptureError,
    CaptureReader,
    LinkHeader,
    TruncatedCaptureError,
)
from trireme_datapath.backends.replay import ReplayBackend, ReplayedPacket, queued
from trireme_datapath.engine import Engine
from trireme_datapath.packets import Hook, Verdict
from trireme_datapath.policy import compile_policy, load_policy

CAPTURES = Path(__file__).parents[2] / "data" / "captures"
DEMO = Path(__file__).parents[3] / "datapath" / "trireme_datapath" / "data" / "demo.pcap"
POLICY = compile_policy(load_policy(CAPTURES / "demo-policy.toml", allow_world_writable=True))
SYN = bytes(IP(src="192.0.2.10", dst="198.51.100.20") / TCP(sport=4000, dport=80, flags="S"))
S = 10**9


def capture(*packets: tuple[float, bytes]) -> bytes:
    out = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 101)
    for time_s, data in packets:
        seconds, fraction = divmod(round(time_s * S), S)
        out += struct.pack("<IIII", seconds, fraction, len(data), len(data)) + data
    return out


def replay(data: bytes, *, limit: int | None = None) -> ReplayBackend:
    return ReplayBackend(CaptureReader(io.BytesIO(data)), Engine(POLICY), limit=limit)


def query(port: int) -> bytes:
    return bytes(IP(src="192.0.2.10", dst="198.51.100.20") / UDP(sport=port, dport=53))


def test_the_demo_capture() -> None:
    with ReplayBackend(DEMO, Engine(POLICY)) as backend:
        decisions = [replayed.decision for replayed in backend]
        assert backend.finish() == []
    flows = [record for decision in decisions for record in decision.records]
    assert backend.judged == backend.reader.frames == 40
    assert backend.verdicts == {Verdict.ACCEPT: 26, Verdict.DROP: 14, Verdict.REPEAT: 0}
    assert all(isinstance(flow, FlowRecord) for flow in flows)
    seen = {
        (flow.l4_protocol, flow.destination.port, ":" in flow.source.ip, flow.action.accepted)
        for flow in flows
        if isinstance(flow, FlowRecord)
    }
    both = [(6, 80, True), (6, 22, False), (17, 53, True), (17, 161, False), (6, 5432, True)]
    expected = {(protocol, port, six, ok) for protocol, port, ok in both for six in (False, True)}
    expected |= {(6, 5432, six, False) for six in (False, True)}
    expected |= {(1, 0, False, True), (1, 0, False, False), (58, 0, True, True)}
    assert seen == expected


def test_packets_are_judged_at_the_time_they_were_captured() -> None:
    backend = replay(capture((100.5, SYN), (101.25, query(1))))
    replayed = list(backend)
    assert [r.now_ns for r in replayed] == [100_500_000_000, 101_250_000_000]
    records = [r.decision.records[0] for r in replayed]
    assert [r.start_time_ns for r in records if isinstance(r, FlowRecord)] == [
        100_500_000_000,
        101_250_000_000,
    ]


def test_the_clock_never_runs_backwards() -> None:
    backend = replay(capture((100, SYN), (50, query(1)), (99, query(2)), (101, query(3))))
    assert [r.now_ns // S for r in backend] == [100, 100, 100, 101]


def test_packets_without_a_time_have_that_of_the_packet_before() -> None:
    def block(kind: int, body: bytes) -> bytes:
        total = struct.pack("<I", len(body) + 12)
        return struct.pack("<I", kind) + total + body + total

    def simple(data: bytes) -> bytes:
        return block(3, struct.pack("<I", len(data)) + data + bytes(-len(data) % 4))

    head = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    head += block(1, struct.pack("<HHI", 101, 0, 0))
    timed = block(6, struct.pack("<IIIII", 0, 0, 7, len(SYN), len(SYN)) + SYN)
    assert [r.now_ns for r in replay(head + simple(SYN) + timed + simple(SYN))] == [0, 7000, 7000]


def test_idle_flows_are_forgotten_as_time_passes() -> None:
    again = [(0.0, query(1)), (31.0, query(2)), (62.0, query(1)), (62.1, query(1))]
    reported = [len(r.decision.records) for r in replay(capture(*again))]
    assert reported == [1, 1, 1, 0]


def test_numbers_are_those_of_the_frames() -> None:
    with ReplayBackend(CAPTURES / "ethernet.pcap", Engine(POLICY)) as backend:
        assert [r.packet.number for r in backend] == [1, 2, 5, 6, 7]


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4])
def test_a_limit_counts_judged_packets(limit: int) -> None:
    backend = replay(capture((1, SYN), (2, query(1)), (3, query(2))), limit=limit)
    assert len(list(backend)) == backend.judged == min(limit, 3)


def test_what_came_before_damage_is_judged() -> None:
    data = capture((1, SYN), (2, query(1)))
    backend = replay(data[:-1])
    replayed: list[ReplayedPacket] = []
    with pytest.raises(TruncatedCaptureError):
        replayed.extend(iter(backend))
    assert len(replayed) == backend.judged == 1
    assert backend.finish() == []


def test_no_capture_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(CaptureError):
        ReplayBackend(tmp_path / "absent.pcap", Engine(POLICY))


def test_records_of_the_fast_door_are_not_lost() -> None:
    """An engine may have been fed otherwise before: what it holds comes out at the end."""
    engine = Engine(POLICY)
    FakeBackend(engine, [SYN], door="batch").drain(S)
    backend = ReplayBackend(CaptureReader(io.BytesIO(capture((5, query(1))))), engine)
    assert len(next(iter(backend)).decision.records) == 1
    (late,) = backend.finish()
    assert isinstance(late, FlowRecord)
    assert late.destination.port == 80
    assert backend.finish() == []


@pytest.mark.parametrize(
    ("direction", "indev", "outdev"),
    [
        (CaptureDirection.UNKNOWN, "", ""),
        (CaptureDirection.INBOUND, "eth0", ""),
        (CaptureDirection.OUTBOUND, "", "eth0"),
    ],
)
def test_an_interface_counts_where_the_direction_is_known(
    direction: CaptureDirection, indev: str, outdev: str
) -> None:
    packet = CapturedPacket(
        number=7,
        time_ns=1,
        data=SYN,
        original_length=len(SYN) + 5,
        interface="eth0",
        link_type=101,
        link=LinkHeader(0),
        direction=direction,
    )
    made = queued(packet)
    assert (made.indev, made.outdev, made.hook) == (indev, outdev, Hook.UNKNOWN)
    assert (made.packet_id, made.original_length) == (7, len(SYN) + 5)


def test_a_whole_packet_has_no_original_length() -> None:
    (replayed,) = replay(capture((1, SYN)))
    assert queued(replayed.packet).original_length is None
