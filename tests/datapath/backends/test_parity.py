"""All backends give the same decisions and, once merged, the same records on the same packets."""

from __future__ import annotations

import io
import random
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    fragment6,
)
from scapy.layers.sctp import SCTP, SCTPChunkCookieEcho, SCTPChunkInit
from scapy.packet import Raw

from trireme_collector.aggregation import FlowAggregator
from trireme_collector.records import FlowRecord, PacketReport, encode_json
from trireme_datapath.backends.fake import Door, FakeBackend
from trireme_datapath.backends.pcap import CaptureReader
from trireme_datapath.backends.replay import ReplayBackend
from trireme_datapath.engine import Engine, EngineLimits
from trireme_datapath.packets import QueuedPacket, Verdict
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trireme_collector.records import Record

Outcome = tuple[dict[int, Verdict], Counter[bytes]]

NOW = 1_700_000_000_000_000_000
POLICY = compile_policy(
    parse_policy(
        """
version = 1

[[unit]]
id = "web"
tags = ["app=web"]
select.address = ["192.0.2.1", "2001:db8::1"]

[[unit.ingress]]
id = "http"
action = "accept"
from = "any"
protocol = ["tcp", "sctp"]
ports = 80

[[unit.ingress]]
id = "watched"
action = "accept"
observe = "continue"
from = "any"
protocol = ["tcp", "udp"]
ports = ["8000-8080", 53]

[[unit.ingress]]
id = "dns"
action = "accept"
from = "any"
protocol = ["udp", "udplite"]
ports = 53

[[unit.ingress]]
id = "ping"
action = "accept"
from = "any"
protocol = "icmp"
icmp = "echo-request"

[[unit.ingress]]
id = "ping6"
action = "accept"
from = "any"
protocol = "icmpv6"
icmp = "echo-request"

[[unit.egress]]
id = "database"
action = "accept"
peer_tags = [{ key = "app", values = ["database"] }]
protocol = "tcp"
ports = 5432

[[unit]]
id = "database"
tags = ["app=database"]
select.address = ["192.0.2.2", "2001:db8::2"]

[[unit.ingress]]
id = "from-web"
action = "accept"
peer_tags = [{ key = "app", values = ["web"] }]
protocol = "tcp"
ports = 5432
"""
    )
)
CLIENT, WEB, DATABASE, NOBODY = 9, 1, 2, 77


def ip(source: int, destination: int, version: int, **fields: object) -> Any:  # noqa: ANN401  scapy has no types
    if version == 4:
        return IP(src=f"192.0.2.{source}", dst=f"192.0.2.{destination}", **fields)
    return IPv6(src=f"2001:db8::{source:x}", dst=f"2001:db8::{destination:x}", **fields)


def transport(version: int) -> list[Any]:
    """TCP, UDP, UDP-Lite and SCTP, there and back, accepted and rejected."""
    there, back = ip(CLIENT, WEB, version), ip(WEB, CLIENT, version)
    inside, outside = ip(WEB, DATABASE, version), ip(DATABASE, WEB, version)
    udplite = struct.pack(">HHHH", 4000, 53, 8, 0)
    return [
        there / TCP(sport=4000, dport=80, flags="S"),
        back / TCP(sport=80, dport=4000, flags="SA"),
        there / TCP(sport=4000, dport=80, flags="A"),
        there / TCP(sport=4000, dport=80, flags="PA") / Raw(b"x" * 300),
        there / TCP(sport=4000, dport=80, flags="S", options=[("MSS", 1460), ("WScale", 7)]),
        back / TCP(sport=80, dport=4000, flags="FA"),
        there / TCP(sport=4000, dport=80, flags="R"),
        *(there / TCP(sport=port, dport=80, flags="S") for port in range(4100, 4105)),
        *(there / TCP(sport=port, dport=22, flags="S") for port in range(4100, 4104)),
        there / TCP(sport=4100, dport=22, flags="S"),
        there / TCP(sport=4200, dport=8001, flags="S"),
        there / TCP(sport=4201, dport=80, flags="A"),
        back / TCP(sport=80, dport=4202, flags="SA"),
        back / TCP(sport=4203, dport=443, flags="S"),
        inside / TCP(sport=4300, dport=5432, flags="S"),
        outside / TCP(sport=5432, dport=4300, flags="SA"),
        inside / TCP(sport=4300, dport=5433, flags="S"),
        ip(CLIENT, DATABASE, version) / TCP(sport=4301, dport=5432, flags="S"),
        there / UDP(sport=5000, dport=53) / Raw(b"question"),
        back / UDP(sport=53, dport=5000) / Raw(b"answer"),
        there / UDP(sport=5001, dport=53),
        *(there / UDP(sport=port, dport=161) / Raw(b"x") for port in range(5100, 5103)),
        back / UDP(sport=5200, dport=53),
        ip(CLIENT, NOBODY, version) / UDP(sport=5300, dport=53),
        there / SCTP(sport=6000, dport=80) / SCTPChunkInit(),
        back / SCTP(sport=80, dport=6000) / SCTPChunkCookieEcho(),
        there / SCTP(sport=6001, dport=81) / SCTPChunkInit(),
        there / SCTP(sport=6002, dport=80) / SCTPChunkCookieEcho(),
        ip(CLIENT, WEB, version, **{"proto" if version == 4 else "nh": 136}) / Raw(udplite),
        ip(CLIENT, WEB, version, **{"proto" if version == 4 else "nh": 47}) / Raw(bytes(16)),
    ]


