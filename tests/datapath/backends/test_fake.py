"""The fake queue: both doors, lanes, copy range, refusal."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from trireme_collector.records import FlowRecord
from trireme_datapath.backends.fake import Door, FakeBackend, FakeVerdict, fast_row
from trireme_datapath.engine import Engine
from trireme_datapath.packets import Hook, QueuedPacket, Verdict
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from trireme_collector.records import Record

POLICY = """
version = 1

[[unit]]
id = "web"
select.address = ["192.0.2.1", "2001:db8::1"]

[[unit.ingress]]
id = "http"
action = "accept"
from = "any"
protocol = "tcp"
ports = 80
"""
NOW = 1_700_000_000_000_000_000
ACCEPTED = FakeVerdict(Verdict.ACCEPT, None)
DROPPED = FakeVerdict(Verdict.DROP, None)
REFUSE = 0x10


def engine(*, refuse: bool = False) -> Engine:
    policy = compile_policy(parse_policy(POLICY))
    return Engine(policy, refuse_mark=REFUSE if refuse else None)


def syn(port: int, *, source_port: int = 4000, version: int = 4) -> bytes:
    header = (
        IP(src="198.51.100.9", dst="192.0.2.1")
        if version == 4
        else IPv6(src="2001:db8:9::9", dst="2001:db8::1")
    )
    return bytes(header / TCP(sport=source_port, dport=port, flags="S"))


def ports_of(records: list[Record]) -> list[tuple[int, int]]:
    assert all(isinstance(record, FlowRecord) for record in records)
    return [(r.destination.port, r.count) for r in records if isinstance(r, FlowRecord)]


@pytest.fixture(params=list(Door))
def door(request: pytest.FixtureRequest) -> Door:
    return Door(request.param)


@pytest.mark.parametrize("version", [4, 6])
def test_packets_in_verdicts_and_records_out(door: Door, version: int) -> None:
    packets = [syn(80, version=version), syn(22, version=version)]
    backend = FakeBackend(engine(), packets, door=door)
    assert backend.verdicts == {}
    assert ports_of(backend.drain_all(NOW)) == [(80, 1), (22, 1)]
    assert backend.verdicts == {1: ACCEPTED, 2: DROPPED}


def test_a_drain_takes_one_batch(door: Door) -> None:
    packets = [syn(80, source_port=port) for port in range(5000, 5005)]
    backend = FakeBackend(engine(), packets, door=door, batch_size=2)
    seen = []
    while len(backend):
        backend.drain(NOW)
        seen.append(len(backend.verdicts))
    assert seen == [2, 4, 5]
    assert backend.drain(NOW) == []


def test_records_of_a_batch_are_with_the_engine() -> None:
    judge = engine()
    packets = [syn(80, source_port=port) for port in (5000, 5001)]
    backend = FakeBackend(judge, packets, door="batch")
    assert backend.drain(NOW) == []
    assert ports_of(judge.take_records(NOW)) == [(80, 2)]
    assert judge.take_records(NOW) == []


def test_the_fast_door_judges_what_it_can() -> None:
    """Plain TCP goes in as rows; an ICMP packet is handed back and judged all the same."""
    judge = engine()
    handed_back = []
    receive = judge.receive

    class Spy:
        def __getattr__(self, name: str) -> object:
            return getattr(judge, name)

        def receive(self, packet: QueuedPacket, now_ns: int) -> object:
            handed_back.append(packet.packet_id)
            return receive(packet, now_ns)

    ping = bytes(IP(src="198.51.100.9", dst="192.0.2.1") / ICMP())
    backend = FakeBackend(Spy(), [syn(80), ping, syn(22)], door=Door.BATCH)  # type: ignore[arg-type]  # stands in for the engine
    backend.drain_all(NOW)
    assert handed_back == [2]
    assert list(backend.verdicts) == [1, 2, 3]
    assert backend.verdicts[2] == DROPPED


def test_rejected_packets_are_sent_round_again(door: Door) -> None:
    backend = FakeBackend(engine(refuse=True), [syn(22)], door=door)
    backend.feed(QueuedPacket(data=syn(22), packet_id=9, mark=0x4))
    backend.feed(QueuedPacket(data=syn(22), packet_id=10, mark=REFUSE))
    backend.drain_all(NOW)
    assert backend.verdicts == {
        1: FakeVerdict(Verdict.REPEAT, REFUSE),
        9: FakeVerdict(Verdict.REPEAT, REFUSE | 0x4),
        10: DROPPED,
    }


def test_packets_keep_what_is_known_about_them(door: Door) -> None:
    packet = QueuedPacket(
        data=syn(80), packet_id=77, hook=Hook.LOCAL_IN, indev="eth7", uid=0, gid=0
    )
    (record,) = FakeBackend(engine(), [packet], door=door).drain_all(NOW)
    assert isinstance(record, FlowRecord)
    assert record.interface == "eth7"


def test_packets_are_cut_as_a_queue_cuts_them(door: Door) -> None:
    long = bytes(
        IP(src="198.51.100.9", dst="192.0.2.1") / TCP(sport=1, dport=80, flags="S") / bytes(900)
    )
    (record,) = FakeBackend(engine(), [long], door=door, copy_range=64).drain_all(NOW)
    assert isinstance(record, FlowRecord)
    assert record.bytes == len(long)


def test_an_id_is_used_once() -> None:
    backend = FakeBackend(engine(), [syn(80)])
    with pytest.raises(ValueError, match="packet id 1 was used before"):
        backend.feed(QueuedPacket(data=syn(22), packet_id=1))


def test_ids_given_by_hand_are_not_given_again() -> None:
    backend = FakeBackend(engine())
    backend.feed(QueuedPacket(data=syn(22), packet_id=2))
    backend.feed(syn(80), syn(80, source_port=1))
    backend.drain_all(NOW)
    assert sorted(backend.verdicts) == [1, 2, 3]


@pytest.mark.parametrize(("batch_size", "copy_range"), [(0, 128), (-1, 128), (64, 0), (64, 0xFFFF)])
def test_sizes_are_checked(batch_size: int, copy_range: int) -> None:
    with pytest.raises(ValueError, match="batch_size must be above 0 and copy_range between"):
        FakeBackend(engine(), batch_size=batch_size, copy_range=copy_range)


def test_a_closed_queue_judges_nothing() -> None:
    backend = FakeBackend(engine(), [syn(80)])
    backend.close()
    assert backend.drain_all(NOW) == []
    assert backend.verdicts == {}


@pytest.mark.parametrize("door", list(Door))
@pytest.mark.parametrize("data", [b"", b"\x45", b"\x60" + bytes(30), b"\xff" * 200])
def test_nonsense_is_dropped(door: Door, data: bytes) -> None:
    backend = FakeBackend(engine(), [data], door=door)
    backend.drain_all(NOW)
    assert backend.verdicts == {1: DROPPED}


def test_rows_have_the_fields_of_the_headers() -> None:
    data = bytes(
        IP(src="192.0.2.9", dst="192.0.2.1", flags="DF", frag=0)
        / TCP(sport=0x1234, dport=80, seq=0x0A0B0C0D, flags="SA")
    )
    packet = QueuedPacket(data=data, packet_id=5)
    packet_id, key, attribute, first, total, kind, flow, fourth, twelfth = fast_row(packet, b"lane")
    assert (key, packet_id) == (b"lane", 5)
    assert attribute == int.from_bytes(struct.pack("=H", 44), "big")
    assert (first, total, kind) == (0x45, 40, 0x40004006)
    assert flow == bytes([192, 0, 2, 9, 192, 0, 2, 1]) + b"\x12\x34\x00\x50"
    assert (fourth, twelfth) == (0x0A0B, 0x5012)

    data = bytes(IPv6(src="2001:db8::9", dst="2001:db8::1") / UDP(sport=9, dport=53) / bytes(4))
    row = fast_row(structs.replace(packet, data=data), b"lane")
    assert row[3:6] == (0x60, 52, 17)
    assert row[6] == data[8:44]
    assert row[7] == 12
