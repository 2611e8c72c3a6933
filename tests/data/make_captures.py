"""Make the captures that tests and the demo read: ``python tests/data/make_captures.py``.

All packets are made up. Addresses are those set aside for documentation (RFC 5737, RFC 3849). The
result is the same each time, so that a test can compare it with what is stored.

``demo.pcap`` holds the traffic of a client and two processing units, seen at the client:

* client 192.0.2.10 and 2001:db8:1::10, an external address;
* web 198.51.100.20 and 2001:db8:2::20: TCP 80, UDP 53 and pings are expected to be accepted,
  TCP 22, UDP 161 and timestamp requests to be rejected;
* database 198.51.100.30 and 2001:db8:2::30: TCP 5432 from web is expected to be accepted, from
  the client to be rejected.

A rejected packet is in it twice, as a client repeats it, and nothing answers.
"""

from __future__ import annotations

import argparse
import gzip
import io
import struct
from pathlib import Path
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Packet, Raw

ROOT = Path(__file__).parents[2]
CAPTURES = Path(__file__).parent / "captures"
DEMO = ROOT / "datapath" / "trireme_datapath" / "data" / "demo.pcap"

START_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
STEP_NS = 12_345_678

CLIENT = ("192.0.2.10", "2001:db8:1::10")
WEB = ("198.51.100.20", "2001:db8:2::20")
DATABASE = ("198.51.100.30", "2001:db8:2::30")
MACS = {CLIENT: "02:00:00:00:00:10", WEB: "02:00:00:00:00:20", DATABASE: "02:00:00:00:00:30"}

Hosts = tuple[str, str]


def ip(source: Hosts, destination: Hosts, version: int) -> Any:  # noqa: ANN401  scapy has no types
    """Make an IP header; identification is left 0 as for any atomic datagram."""
    if version == 4:
        return IP(src=source[0], dst=destination[0], id=0, flags="DF")
    return IPv6(src=source[1], dst=destination[1])


def tcp_connection(client: Hosts, server: Hosts, version: int, sport: int, dport: int) -> list[Any]:
    """Open, ask, answer and close."""
    there, back = ip(client, server, version), ip(server, client, version)
    ask = b"GET / HTTP/1.0\r\n\r\n"
    steps = [
        (there, "S", 1000, 0, b""),
        (back, "SA", 5000, 1001, b""),
        (there, "A", 1001, 5001, b""),
        (there, "PA", 1001, 5001, ask),
        (back, "PA", 5001, 1001 + len(ask), b"HTTP/1.0 204 No Content\r\n\r\n"),
        (there, "FA", 1001 + len(ask), 5028, b""),
    ]
    return [
        header
        / TCP(
            sport=sport if header is there else dport,
            dport=dport if header is there else sport,
            flags=flags,
            seq=sequence,
            ack=acknowledgment,
        )
        / Raw(payload)
        for header, flags, sequence, acknowledgment, payload in steps
    ]


def tcp_refused(client: Hosts, server: Hosts, version: int, sport: int, dport: int) -> list[Any]:
    """Try twice to open."""
    syn = ip(client, server, version) / TCP(sport=sport, dport=dport, flags="S", seq=1)
    return [syn, syn]


def udp(
    client: Hosts, server: Hosts, version: int, sport: int, dport: int, *, answered: bool
) -> list[Any]:
    """Ask, and get an answer or ask again."""
    ask = ip(client, server, version) / UDP(sport=sport, dport=dport) / Raw(b"question")
    answer = ip(server, client, version) / UDP(sport=dport, dport=sport) / Raw(b"answer")
    return [ask, answer if answered else ask]


def ping(client: Hosts, server: Hosts, version: int, identifier: int) -> list[Any]:
    """Echo request and reply."""
    there, back = ip(client, server, version), ip(server, client, version)
    if version == 4:
        return [there / ICMP(type=8, id=identifier), back / ICMP(type=0, id=identifier)]
    return [there / ICMPv6EchoRequest(id=identifier), back / ICMPv6EchoReply(id=identifier)]


def timestamp_refused(client: Hosts, server: Hosts, identifier: int) -> list[Any]:
    """Ask twice for the time, which nobody allows."""
    ask = ip(client, server, 4) / ICMP(type=13, id=identifier, ts_ori=1, ts_rx=0, ts_tx=0)
    return [ask, ask]


def demo_packets() -> list[Any]:
    """Everything once: each protocol, accepted and rejected, in both versions."""
    packets: list[Any] = []
    for version in (4, 6):
        base = 40_000 + 1_000 * version
        packets += tcp_connection(CLIENT, WEB, version, base + 1, 80)
        packets += tcp_refused(CLIENT, WEB, version, base + 2, 22)
        packets += udp(CLIENT, WEB, version, base + 3, 53, answered=True)
        packets += udp(CLIENT, WEB, version, base + 4, 161, answered=False)
        packets += ping(CLIENT, WEB, version, base + 5)
        packets += tcp_connection(WEB, DATABASE, version, base + 6, 5432)[:3]
        packets += tcp_refused(CLIENT, DATABASE, version, base + 7, 5432)
    packets += timestamp_refused(CLIENT, WEB, 46_008)
    return packets