def icmp() -> list[Any]:
    """Queries, answers and errors, related to a flow and not."""
    accepted4 = ip(CLIENT, WEB, 4) / TCP(sport=4000, dport=80, flags="S")
    accepted6 = ip(CLIENT, WEB, 6) / UDP(sport=5000, dport=53) / Raw(b"question")
    unknown4 = ip(CLIENT, WEB, 4) / UDP(sport=1, dport=2)
    return [
        ip(CLIENT, WEB, 4) / ICMP(type=8, id=7),
        ip(WEB, CLIENT, 4) / ICMP(type=0, id=7),
        ip(CLIENT, WEB, 4) / ICMP(type=13, id=8),
        ip(WEB, CLIENT, 4) / ICMP(type=0, id=99),
        ip(CLIENT, WEB, 6) / ICMPv6EchoRequest(id=7),
        ip(WEB, CLIENT, 6) / ICMPv6EchoReply(id=7),
        ip(WEB, CLIENT, 6) / ICMPv6EchoReply(id=99),
        ip(WEB, CLIENT, 4) / ICMP(type=3, code=4) / accepted4,
        ip(WEB, CLIENT, 4) / ICMP(type=3, code=3) / unknown4,
        ip(WEB, CLIENT, 6) / ICMPv6DestUnreach(code=4) / accepted6,
    ]


def fragments() -> list[Any]:
    """Of an accepted and of a rejected datagram, and one whose first part never came."""
    accepted = ip(CLIENT, WEB, 4, id=1) / UDP(sport=7000, dport=53) / Raw(bytes(200))
    rejected = ip(CLIENT, WEB, 4, id=2) / UDP(sport=7001, dport=9) / Raw(bytes(200))
    six = (
        ip(CLIENT, WEB, 6) / IPv6ExtHdrFragment(id=3) / UDP(sport=7002, dport=53) / Raw(bytes(2000))
    )
    orphan = fragment(ip(CLIENT, WEB, 4, id=4) / UDP(sport=7003, dport=53) / Raw(bytes(200)), 80)
    return [*fragment(accepted, 80), *fragment(rejected, 80), *fragment6(six, 1280), orphan[1]]


def broken() -> list[bytes]:
    """What no decoder reads, and what no host should send."""
    udp = bytes(ip(CLIENT, WEB, 4) / UDP(sport=1, dport=53) / Raw(b"x"))
    tcp = bytes(ip(CLIENT, WEB, 4) / TCP(sport=1, dport=80, flags="S"))
    six = bytes(ip(CLIENT, WEB, 6) / UDP(sport=1, dport=53))
    routed = IP(src="192.0.2.9", dst="192.0.2.1", options=[IPOption_LSRR(routers=["192.0.2.7"])])
    mapped = IPv6(src="::ffff:192.0.2.9", dst="2001:db8::1") / UDP(sport=1, dport=53)
    padded = bytes(ip(CLIENT, WEB, 6) / IPv6ExtHdrDestOpt() / UDP(sport=9000, dport=53))
    return [
        b"\x45",
        b"\xff" * 60,
        udp[:24],
        tcp[:32],
        udp[:2] + b"\x00\x10" + udp[4:],
        udp[:2] + b"\xff\xff" + udp[4:],
        udp[:24] + b"\x00\x04" + udp[26:],
        tcp[:32] + b"\x10" + tcp[33:],
        tcp[:32] + b"\xf0" + tcp[33:],
        six[:44],
        b"\x44" + udp[1:],
        bytes(routed / UDP(sport=1, dport=53)),
        bytes(mapped),
        padded,
        udp + bytes(20),
    ]


PACKETS = [
    bytes(packet) for packet in (*transport(4), *transport(6), *icmp(), *fragments(), *broken())
]


def outcome(verdicts: dict[int, Verdict], records: Iterable[Record]) -> Outcome:
    """Merge the records as the pipeline does, so that it does not matter how they came."""
    aggregator = FlowAggregator()
    merged: list[Record] = []
    for record in records:
        if isinstance(record, FlowRecord):
            assert not aggregator.add(record)
        else:
            assert isinstance(record, PacketReport)
            merged.append(record)
    merged.extend(aggregator.take_all())
    return verdicts, Counter(encode_json(record) for record in merged)


def by_engine(packets: list[bytes]) -> Outcome:
    engine = Engine(POLICY)
    verdicts = {}
    records: list[Record] = []
    for number, data in enumerate(packets, 1):
        decision = engine.receive(QueuedPacket(data=data, packet_id=number), NOW)
        verdicts[number] = decision.verdict
        records.extend(decision.records)
    return outcome(verdicts, [*records, *engine.take_records(NOW)])


