"""Layers, one rule at a time."""

from __future__ import annotations

import pytest

from tests.monitor.dissection.packets import ethernet, hop_by_hop, ipv4, ipv6, tcp, udp
from trireme_datapath.monitor.dissection import (
    connection_summary,
    crashes_upstream,
    dissect,
    get_dissect_summary,
)

JUMBO = bytes.fromhex("c20400010000")


def lines(packet: bytes, profile: str = "1.16") -> list[str]:
    return dissect(packet, verbose=True, profile=profile).splitlines()


def names(packet: bytes, profile: str = "1.16") -> list[str]:
    return [line.partition("\t")[0] for line in lines(packet, profile) if "\t" in line]


def error(packet: bytes) -> str:
    last = lines(packet)[-1]
    prefix = "  Failed to decode layer: "
    return last.removeprefix(prefix) if last.startswith(prefix) else ""


def is_truncated(packet: bytes, profile: str = "1.16") -> bool:
    return "  Packet has been truncated" in lines(packet, profile)


def field(line: str, name: str) -> str:
    """Read a field of a line: up to the next name."""
    value = line.partition(f" {name}=")[2]
    return value.partition("=")[0].rpartition(" ")[0] if "=" in value else value.rstrip("}")


def test_golden() -> None:
    assert dissect(ethernet(ipv4(tcp())), verbose=True) == (
        "Ethernet\t{Contents=[..14..] Payload=[..40..] SrcMAC=01:23:45:67:89:ab"
        " DstMAC=02:33:45:67:89:ab EthernetType=IPv4 Length=0}\n"
        "IPv4\t{Contents=[..20..] Payload=[..20..] Version=4 IHL=5 TOS=0 Length=40 Id=1 Flags="
        " FragOffset=0 TTL=64 Protocol=TCP Checksum=0 SrcIP=1.2.3.4 DstIP=5.6.7.8 Options=[]"
        " Padding=[]}\n"
        "TCP\t{Contents=[..20..] Payload=[] SrcPort=80(http) DstPort=443(https) Seq=0 Ack=0"
        " DataOffset=5 FIN=false SYN=true RST=false PSH=false ACK=false URG=false ECE=false"
        " CWR=false NS=false Window=8192 Checksum=0 Urgent=0 Options=[] Padding=[]}\n"
    )


def test_nothing_is_an_error_in_one_profile_only() -> None:
    assert lines(b"") == ["  Failed to decode layer: Ethernet packet too small"]
    assert lines(b"", "1.9") == []
    assert lines(bytes(13), "1.9") == []


def test_the_length_of_an_old_frame_cuts_it() -> None:
    packet = ethernet(bytes(20), 3)
    assert field(lines(packet)[0], "EthernetType") == "LLC"
    assert "Payload=[0, 0, 0]" in lines(packet)[0]
    assert error(packet) == "No decoder for layer type LLC"
    assert is_truncated(ethernet(bytes(2), 3))


def test_an_unknown_type_ends_without_an_error() -> None:
    assert error(ethernet(b"x", 0x1234)) == ""
    assert field(lines(ethernet(b"x", 0x1234))[0], "EthernetType") == "UnknownEthernetType"
    assert error(ethernet(ipv4(b"x", 200))) == ""
    assert error(ethernet(ipv4(b"x", 59))) == "No decoder for layer type Payload"


def test_a_type_that_one_profile_does_not_know() -> None:
    packet = ethernet(b"x", 0x88BE)
    assert connection_summary(packet).endswith(" ERSPAN Type II")
    assert connection_summary(packet, profile="1.9").endswith(" UnknownEthernetType")


@pytest.mark.parametrize(
    ("packet", "message", "truncated"),
    [
        (ipv4(b"")[:19], "Invalid ip4 header. Length 19 less than 20", True),
        (ipv4(b"", length=19), "Invalid (too small) IP length (19 < 20)", False),
        (ipv4(b"", words=4), "Invalid (too small) IP header length (4 < 5)", False),
        (ipv4(b"", words=6), "Invalid IP header length > IP length (6 > 20)", False),
        (ipv4(b"", words=6, length=24), "Not all IP header bytes available", True),
        (
            ipv4(b"", options=b"\x01\x01\x01\x44"),
            "Invalid ip4 option length. Length 1 less than 2",
            True,
        ),
        (
            ipv4(b"", options=b"\x44\x05\x00\x00"),
            "IP option length exceeds remaining IP header size, option type 68 length 5",
            True,
        ),
        (
            ipv4(b"", options=b"\x44\x02\x00\x00"),
            "Invalid IP option type 68 length 2. Must be greater than 2",
            False,
        ),
    ],
)
def test_what_ipv4_refuses(packet: bytes, message: str, truncated: bool) -> None:
    assert error(ethernet(packet)) == message
    assert is_truncated(ethernet(packet)) == truncated
    assert names(ethernet(packet)) == ["Ethernet"]


