"""Packets from lines are what scapy makes of the same line, checksums included."""

from __future__ import annotations

import dns.message
import dns.rdatatype
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Packet, Raw

from trireme_datapath import packet as decoder
from trireme_datapath.packets import QueuedPacket
from trireme_datapath.testing import ScriptError, craft

V4 = {"src": "192.0.2.1", "dst": "10.0.0.2"}
V6 = {"src": "2001:db8::1", "dst": "fd00::2"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tcp 192.0.2.1:1000 > 10.0.0.2:80", IP(**V4) / TCP(sport=1000, dport=80)),
        ("tcp 10.0.0.2:80 < 192.0.2.1:1000 SA", IP(**V4) / TCP(sport=1000, dport=80, flags="SA")),
        (
            "tcp 192.0.2.1:1 > 10.0.0.2:2 FPU data=hello",
            IP(**V4) / TCP(sport=1, dport=2, flags="FPU") / Raw(b"hello"),
        ),
        (
            "tcp [2001:db8::1]:1 > [fd00::2]:2 R ttl=3",
            IPv6(**V6, hlim=3) / TCP(sport=1, dport=2, flags="R"),
        ),
        ("udp 192.0.2.1:1 > 10.0.0.2:53", IP(**V4) / UDP(sport=1, dport=53)),
        (
            "udp 192.0.2.1:1 > 10.0.0.2:53 size=61",
            IP(**V4) / UDP(sport=1, dport=53) / Raw(bytes(33)),
        ),
        (
            "udp [2001:db8::1]:1 > [fd00::2]:53 data=ab",
            IPv6(**V6) / UDP(sport=1, dport=53) / Raw(b"ab"),
        ),
        ("icmp 192.0.2.1 > 10.0.0.2", IP(**V4) / ICMP(type=8, id=7)),
        ("icmp 192.0.2.1 > 10.0.0.2 type=0 id=9", IP(**V4) / ICMP(type=0, id=9)),
        ("icmp 2001:db8::1 > fd00::2", IPv6(**V6) / ICMPv6EchoRequest(id=7)),
        ("icmpv6 2001:db8::1 > fd00::2 type=129 id=3", IPv6(**V6) / ICMPv6EchoReply(id=3)),
        (
            "sctp 192.0.2.1:1 > 10.0.0.2:3868",
            IP(**V4)
            / SCTP(sport=1, dport=3868)
            / SCTPChunkInit(
                init_tag=1, a_rwnd=106_496, n_out_streams=1, n_in_streams=1, init_tsn=1
            ),
        ),
        ("gre 192.0.2.1 > 10.0.0.2 data=x", IP(**V4, proto=47) / Raw(b"x")),
        ("89 192.0.2.1 > 10.0.0.2", IP(**V4, proto=89) / Raw(b"payload")),
    ],
)
def test_a_line_becomes_the_packet_that_scapy_makes(line: str, expected: Packet) -> None:
    assert craft(line).data == bytes(expected)


def test_where_it_was_queued_is_told_by_words() -> None:
    packet = craft(
        "tcp 192.0.2.1:1 > 10.0.0.2:2 S hook=2 in=eth0 out=eth1 mark=0x400 uid=33 gid=0",
        packet_id=5,
    )
    assert packet == QueuedPacket(
        data=packet.data,
        hook=2,
        indev="eth0",
        outdev="eth1",
        mark=0x400,
        uid=33,
        gid=0,
        packet_id=5,
    )


def test_any_bytes_can_be_given() -> None:
    packet = craft("raw 4500ff mark=1")
    assert (packet.data, packet.mark) == (b"\x45\x00\xff", 1)


@pytest.mark.parametrize(
    ("words", "kind", "addresses"),
    [
        ("api.example.com", dns.rdatatype.A, []),
        (
            "api.example.com answer=203.0.113.5,203.0.113.6",
            dns.rdatatype.A,
            ["203.0.113.5", "203.0.113.6"],
        ),
        ("api.example.com. answer=2001:db8::5", dns.rdatatype.AAAA, ["2001:db8::5"]),
    ],
)
def test_names_are_looked_up_and_answered(words: str, kind: int, addresses: list[str]) -> None:
    packet = craft(f"dns 10.0.0.2:5000 > 10.0.0.53:53 {words}")
    read = decoder.decode(packet.data)
    assert isinstance(read, decoder.Packet)
    message = dns.message.from_wire(packet.data[read.payload_offset :])
    assert message.question[0].to_text() == f"api.example.com. IN {dns.rdatatype.to_text(kind)}"  # type: ignore[arg-type]  # a number will do
    assert [item.to_text() for rrset in message.answer for item in rrset] == addresses


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "expected PROTOCOL SOURCE"),
        ("tcp 1.2.3.4:1", "expected PROTOCOL SOURCE"),
        ("tcp 1.2.3.4:1 = 1.2.3.5:1", "expected PROTOCOL SOURCE"),
        ("tpc 1.2.3.4:1 > 1.2.3.5:1", "has no ports"),
        ("tpc 1.2.3.4 > 1.2.3.5", "expected a protocol: icmp, tcp"),
        ("256 1.2.3.4 > 1.2.3.5", "expected a protocol"),
        ("icmp 1.2.3.4:1 > 1.2.3.5", "icmp has no ports"),
        ("tcp 1.2.3:1 > 1.2.3.5:1", "expected an address, found '1.2.3'"),
        ("tcp web:1 > 1.2.3.5:1", "expected an address, found 'web'"),
        ("tcp 1.2.3.4:x > 1.2.3.5:1", "expected a port from 0 to 65535, found 'x'"),
        ("tcp 1.2.3.4:65536 > 1.2.3.5:1", "expected a port"),
        ("tcp [::1:1 > [::2]:1", "expected [ADDRESS]:PORT"),
        ("tcp [::1]1 > [::2]:1", "expected [ADDRESS]:PORT"),
        ("tcp 1.2.3.4:1 > [::2]:1", "both addresses of IPv4, or both of IPv6"),
        ("tcp 1.2.3.4:1 > 1.2.3.5:1 SX", "expected TCP flags of FSRPAUEC, found 'SX'"),
        ("udp 1.2.3.4:1 > 1.2.3.5:1 S", "words of the form name=value"),
        ("udp 1.2.3.4:1 > 1.2.3.5:1 mrk=1", "expected one of the words answer, chunk"),
        ("udp 1.2.3.4:1 > 1.2.3.5:1 mark=q", "expected a number as mark, found 'q'"),
        ("udp 1.2.3.4:1 > 1.2.3.5:1 size=20", "the packet has 28 bytes without padding"),
        ("raw", "expected hexadecimal digits"),
        ("raw 123", "expected hexadecimal digits"),
        ("raw 45 S", "raw bytes have no flags"),
        ("dns 1.2.3.4:1 > 1.2.3.5:53", "expected the name that is looked up"),
        ("dns 1.2.3.4:1 > 1.2.3.5:53 a..b", "expected a DNS name"),
        ("dns 1.2.3.4:1 > 1.2.3.5:53 a.b answer=x", "expected an address, found 'x'"),
        ("tcp 1.2.3.4:1 > 1.2.3.5:1 ttl=256", "expected a number from 0 to 255 as ttl"),
        ("icmp 1.2.3.4 > 1.2.3.5 type=-1", "expected a number from 0 to 255 as type"),
        ("tcp 1.2.3.4:1 > 1.2.3.5:1 size=65536", "expected a number from 0 to 65535 as size"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(line: str, said: str) -> None:
    with pytest.raises(ScriptError) as caught:
        craft(line)
    assert said in str(caught.value)
