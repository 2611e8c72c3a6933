"""Which packets fit: against scapy, and the kernel's program against the matcher."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from tests.datapath.recorder.bpf_machine import run
from trireme_datapath.recorder import CaptureFilter, build_filter
from trireme_datapath.recorder._bpf import MAX_INSTRUCTIONS, REJECT_ALL, Link, compile_bpf
from trireme_datapath.recorder._matcher import IPV4_TYPE, compile_matcher, network_start

ANY4, ANY6 = "0.0.0.0/0", "::/0"


def frame(packet: Packet, *, vlan: int = 0) -> bytes:
    head = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    for number in range(vlan):
        head /= Dot1Q(vlan=7 + number)
    return bytes(head / packet)


def fits(packet: Packet, *filters: CaptureFilter, vlan: int = 0) -> bool:
    """Ask the matcher and the program; where the program is exact, both have to say the same."""
    data = frame(packet, vlan=vlan)
    start, kind = network_start(data)
    found = compile_matcher(filters)(data, start) and bool(kind)
    program = compile_bpf(filters, Link.ETHERNET, 96)
    wanted = run(program.instructions, data, protocol=kind)
    assert wanted in {0, 96}
    assert wanted or not found, "the kernel would lose it"
    if program.exact:
        assert bool(wanted) is found
    bare = data[start:]
    cut = compile_bpf(filters, Link.NETWORK, 96)
    assert (run(cut.instructions, bare, protocol=kind) > 0) == (wanted > 0)
    return found


def test_a_third_tag_is_none_of_ours() -> None:
    data = frame(WEB, vlan=3)
    assert network_start(data) == (len(data), 0)
    assert network_start(data, 3)[1] == IPV4_TYPE
    any_packet = build_filter(ANY4, ANY4)
    assert run(compile_bpf([any_packet], Link.ETHERNET, 96).instructions, data, protocol=0) == 0


WEB = IP(src="10.1.2.3", dst="192.0.2.1") / TCP(sport=40000, dport=443)
DNS = IP(src="10.1.2.3", dst="192.0.2.1") / UDP(sport=53, dport=40000)
PING = IP(src="10.1.2.3", dst="192.0.2.1") / ICMP()
S1AP = IP(src="10.1.2.3", dst="192.0.2.1") / SCTP(sport=36412, dport=36412)
WEB6 = IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=40000, dport=443)
OPTIONS = (
    IPv6(src="2001:db8::1", dst="2001:db8::2")
    / IPv6ExtHdrHopByHop()
    / IPv6ExtHdrDestOpt()
    / TCP(sport=40000, dport=443)
)
FIRST = IPv6(src="::1", dst="::2") / IPv6ExtHdrFragment(m=1, nh=17) / UDP(sport=5, dport=6)
LATER = IPv6(src="::1", dst="::2") / IPv6ExtHdrFragment(offset=9, nh=17) / UDP(sport=5, dport=6)


@pytest.mark.parametrize("vlan", [0, 1, 2])
def test_all_parts_must_fit(vlan: int) -> None:
    for good in (
        build_filter(ANY4, ANY4),
        build_filter("10.0.0.0/8", "192.0.2.1/32", 40000, 443, 6),
        build_filter("10.0.0.0/8", ANY4, 0, 443),
        build_filter(ANY4, "192.0.2.0/24", 40000, 0),
        build_filter(ANY4, ANY4, protocol=6),
    ):
        assert fits(WEB, good, vlan=vlan), good
    for bad in (
        build_filter("11.0.0.0/8", ANY4),
        build_filter(ANY4, "10.0.0.0/8"),
        build_filter(ANY4, ANY4, 443, 40000),
        build_filter(ANY4, ANY4, 0, 444, 6),
        build_filter(ANY4, ANY4, protocol=17),
        build_filter(ANY6, ANY6),
    ):
        assert not fits(WEB, bad, vlan=vlan), bad


def test_one_filter_of_several_is_enough() -> None:
    dns = build_filter(ANY4, ANY4, 53, 0, 17)
    assert fits(DNS, build_filter(ANY6, ANY6), dns)
    assert not fits(WEB, build_filter(ANY6, ANY6), dns)


def test_any_is_every_protocol() -> None:
    for packet in (WEB, DNS, PING, S1AP):
        assert fits(packet, build_filter("10.0.0.0/8", ANY4))
    assert fits(S1AP, build_filter(ANY4, ANY4, 36412, 36412, 132))
    assert fits(S1AP, build_filter(ANY4, ANY4, 36412))
    assert fits(PING, build_filter(ANY4, ANY4, protocol=1))
    # The first four bytes of an echo request are no ports.
    assert not fits(PING, build_filter(ANY4, ANY4, 0x0800))


def test_ipv6_headers_are_stepped_over() -> None:
    web = build_filter(ANY6, "2001:db8::/32", 0, 443, 6)
    assert fits(WEB6, web)
    assert fits(OPTIONS, web)
    assert not fits(OPTIONS, build_filter(ANY6, ANY6, 0, 444, 6))
    assert not fits(OPTIONS, build_filter(ANY6, ANY6, protocol=17))
    assert not fits(WEB6, build_filter(ANY4, ANY4))


def test_a_later_fragment_has_no_ports() -> None:
    ported, plain = build_filter(ANY6, ANY6, 5), build_filter(ANY6, ANY6, protocol=17)
    assert fits(FIRST, ported)
    assert not fits(LATER, ported)
    assert fits(LATER, plain)
    later4 = IP(src="10.1.1.1", dst="10.1.1.2", frag=3, proto=17) / Raw(b"\0\x35\0\x35abcd")
    assert not fits(later4, build_filter(ANY4, ANY4, 53))
    assert fits(later4, build_filter(ANY4, ANY4, protocol=17))


def test_what_is_no_ip_fits_nothing() -> None:
    every = (build_filter(ANY4, ANY4), build_filter(ANY6, ANY6))
    assert not fits(ARP(), *every)
    match = compile_matcher(every)
    for data in (b"", b"\x45", bytes(19), b"\x60" + bytes(38), bytes(60)):
        assert not match(data, 0)


def test_options_of_ipv4_move_the_ports() -> None:
    packet = IP(src="10.1.1.1", dst="10.1.1.2", options=b"\x01" * 8) / TCP(sport=7, dport=8)
    assert fits(packet, build_filter(ANY4, ANY4, 7, 8, 6))


def test_a_packet_without_its_ports_does_not_end_the_search() -> None:
    data = frame(IP(src="10.1.1.1", dst="10.1.1.2", proto=6) / Raw(b"\0\x07"))[: 14 + 22]
    filters = (build_filter(ANY4, ANY4, 7), build_filter("10.0.0.0/8", ANY4))
    program = compile_bpf(filters, Link.ETHERNET, 96)
    assert run(program.instructions, data, protocol=IPV4_TYPE) == 96
    assert run(compile_bpf(filters[:1], Link.ETHERNET, 96).instructions, data) == 0


def test_loopback_packets_count_once() -> None:
    program = compile_bpf([build_filter(ANY4, ANY4)], Link.ETHERNET, 96, loopback=True)
    data = frame(WEB)
    assert run(program.instructions, data, protocol=IPV4_TYPE, hardware=772) == 96
    assert run(program.instructions, data, protocol=IPV4_TYPE, hardware=772, outgoing=True) == 0
    assert run(program.instructions, data, protocol=IPV4_TYPE, outgoing=True) == 96


def test_too_many_filters_for_the_kernel_are_left_to_the_matcher() -> None:
    filters = [build_filter(f"10.0.{n >> 8}.{n & 255}/32", ANY4, 5, 6, 6) for n in range(1000)]
    program = compile_bpf(filters, Link.ETHERNET, 96)
    assert len(program.instructions) <= MAX_INSTRUCTIONS
    assert not program.exact
    assert run(program.instructions, frame(WEB), protocol=IPV4_TYPE) == 96
    assert run(program.instructions, frame(WEB6), protocol=0x86DD) == 96
    assert run(program.instructions, frame(ARP()), protocol=0x0806) == 0


def test_nothing_passes_the_program_that_rejects() -> None:
    assert run(REJECT_ALL, frame(WEB)) == 0


addresses4 = st.sampled_from(["10.0.0.1", "10.0.0.2", "192.0.2.1"])
addresses6 = st.sampled_from(["2001:db8::1", "2001:db8::2", "fd00::1"])
ports = st.sampled_from([0, 53, 443, 65535])
numbers = st.sampled_from([0, 1, 6, 17, 58, 132])


@st.composite
def capture_filters(draw: st.DrawFn) -> CaptureFilter:
    version = draw(st.sampled_from([4, 6]))
    addresses, longest = (addresses4, 32) if version == 4 else (addresses6, 128)

    def network() -> str:
        prefix = draw(st.sampled_from([0, 7, longest // 2, longest - 1, longest]))
        return f"{draw(addresses)}/{prefix}"

    return build_filter(network(), network(), draw(ports), draw(ports), draw(numbers))


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    version = draw(st.sampled_from([4, 6]))
    addresses = addresses4 if version == 4 else addresses6
    source, destination = draw(addresses), draw(addresses)
    ip = IP(src=source, dst=destination) if version == 4 else IPv6(src=source, dst=destination)
    if version == 6 and draw(st.booleans()):
        ip = ip / IPv6ExtHdrDestOpt()
    kind = draw(st.sampled_from([TCP, UDP, SCTP, None]))
    if kind is None:
        return ip / Raw(b"data")
    return ip / kind(sport=draw(ports), dport=draw(ports))


def oracle(packet: Packet, one: CaptureFilter) -> bool:
    """Say what fits by what scapy knows of the packet."""
    ip = packet[IP] if packet.haslayer(IP) else packet[IPv6]
    source, destination = ipaddress.ip_address(ip.src), ipaddress.ip_address(ip.dst)
    if source.version != one.source.version:
        return False
    if source not in one.source or destination not in one.destination:
        return False
    upper = next((layer for layer in (TCP, UDP, SCTP) if packet.haslayer(layer)), None)
    numbers = {TCP: 6, UDP: 17, SCTP: 132}
    if one.protocol and (upper is None or numbers[upper] != one.protocol):
        return False
    if not one.has_ports:
        return True
    if upper is None:
        return False
    layer = packet[upper]
    return one.source_port in {0, layer.sport} and one.destination_port in {0, layer.dport}


@given(packets(), st.lists(capture_filters(), min_size=1, max_size=4), st.integers(0, 2))
def test_matcher_program_and_oracle_agree(
    packet: Packet, filters: list[CaptureFilter], vlan: int
) -> None:
    # scapy gives data without a layer the protocol 0: hop-by-hop options, which it is not.
    built = packet.__class__(bytes(packet))
    assert fits(packet, *filters, vlan=vlan) == any(oracle(built, one) for one in filters)


@given(st.binary(max_size=120), st.lists(capture_filters(), min_size=1, max_size=3))
def test_any_bytes_are_matched_alike(data: bytes, filters: list[CaptureFilter]) -> None:
    start, kind = network_start(data)
    found = compile_matcher(filters)(data, start)
    program = compile_bpf(filters, Link.ETHERNET, 96)
    wanted = run(program.instructions, data, protocol=kind)
    if found and kind == {4: 0x0800, 6: 0x86DD}[data[start] >> 4]:
        assert wanted
    if program.exact and wanted:
        assert found