def test_options_of_ipv4() -> None:
    packet = ethernet(ipv4(udp(), 17, options=b"\x01\x83\x04\x05\x06\x00\x09\x08"))
    line = lines(packet)[1]
    assert "Options=[IPv4Option(1:[]), IPv4Option(131:[5 6]), IPv4Option(0:[])]" in line
    assert line.endswith(" Padding=[9, 8]}")


def test_an_empty_length_is_that_of_the_packet() -> None:
    line = lines(ethernet(ipv4(udp(b"abc"), 17, length=0)))[1]
    assert field(line, "Length") == "31"
    assert field(line, "Payload") == "[..11..]"


def test_bytes_behind_a_datagram_are_cut() -> None:
    assert field(lines(ethernet(ipv4(udp(), 17) + b"trailer"))[1], "Payload") == "[..8..]"


def test_flags_and_fragments() -> None:
    packet = ethernet(ipv4(udp(), 17, fragment=0xE001))
    assert "Flags=Evil|DF|MF FragOffset=1 " in lines(packet)[1]
    assert error(packet) == "No decoder for layer type Fragment"
    assert connection_summary(packet) == "1.2.3.4 -> 5.6.7.8"


def test_a_nested_header_shows_in_both_lines() -> None:
    inner = ipv4(udp(), 17, source="0a000001", destination="0a000002")
    packet = ethernet(ipv4(inner, 4))
    assert names(packet) == ["Ethernet", "IPv4", "IPv4", "UDP"]
    assert lines(packet)[1] == lines(packet)[2]
    assert connection_summary(packet) == "10.0.0.1:53 -> 10.0.0.2:1024 udp"


def test_a_refused_nested_header_shows_too() -> None:
    inner = ipv4(b"", source="0a000001", destination="0a000002", words=4)
    packet = ethernet(ipv4(inner, 4))
    assert names(packet) == ["Ethernet", "IPv4"]
    assert "Contents=[..20..] Payload=[] Version=4 IHL=4" in lines(packet)[1]
    assert connection_summary(packet) == "10.0.0.1 -> 10.0.0.2"
    # One that is too short for any field changes nothing.
    assert connection_summary(ethernet(ipv4(inner[:19], 4))) == "1.2.3.4 -> 5.6.7.8"


def test_ethernet_in_ethernet() -> None:
    packet = ethernet(ethernet(ipv4(udp(), 17)), 0x6558)
    assert names(packet) == ["Ethernet", "Ethernet", "IPv4", "UDP"]
    assert lines(packet)[0] == lines(packet)[1]


@pytest.mark.parametrize(
    ("packet", "message", "truncated"),
    [
        (ipv6(b"")[:39], "Invalid ip6 header. Length 39 less than 40", True),
        (ipv6(b"", length=0), "IPv6 length 0, but next header is TCP, not HopByHop", False),
        (ipv6(b"\0", 0), "Invalid ip6-extension header. Length 1 less than 2", True),
        (
            ipv6(b"\6\1" + bytes(6), 0),
            "Invalid ip6-extension header. Length 8 less than specified length 16",
            False,
        ),
        (ipv6(hop_by_hop(bytes(6)), 0), "IPv6 header option too small", True),
        (
            ipv6(hop_by_hop(b"\5\5\0\0\0\0"), 0),
            "IPv6 header TLV option too small",
            True,
        ),
        (
            ipv6(hop_by_hop(b"\xc2\x03\0\0\0\0") + tcp(), 0),
            "Jumbo length TLV data must have length 4",
            False,
        ),
        (
            ipv6(hop_by_hop(b"\xc2\x04\0\0\xff\xff"), 0),
            "Jumbo length cannot be less than 65536",
            False,
        ),
        (
            ipv6(hop_by_hop(JUMBO), 0),
            "IPv6 has jumbo length and IPv6 length is not 0",
            False,
        ),
        (
            ipv6(hop_by_hop(b"\1\4\0\0\0\0"), 0, length=0),
            "IPv6 length 0, but HopByHop header does not have jumbogram option",
            False,
        ),
    ],
)
def test_what_ipv6_refuses(packet: bytes, message: str, truncated: bool) -> None:
    assert error(ethernet(packet, 0x86DD)) == message
    assert is_truncated(ethernet(packet, 0x86DD)) == truncated


