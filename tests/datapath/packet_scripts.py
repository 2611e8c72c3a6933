"""Packets and expected decisions as lines of text.

A line reads ``PROTOCOL SOURCE[:PORT] > DESTINATION[:PORT] [WORDS] -> VERDICT [| RECORD]...``.
Words are TCP flags in scapy's letters, an ICMP type (``type=8``), an SCTP chunk (``chunk=1``), a
way in (``hook=2 in=eth0 out=eth1 mark=7``) or a length (``size=100``). A record is
``ACTION POLICY [REASON]`` for a flow and ``packet REASON`` for a packet report. Lines are one
second apart, unless one says ``wait SECONDS``.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkInit
from scapy.packet import Packet, Raw

from trireme_collector.records import FlowRecord, PacketReport, Record
from trireme_datapath.packets import QueuedPacket

if TYPE_CHECKING:
    from trireme_datapath.engine import Engine

SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS


def craft(text: str) -> QueuedPacket:
    """Make the packet that the left side of a line describes."""
    protocol, source, _, destination, *words = text.split()
    source_ip, source_port = _address(source)
    destination_ip, destination_port = _address(destination)
    options = dict(word.split("=") for word in words if "=" in word)
    flags = "".join(word for word in words if "=" not in word)
    six = ":" in source_ip
    network = IPv6 if six else IP
    packet = network(src=source_ip, dst=destination_ip) / _transport(
        protocol, source_port, destination_port, flags, options, six=six
    )
    if "size" in options:
        packet = packet / Raw(bytes(int(options["size"]) - len(packet)))
    return QueuedPacket(
        data=bytes(packet),
        hook=int(options.get("hook", -1)),
        indev=options.get("in", ""),
        outdev=options.get("out", ""),
        mark=int(options.get("mark", "0"), 0),
    )


def _transport(
    protocol: str, sport: int, dport: int, flags: str, options: dict[str, str], *, six: bool
) -> Packet:
    if protocol == "tcp":
        return TCP(sport=sport, dport=dport, flags=flags or "S")
    if protocol == "udp":
        return UDP(sport=sport, dport=dport)
    if protocol == "sctp":
        chunk = SCTPChunkInit() if options.get("chunk", "1") == "1" else SCTPChunkData(data=b"x")
        return SCTP(sport=sport, dport=dport) / chunk
    if protocol == "icmp" and six:
        reply = options.get("type") == "129"
        return (ICMPv6EchoReply if reply else ICMPv6EchoRequest)(id=int(options.get("id", "7")))
    if protocol == "icmp":
        return ICMP(type=int(options.get("type", "8")), id=int(options.get("id", "7")))
    return Raw(b"payload")


def _address(text: str) -> tuple[str, int]:
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port[1:] or 0)
    if text.count(":") > 1:
        return text, 0
    address, _, port = text.partition(":")
    return address, int(port or 0)


def tell(record: Record) -> str:
    """Say what a script says of a record."""
    if isinstance(record, FlowRecord):
        return f"{record.action.describe()} {record.policy_id} {record.drop_reason}".strip()
    if isinstance(record, PacketReport):
        return f"packet {record.drop_reason}"
    return type(record).__name__


def play(engine: Engine, script: str) -> list[Record]:
    """Run a script and compare every line; give all records."""
    now_ns = START_NS
    expected, got = [], []
    records: list[Record] = []
    for line in filter(None, map(str.strip, script.splitlines())):
        if line.startswith("wait "):
            now_ns += int(float(line.split()[1]) * SECOND_NS)
            engine.take_records(now_ns)
            continue
        left, _, right = line.partition("->")
        now_ns += SECOND_NS
        decision = engine.receive(craft(left), now_ns)
        records += decision.records
        told = [decision.verdict.name.lower(), *map(tell, decision.records)]
        got.append(f"{left.strip()} -> {' | '.join(told)}")
        expected.append(f"{left.strip()} -> {' | '.join(p.strip() for p in right.split(' | '))}")
    if got != expected:
        raise AssertionError("\n".join(["", *difflib.ndiff(expected, got)]))
    return records