def by_fake(packets: list[bytes], door: Door, batch_size: int) -> Outcome:
    backend = FakeBackend(
        Engine(POLICY), packets, door=door, batch_size=batch_size, copy_range=2048
    )
    records = backend.drain_all(NOW)
    return outcome({number: given.verdict for number, given in backend.verdicts.items()}, records)


def by_replay(capture: bytes) -> Outcome:
    verdicts = {}
    records: list[Record] = []
    with ReplayBackend(CaptureReader(io.BytesIO(capture)), Engine(POLICY)) as backend:
        for replayed in backend:
            verdicts[replayed.packet.number] = replayed.decision.verdict
            records.extend(replayed.decision.records)
        records.extend(backend.finish())
    return outcome(verdicts, records)


def pcap(packets: list[bytes]) -> bytes:
    out = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 101)
    for data in packets:
        out += struct.pack("<IIII", *divmod(NOW, 10**9), len(data), len(data)) + data
    return out


def pcapng(packets: list[bytes]) -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        total = struct.pack(">I", len(body) + 12)
        return struct.pack(">I", kind) + total + body + total

    out = block(0x0A0D0D0A, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(1, struct.pack(">HHI", 101, 0, 0) + bytes.fromhex("0009000109000000"))
    for data in packets:
        size = len(data)
        head = struct.pack(">IIIII", 0, NOW >> 32, NOW & 0xFFFFFFFF, size, size)
        out += block(6, head + data + bytes(-size % 4))
    return out


DOORS: dict[str, Callable[[list[bytes]], Outcome]] = {
    "fake, single": lambda packets: by_fake(packets, Door.SINGLE, 64),
    "fake, batches of 1": lambda packets: by_fake(packets, Door.BATCH, 1),
    "fake, batches of 3": lambda packets: by_fake(packets, Door.BATCH, 3),
    "fake, batches of 64": lambda packets: by_fake(packets, Door.BATCH, 64),
    "pcap": lambda packets: by_replay(pcap(packets)),
    "pcapng": lambda packets: by_replay(pcapng(packets)),
}


@pytest.mark.parametrize("name", DOORS)
def test_every_door_decides_and_reports_alike(name: str) -> None:
    verdicts, records = DOORS[name](PACKETS)
    expected_verdicts, expected_records = by_engine(PACKETS)
    assert verdicts == expected_verdicts
    assert records == expected_records


def test_the_packets_tell_the_doors_apart() -> None:
    """A comparison of nothing but drops would prove little."""
    verdicts, records = by_engine(PACKETS)
    assert set(verdicts) == set(range(1, len(PACKETS) + 1))
    assert Counter(verdicts.values())[Verdict.ACCEPT] >= 40
    assert Counter(verdicts.values())[Verdict.DROP] >= 40
    assert len(records) >= 40


@given(order=st.permutations(range(len(PACKETS))), size=st.integers(1, len(PACKETS)))
def test_in_any_order(order: list[int], size: int) -> None:
    """One by one, whatever came before: batches would judge odd packets after the plain ones."""
    packets = [PACKETS[index] for index in order[:size]]
    assert by_fake(packets, Door.BATCH, 1) == by_engine(packets)


@given(
    number=st.integers(0, len(PACKETS) - 1),
    edits=st.lists(st.tuples(st.integers(0, 63), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 80),
)
def test_damaged_packets(number: int, edits: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(PACKETS[number])
    for position, value in edits:
        data[position % len(data)] = value
    packets = [*PACKETS[:3], bytes(data[: len(data) - cut] or data), *PACKETS[:3]]
    expected = by_engine(packets)
    assert by_fake(packets, Door.BATCH, 1) == expected
    assert by_replay(pcap(packets)) == expected


def test_a_long_stream() -> None:
    """Sound and damaged packets, time that passes, a table that overflows: still no difference."""
    chance = random.Random(20)
    limits = EngineLimits(max_flows=20)
    clear, fast = Engine(POLICY, limits), Engine(POLICY, limits)
    backend = FakeBackend(fast, door=Door.BATCH, batch_size=1, copy_range=2048)
    now_ns = NOW
    for number in range(1, 4_001):
        now_ns += chance.choice((0, 0, 1_000, 10**6, 10**9, 20 * 10**9))
        data = bytearray(chance.choice(PACKETS))
        if chance.random() < 0.5:
            data[chance.randrange(min(len(data), 64))] = chance.choice((0, 1, 6, 17, 69, 80, 255))
        packet = QueuedPacket(data=bytes(data), packet_id=number)
        decision = clear.receive(packet, now_ns)
        backend.feed(packet)
        records = [*backend.drain(now_ns), *fast.take_records(now_ns)]
        assert backend.verdicts[number] == (decision.verdict, decision.mark)
        assert records == [*decision.records, *clear.take_records(now_ns)]
    assert fast.counters == clear.counters
    assert fast.flows.evicted == clear.flows.evicted > 0
    assert fast.flows.expired == clear.flows.expired > 0