def test_hop_by_hop_options() -> None:
    packet = ethernet(ipv6(hop_by_hop(b"\5\2\0\0\1\0") + tcp(), 0), 0x86DD)
    assert names(packet) == ["Ethernet", "IPv6", "TCP"]
    assert lines(packet)[1].endswith(
        " HopByHop={ Contents=[..8..] Payload=[..20..] NextHeader=TCP HeaderLength=0"
        " ActualLength=8 Options=[{OptionType=5 OptionLength=2 ActualLength=4 OptionData=[0, 0]"
        " OptionAlignment=[0 0]}, {OptionType=1 OptionLength=0 ActualLength=2 OptionData=[]"
        " OptionAlignment=[0 0]}]}}"
    )
    # The length counts the options, which are no longer there.
    assert is_truncated(packet)


def test_a_jumbogram_keeps_its_options() -> None:
    packet = ethernet(ipv6(hop_by_hop(JUMBO, 59) + bytes(70_000), 0, length=0), 0x86DD)
    assert field(lines(packet)[1], "Payload") == "[..65536..]"
    assert not is_truncated(packet)
    assert is_truncated(packet[:1000])


def test_a_pad_at_the_end_is_refused_in_one_profile_only() -> None:
    packet = ethernet(ipv6(hop_by_hop(bytes(6)), 0), 0x86DD)
    assert names(packet) == ["Ethernet"]
    assert names(packet, "1.9") == ["Ethernet", "IPv6"]


@pytest.mark.parametrize("options", [b"\5\5\0\0\0\0", b"\5\2\0\0\0\1"])
def test_cut_options_are_marked_in_one_profile_only(options: bytes) -> None:
    packet = ethernet(ipv6(hop_by_hop(options), 0), 0x86DD)
    assert names(packet) == names(packet, "1.9") == ["Ethernet"]
    assert is_truncated(packet)
    assert not is_truncated(packet, "1.9")


@pytest.mark.parametrize("protocol", [0x0800, 0x86DD])
@pytest.mark.parametrize("missing", [1, 20, 30])
def test_options_reach_beyond_what_a_header_cut_off_in_one_profile_only(
    protocol: int, missing: int
) -> None:
    inner = ipv6(hop_by_hop(bytes([5, 24 + missing, 0, 0, 0, 0])) + tcp(), 0)
    outer = ipv4(inner, 41) if protocol == 0x0800 else ipv6(inner, 41)
    outer_name = "IPv4" if protocol == 0x0800 else "IPv6"
    # The outer header ends with the inner one, and what is behind it belongs to nobody.
    enough = ethernet(outer + bytes(missing), protocol)
    assert names(enough[:-1], "1.9") == ["Ethernet", outer_name]
    assert names(enough, "1.9") == ["Ethernet", outer_name, "IPv6", "TCP"]
    assert names(enough) == ["Ethernet", outer_name]
    assert error(enough) == "IPv6 header TLV option too small"


def test_options_of_nested_headers_add_up_in_one_profile_only() -> None:
    options = hop_by_hop(b"\1\1\0\1\1\0")
    inner = ipv6(hop_by_hop(b"\1\1\0\1\1\0") + tcp(), 0)
    packet = ethernet(ipv6(bytes([41]) + options[1:] + inner, 0), 0x86DD)
    assert names(packet) == ["Ethernet", "IPv6", "IPv6", "TCP"]
    assert lines(packet)[1].count("OptionType") == 2
    assert lines(packet, "1.9")[1].count("OptionType") == 4


