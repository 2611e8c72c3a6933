"""Who talks to whom: the summary, the quick way to it, and the connection as a record."""

from __future__ import annotations

import ipaddress
from struct import pack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.monitor.dissection.packets import ethernet, ipv4, ipv6, tcp, udp
from trireme_datapath.monitor.dissection import (
    ConnectionInfo,
    connection_summary,
    get_connection_info,
    get_connection_summary,
)
from trireme_datapath.monitor.dissection._addresses import ip_text
from trireme_datapath.monitor.dissection._connection import general_summary
from trireme_datapath.monitor.dissection._quick_summary import quick_summary

MAPPED = "00000000000000000000ffffa9fe190a"


@pytest.mark.parametrize(
    ("packet", "summary"),
    [
        (b"", "[unknown]"),
        (bytes(13), "[unknown]"),
        (ethernet(b"", 0x0806), "01:23:45:67:89:ab -> 02:33:45:67:89:ab ARP"),
        (ethernet(ipv4(b"", 50)), "1.2.3.4 -> 5.6.7.8"),
        (ethernet(ipv4(tcp())), "1.2.3.4:80 -> 5.6.7.8:443 tcp SYN"),
        (ethernet(ipv4(tcp(flags=0x17))), "1.2.3.4:80 -> 5.6.7.8:443 tcp SYN, ACK, RST, FIN"),
        # The space stands there without a flag, too.
        (ethernet(ipv4(tcp(flags=0x28))), "1.2.3.4:80 -> 5.6.7.8:443 tcp "),
        (ethernet(ipv4(udp(), 17)), "1.2.3.4:53 -> 5.6.7.8:1024 udp"),
        (
            ethernet(ipv6(tcp()), 0x86DD),
            "[2001:db8::1]:80 -> [2001:db8::2]:443 tcp SYN",
        ),
        (
            ethernet(ipv6(udp(), 17, source=MAPPED), 0x86DD),
            "169.254.25.10:53 -> [2001:db8::2]:1024 udp",
        ),
        (ethernet(ipv4(b"\x08\0" + bytes(6), 1)), "1.2.3.4 -> 5.6.7.8 EchoRequest"),
    ],
)
def test_golden(packet: bytes, summary: str) -> None:
    assert connection_summary(packet) == get_connection_summary(packet) == summary


def test_the_record() -> None:
    assert get_connection_info(b"") == ConnectionInfo()
    assert get_connection_info(ethernet(ipv4(tcp()))) == ConnectionInfo(
        src_ip="1.2.3.4", dst_ip="5.6.7.8", src_port=80, dst_port=443, proto="tcp"
    )
    assert get_connection_info(ethernet(ipv6(b"\x02\5\0\0", 58), 0x86DD)) == ConnectionInfo(
        src_ip="2001:db8::1",
        dst_ip="2001:db8::2",
        proto="icmp",
        icmp_code="PacketTooBig(Code: 5)",
    )


@pytest.mark.parametrize("is_1_9", [False, True])
@pytest.mark.parametrize(
    "packet",
    [
        ethernet(ipv4(tcp())),
        ethernet(ipv4(tcp(options=b"\1\1\x08\x0a" + bytes(8)))),
        ethernet(ipv4(tcp(options=b"\2\4\5\xb4\1\3\3\7"))),
        ethernet(ipv4(udp(bytes(20)), 17)),
        ethernet(ipv6(tcp(b"payload")), 0x86DD),
        ethernet(ipv6(udp(bytes(20)), 17), 0x86DD),
    ],
)
def test_plain_packets_go_the_quick_way(packet: bytes, *, is_1_9: bool) -> None:
    assert quick_summary(packet, is_1_9=is_1_9) == general_summary(packet, is_1_9=is_1_9)


def transports() -> st.SearchStrategy[bytes]:
    """Make TCP and UDP headers that are sound, or nearly so."""
    options = st.one_of(
        st.binary(max_size=40).map(lambda data: data.ljust(-(-len(data) // 4) * 4, b"\0")),
        st.just(b"\1\1\x08\x0a" + bytes(8)),
    )
    port = st.integers(0, 65535)
    ports = st.tuples(port, port)
    segments = st.builds(
        lambda payload, ports, flags, options, words: tcp(
            payload, ports=ports, flags=flags, options=options, words=words
        ),
        st.binary(max_size=12),
        ports,
        st.integers(0, 0x1FF),
        options,
        st.one_of(st.none(), st.integers(0, 15)),
    )
    datagrams = st.builds(
        lambda payload, ports, length: udp(payload, ports=ports, length=length),
        st.binary(max_size=40),
        ports,
        st.one_of(st.none(), st.integers(0, 60)),
    )
    return st.one_of(segments, datagrams)


@given(
    transports(),
    st.sampled_from([6, 17, 1, 132]),
    st.one_of(st.none(), st.integers(0, 120)),
    st.sampled_from([0, 0x4000, 0x2000, 1, 0x8000]),
    st.integers(0, 4).map(lambda count: b"\1" * 4 * count),
    st.one_of(st.none(), st.integers(0, 15)),
    st.integers(0, 150),
)
def test_both_ways_agree_on_ipv4(
    transport: bytes,
    protocol: int,
    length: int | None,
    fragment: int,
    options: bytes,
    words: int | None,
    cut: int,
) -> None:
    packet = ethernet(
        ipv4(transport, protocol, length=length, fragment=fragment, options=options, words=words)
    )
    agree(packet)
    agree(packet[:cut])


@given(
    transports(),
    st.sampled_from([0, 6, 17, 58, 132]),
    st.one_of(st.none(), st.integers(0, 120)),
    st.sampled_from([MAPPED, "00" * 16, "00" * 15 + "01", "00" * 12 + "0a000001", "fe80" * 8]),
    st.integers(0, 150),
)
def test_both_ways_agree_on_ipv6(
    transport: bytes, protocol: int, length: int | None, source: str, cut: int
) -> None:
    packet = ethernet(ipv6(transport, protocol, length=length, source=source), 0x86DD)
    agree(packet)
    agree(packet[:cut])


def agree(packet: bytes) -> None:
    for is_1_9 in (False, True):
        quick = quick_summary(packet, is_1_9=is_1_9)
        assert quick in {"", general_summary(packet, is_1_9=is_1_9)}


@given(st.binary(min_size=16, max_size=16))
@example(bytes(16))
@example(bytes(15) + b"\1")
@example(bytes(12) + b"\1\2\3\4")
@example(bytes(12) + b"\1\2\0\0")
@example(bytes(13) + b"\1\0\0")
@example(pack(">8H", 1, 0, 0, 2, 0, 0, 3, 4))
def test_ipv6_text(packed: bytes) -> None:
    address = ipaddress.IPv6Address(packed)
    if address.ipv4_mapped is not None:
        assert ip_text(packed) == str(address.ipv4_mapped)
    else:
        assert ip_text(packed) == address.compressed


@given(st.binary(min_size=4, max_size=4))
def test_ipv4_text(packed: bytes) -> None:
    assert ip_text(packed) == str(ipaddress.IPv4Address(packed))
    assert ip_text(bytes(10) + b"\xff\xff" + packed) == ip_text(packed)
