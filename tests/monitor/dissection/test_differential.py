"""The fields of layers are those that scapy reads."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from tests.monitor.dissection.vectors import PACKET_CASES
from trireme_datapath.monitor.dissection import dissect, get_connection_info

MACS = {"src": "01:23:45:67:89:ab", "dst": "02:33:45:67:89:ab"}
IPV4 = IP(src="10.1.2.3", dst="192.0.2.9", tos=3, id=77, ttl=9, flags="DF")
IPV6 = IPv6(src="2001:db8::1", dst="2001:db8::2", tc=5, fl=99, hlim=3)
SEGMENT = TCP(
    sport=40000,
    dport=8443,
    seq=7,
    ack=9,
    flags="SEC",
    window=512,
    urgptr=3,
    options=[("MSS", 1460), ("NOP", None), ("WScale", 7)],
)


def fields(packet: bytes, layer: str) -> dict[str, str]:
    """Read the fields of a layer's line that hold no lists."""
    line = next(
        text for text in dissect(packet, verbose=True).splitlines() if text.startswith(layer + "\t")
    )
    pairs = (item.partition("=") for item in line.partition("{")[2].rstrip("}").split(" "))
    return {name: value for name, separator, value in pairs if separator}


def built(*layers: object) -> tuple[bytes, Packet]:
    packet: Packet = Ether(**MACS)
    for layer in layers:
        packet /= layer
    data = bytes(packet)
    return data, Ether(data)


@pytest.mark.parametrize("transport", [SEGMENT, UDP(sport=5, dport=6), ICMP(type=8, id=4, seq=5)])
def test_ipv4(transport: object) -> None:
    data, oracle = built(IPV4, transport, Raw(b"payload"))
    shown = fields(data, "IPv4")
    ip = oracle[IP]
    assert [shown[name] for name in ("Version", "IHL", "TOS", "Length", "Id", "TTL")] == [
        str(value) for value in (ip.version, ip.ihl, ip.tos, ip.len, ip.id, ip.ttl)
    ]
    assert shown["Flags"] == str(ip.flags)
    assert shown["Checksum"] == str(ip.chksum)
    assert (shown["SrcIP"], shown["DstIP"]) == (ip.src, ip.dst)
    assert (fields(data, "Ethernet")["SrcMAC"], fields(data, "Ethernet")["DstMAC"]) == (
        oracle.src,
        oracle.dst,
    )


def test_options_of_ipv4() -> None:
    data, oracle = built(IP(options=[IPOption_Router_Alert()]), UDP())
    option = oracle[IP].options[0]
    assert f"Options=[IPv4Option({bytes(option)[0]}:[0 0])]" in dissect(data, verbose=True)
    assert fields(data, "IPv4")["IHL"] == str(oracle[IP].ihl)


def test_ipv6() -> None:
    data, oracle = built(IPV6, UDP(sport=5, dport=6))
    shown, ip = fields(data, "IPv6"), oracle[IPv6]
    names = ("Version", "TrafficClass", "FlowLabel", "Length", "HopLimit", "SrcIP", "DstIP")
    values = (ip.version, ip.tc, ip.fl, ip.plen, ip.hlim, ip.src, ip.dst)
    assert [shown[name] for name in names] == [str(value) for value in values]


@pytest.mark.parametrize("network", [IPV4, IPV6])
def test_tcp(network: object) -> None:
    data, oracle = built(network, SEGMENT)
    shown, tcp = fields(data, "TCP"), oracle[TCP]
    names = ("Seq", "Ack", "DataOffset", "Window", "Checksum", "Urgent")
    values = (tcp.seq, tcp.ack, tcp.dataofs, tcp.window, tcp.chksum, tcp.urgptr)
    assert [shown[name] for name in names] == [str(value) for value in values]
    for name in ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"):
        letter = "C" if name == "CWR" else name[0]
        assert shown[name] == str(letter in str(tcp.flags)).lower()
    assert "TCPOption(MSS:1460 0x05b4)" in dissect(data, verbose=True)


def test_udp() -> None:
    data, oracle = built(IPV4, UDP(sport=40000, dport=40001), Raw(b"xyz"))
    shown, udp = fields(data, "UDP"), oracle[UDP]
    ports = [shown[name].partition("(")[0] for name in ("SrcPort", "DstPort")]
    assert ports == [str(udp.sport), str(udp.dport)]
    assert (shown["Length"], shown["Checksum"]) == (str(udp.len), str(udp.chksum))


def test_sctp() -> None:
    data, oracle = built(IPV4, SCTP(sport=1, dport=2, tag=99))
    shown, sctp = fields(data, "SCTP"), oracle[SCTP]
    assert (shown["VerificationTag"], shown["Checksum"]) == (str(sctp.tag), str(sctp.chksum))


def test_icmp() -> None:
    data, oracle = built(IPV4, ICMP(type=8, id=4, seq=5))
    shown, icmp = fields(data, "ICMPv4"), oracle[ICMP]
    assert (shown["Checksum"], shown["Id"], shown["Seq"]) == (str(icmp.chksum), "4", "5")
    data, oracle = built(IPV6, ICMPv6EchoRequest(id=4))
    assert fields(data, "ICMPv6")["Checksum"] == str(oracle[ICMPv6EchoRequest].cksum)


def test_recorded_packets() -> None:
    """Where scapy finds ports behind one sound IP header, they are the same."""
    compared = 0
    for case in PACKET_CASES:
        info = get_connection_info(case.packet, profile=case.profile)
        oracle = Ether(case.packet) if len(case.packet) >= 14 else None
        if info.proto not in {"tcp", "udp"} or oracle is None:
            continue
        transport = oracle.getlayer(TCP if info.proto == "tcp" else UDP)
        if transport is None or oracle.getlayer(IP, 2) or oracle.getlayer(IPv6, 2):
            continue
        assert (info.src_port, info.dst_port) == (transport.sport, transport.dport), case.id
        compared += 1
    assert compared > 100