def ethernet(packet: Any) -> Packet:  # noqa: ANN401  scapy has no types
    """Put a datagram into an Ethernet frame between the hosts that its addresses name."""

    def mac(address: str) -> str:
        return next(mac for hosts, mac in MACS.items() if address in hosts)

    inner = packet[IP] if IP in packet else packet[IPv6]
    return Ether(src=mac(inner.src), dst=mac(inner.dst)) / packet


def classic(
    frames: list[bytes], *, link: int, order: str = "<", nano: bool = False, snap: int = 65535
) -> bytes:
    """Write a classic capture."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link)]
    for number, frame in enumerate(frames):
        seconds, fraction = divmod(START_NS + number * STEP_NS, 10**9)
        captured = frame[:snap]
        out.append(
            struct.pack(
                order + "IIII",
                seconds,
                fraction if nano else fraction // 1000,
                len(captured),
                len(frame),
            )
            + captured
        )
    return b"".join(out)


def block(kind: int, body: bytes, order: str) -> bytes:
    """Frame a pcapng block."""
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def option(code: int, value: bytes, order: str) -> bytes:
    """Frame a pcapng option."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def next_generation(frames: list[bytes], *, link: int, order: str) -> bytes:
    """Write a pcapng section with every kind of block that is read, and two that are not."""
    name = option(2, b"eth0", order)
    out = [
        block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order),
        block(1, struct.pack(order + "HHI", link, 0, 0) + name + option(9, b"\x09", order), order),
        block(1, struct.pack(order + "HHI", link, 0, 40) + option(14, bytes(8), order), order),
        block(4, bytes(4), order),
    ]
    for number, frame in enumerate(frames):
        time = START_NS + number * STEP_NS
        kind = (6, 2, 3)[number % 3]
        if kind == 3:
            out.append(block(3, struct.pack(order + "I", len(frame)) + frame, order))
            continue
        head = struct.pack(
            order + ("IIIII" if kind == 6 else "HHIIII"),
            *((0,) if kind == 6 else (0, 0)),
            time >> 32,
            time & 0xFFFFFFFF,
            len(frame),
            len(frame),
        )
        flags = option(2, struct.pack(order + "I", 1 + number % 2), order)
        out.append(block(kind, head + frame + bytes(-len(frame) % 4) + flags, order))
    out.append(block(5, bytes(12), order))
    return b"".join(out)


def odd_packets() -> list[Any]:
    """Protocols and faults beyond those of the demo."""
    sctp = IP(src=CLIENT[0], dst=WEB[0], id=0) / SCTP(sport=1, dport=2) / SCTPChunkInit()
    parts = fragment(
        IP(src=CLIENT[0], dst=WEB[0], id=7) / UDP(sport=9, dport=53) / Raw(bytes(60)), 40
    )
    short = bytes(IP(src=CLIENT[0], dst=WEB[0], id=0) / UDP(sport=1, dport=53))
    return [sctp, *parts, Raw(short[:24]), Raw(b"\x45"), Raw(b"\xff" * 20)]


def captures() -> dict[Path, bytes]:
    """Make every capture."""
    packets = demo_packets()
    few = [bytes(p) for p in packets[:3] + packets[12:14]]
    four = [bytes(p) for p in packets[:2]]
    six = [bytes(p) for p in packets if IPv6 in p][:2]
    frames = [bytes(ethernet(p)) for p in packets]
    tagged = [f[:12] + b"\x81\x00\x00\x05" + f[12:] for f in frames[:2]]
    others = [b"\xff" * 6 + b"\x02" * 6 + b"\x08\x06" + bytes(28)]
    others.append(b"\x01" * 12 + b"\x88\xcc" + bytes(20))
    odd = [bytes(p) for p in odd_packets()]
    made = {
        "ethernet.pcap": classic([*tagged, *others, *frames[:3]], link=1),
        "cut.pcap": classic(frames[:4], link=1, snap=60, nano=True),
        "raw-big-endian.pcap": classic(few, link=101, order=">"),
        "raw-odd.pcap": classic(odd, link=101),
        "ipv4.pcap": classic(four, link=228, order=">", nano=True),
        "ipv6.pcap": classic(six, link=229),
        "null.pcap": classic(
            [struct.pack("<I", 2) + p for p in four] + [struct.pack(">I", 30) + p for p in six],
            link=0,
        ),
        "sll.pcap": classic([bytes(CookedLinux() / p) for p in packets[:3]], link=113),
        "sll2.pcap": classic([bytes(CookedLinuxV2() / p) for p in packets[:3]], link=276),
        "sections.pcapng": next_generation(few, link=101, order="<")
        + next_generation(frames[:3], link=1, order=">"),
        "packed.pcap.gz": compress(classic(few, link=101)),
    }
    return {DEMO: classic(frames, link=1)} | {CAPTURES / name: made[name] for name in made}


def compress(data: bytes) -> bytes:
    """Compress without anything that changes from run to run."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as packed:
        packed.write(data)
    return out.getvalue()


def main() -> None:
    """Write every capture."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for path, data in captures().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