def overlapping_jumbograms(count: int) -> bytes:
    """Build a packet each of whose jumbograms begins with options that all the others read, too.

    A block is both options and, from its first byte, the next IPv6 header.
    """
    blocks = b""
    for number in range(count):
        units = min(255, 40 * (count - number) // 8 + 1)
        blocks += bytes([41, units]) + bytes.fromhex("010400000000") + JUMBO + bytes(24) + b"\5\2"
    return ethernet(ipv6(blocks + b"\0\0\1\x0c" + bytes(12), 0, length=0), 0x86DD)


def test_overlapping_options_are_not_read_without_end() -> None:
    packet = overlapping_jumbograms(49)
    assert len(packet) <= 2048
    assert error(packet) == "IPv6 hop-by-hop options overlap"
    # Those that overlap a little are still read.
    assert names(overlapping_jumbograms(3)) == ["Ethernet", "IPv6", "IPv6", "IPv6"]


def test_options_of_tcp() -> None:
    options = bytes.fromhex("02040218 080a5699 4ff4b9c2 56f30000")
    line = lines(ethernet(ipv4(tcp(options=options))))[2]
    assert (
        "Options=[TCPOption(MSS:536 0x0218),"
        " TCPOption(Timestamps:1452888052/3116521203 0x56994ff4b9c256f3), TCPOption(EndList:)]"
        " Padding=[0]}"
    ) in line
    unknown = lines(ethernet(ipv4(tcp(options=b"\x10\x02\x0f\x02"))))[2]
    assert "Options=[TCPOption(Unknown(16):), TCPOption(AltChecksumData:)]" in unknown


def test_the_end_of_options_is_none_in_one_profile() -> None:
    packet = ethernet(ipv4(tcp(options=b"\0\1\0\x07")))
    assert "Options=[TCPOption(EndList:)] Padding=[1, 0, 7]}" in lines(packet)[2]
    assert connection_summary(packet, profile="1.9") == "1.2.3.4 -> 5.6.7.8"
    sound = ethernet(ipv4(tcp(options=b"\0\1\0\1")))
    assert lines(sound, "1.9")[2].endswith(
        " Options=[TCPOption(EndList:), TCPOption(NOP:), TCPOption(EndList:), TCPOption(NOP:)]"
        " Padding=[1]}"
    )


@pytest.mark.parametrize("value", [b"", b"\x05"])
def test_upstream_crashes_on_an_empty_segment_size(value: bytes) -> None:
    option = bytes([2, 2 + len(value)]) + value
    packet = ethernet(ipv4(tcp(options=option.ljust(4, b"\1"))))
    assert crashes_upstream(packet, profile="1.9")
    assert not crashes_upstream(packet)
    assert names(packet, "1.9") == ["Ethernet", "IPv4"]
    assert names(packet) == ["Ethernet", "IPv4", "TCP"]
    # What is not printed does not crash.
    many = ethernet(ipv4(tcp(options=option.ljust(8, b"\1"))))
    assert not crashes_upstream(many, profile="1.9")
    assert names(many, "1.9") == ["Ethernet", "IPv4", "TCP"]


@pytest.mark.parametrize(
    ("segment", "message", "truncated"),
    [
        (tcp()[:19], "Invalid TCP header. Length 19 less than 20", True),
        (tcp(words=4), "Invalid TCP data offset 4 < 5", False),
        (tcp(words=6), "TCP data offset greater than packet length", True),
        (tcp(options=b"\1\1\1\2"), "Invalid TCP option length. Length 1 less than 2", True),
        (tcp(options=b"\2\1\1\1"), "Invalid TCP option length 1 < 2", False),
        (
            tcp(options=b"\2\5\1\1"),
            "Invalid TCP option length 5 exceeds remaining 4 bytes",
            True,
        ),
    ],
)
def test_what_tcp_refuses(segment: bytes, message: str, truncated: bool) -> None:
    packet = ethernet(ipv4(segment))
    assert error(packet) == message
    assert is_truncated(packet) == truncated
    assert connection_summary(packet) == "1.2.3.4 -> 5.6.7.8"


@pytest.mark.parametrize(
    ("datagram", "message", "payload"),
    [
        (udp()[:7], "Invalid UDP header. Length 7 less than 8", None),
        (udp(length=7), "UDP packet too small: 7 bytes", None),
        (udp(b"abc", length=0), "No decoder for layer type DNS", "[97, 98, 99]"),
        (udp(b"abc", length=10), "No decoder for layer type DNS", "[97, 98]"),
        (udp(b"abc", length=99), "No decoder for layer type DNS", "[97, 98, 99]"),
    ],
)
def test_what_udp_refuses(datagram: bytes, message: str, payload: str | None) -> None:
    packet = ethernet(ipv4(datagram, 17))
    assert error(packet) == message
    assert len(names(packet)) == (2 if payload is None else 3)
    if payload is not None:
        assert f"Payload={payload} " in lines(packet)[2]


@pytest.mark.parametrize(
    ("ports", "layer"),
    [
        ((1024, 443), "TLS"),
        ((443, 1024), "TLS"),
        ((53, 502), "ModbusTCP"),
        ((1024, 1025), "Payload"),
    ],
)
def test_the_destination_port_names_the_next_layer_first(
    ports: tuple[int, int], layer: str
) -> None:
    assert error(ethernet(ipv4(tcp(b"x", ports=ports)))) == f"No decoder for layer type {layer}"


def test_sctp_is_unknown_to_one_profile() -> None:
    packet = ethernet(ipv4(bytes.fromhex("01bb1f90 8ad8d25b 4ac9ec00"), 132))
    assert lines(packet)[2] == (
        "SCTP\t{Contents=[..12..] Payload=[] SrcPort=443(https) DstPort=8080"
        " VerificationTag=2329465435 Checksum=1254747136}"
    )
    assert connection_summary(packet) == "1.2.3.4:443 -> 5.6.7.8:8080 sctp"
    assert connection_summary(packet, profile="1.9") == "1.2.3.4 -> 5.6.7.8"
    cut = ethernet(ipv4(bytes(11), 132))
    assert error(cut) == "Invalid SCTP common header length"
    assert not is_truncated(cut)


@pytest.mark.parametrize(
    ("kind", "code", "text"),
    [
        (8, 0, "EchoRequest"),
        (8, 1, "EchoRequest(Code: 1)"),
        (3, 3, "DestinationUnreachable(Port)"),
        (3, 16, "DestinationUnreachable(Code: 16)"),
        (30, 0, "30(0)"),
    ],
)
def test_icmpv4(kind: int, code: int, text: str) -> None:
    packet = ethernet(ipv4(bytes([kind, code]) + bytes.fromhex("b67bcc9e397c"), 1))
    assert lines(packet)[2] == (
        f"ICMPv4\t{{Contents=[..8..] Payload=[] TypeCode={text} Checksum=46715 Id=52382 Seq=14716}}"
    )
    assert connection_summary(packet) == f"1.2.3.4 -> 5.6.7.8 {text}"
    assert error(packet[:-1]) == "ICMP layer less then 8 bytes for ICMPv4 packet"


@pytest.mark.parametrize(
    ("kind", "size", "layer"),
    [
        (128, 1, "ICMPv6Echo"),
        (130, 20, "MLDv1MulticastListenerQuery"),
        (130, 21, "MLDv2MulticastListenerQuery"),
        (143, 1, "MLDv2MulticastListenerReport"),
        (1, 1, "Payload"),
    ],
)
def test_icmpv6(kind: int, size: int, layer: str) -> None:
    packet = ethernet(ipv6(bytes([kind, 0, 0, 7]) + bytes(size), 58), 0x86DD)
    assert f"Contents=[{kind}, 0, 0, 7] " in lines(packet)[2]
    assert lines(packet)[2].endswith(" Checksum=7 TypeBytes=[]}")
    assert error(packet) == f"No decoder for layer type {layer}"
    cut = ethernet(ipv6(b"\x80\0\0", 58), 0x86DD)
    assert error(cut) == "ICMP layer less then 4 bytes for ICMPv6 packet"


def test_the_summary_has_an_entry_per_kind() -> None:
    packet = ethernet(ipv4(tcp()))
    summary = get_dissect_summary(packet)
    assert [summary.ethernet, summary.ipv4, summary.tcp] == lines(packet)
    assert (summary.l4.src, summary.l4.dst) == ("80", "443") if summary.l4 else False
    assert summary.udp == ""
    assert get_dissect_summary(b"").l2 is None


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no profile '1\.17'"):
        connection_summary(b"", profile="1.17")
