"""Any bytes give a result: cut packets, changed packets, and noise."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.monitor.dissection.packets import ethernet, hop_by_hop, ipv4, ipv6
from tests.monitor.dissection.vectors import all_packets
from trireme_datapath.monitor.dissection import (
    connection_summary,
    crashes_upstream,
    dissect,
    get_connection_info,
    get_dissect_summary,
)
from trireme_datapath.monitor.dissection._connection import general_summary
from trireme_datapath.monitor.dissection._quick_summary import quick_summary

PROFILES = ("1.16", "1.9")
PACKETS = all_packets()
LARGEST_BYTES = 2048
LONGEST_SECONDS = 0.001


def check(packet: bytes) -> None:
    """Check what must hold for any packet."""
    for profile in PROFILES:
        is_1_9 = profile == "1.9"
        summary = connection_summary(packet, profile=profile)
        assert summary == general_summary(packet, is_1_9=is_1_9)
        assert quick_summary(packet, is_1_9=is_1_9) in {"", summary}
        text = dissect(packet, verbose=True, profile=profile)
        assert text == "" or text.endswith("\n")
        form = msgspec.json.decode(
            msgspec.json.encode(get_dissect_summary(packet, profile=profile))
        )
        shown = {line for line in text.splitlines() if "\t" in line}
        said = {value for value in form.values() if isinstance(value, str)}
        assert shown <= said if crashes_upstream(packet, profile=profile) else shown == said
        info = get_connection_info(packet, profile=profile)
        assert ("l3" in form) == (info.src_ip is not None) == (info.dst_ip is not None)
        assert ("l4" in form) == (info.proto in {"tcp", "udp", "sctp"})
        assert bool(info.icmp_code) == (info.proto == "icmp")


def test_every_cut_of_every_packet() -> None:
    for packet in PACKETS:
        for size in range(0, len(packet), 7):
            connection_summary(packet[:size])
            dissect(packet[:size], verbose=True, profile=PROFILES[size % 2])
        check(packet)
        check(packet[:-1])


@given(st.sampled_from(PACKETS), st.data())
def test_changed_packets(packet: bytes, data: st.DataObject) -> None:
    changed = bytearray(packet)
    for _ in range(data.draw(st.integers(1, 4))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(changed[: data.draw(st.integers(0, len(changed)))]))


@given(st.binary(max_size=200), st.sampled_from([0x0800, 0x86DD, 0x6558, 3]))
def test_noise(noise: bytes, ethernet_type: int) -> None:
    check(noise)
    check(ethernet(noise, ethernet_type))


def nested_ipv4() -> bytes:
    packet = b""
    while len(packet) < LARGEST_BYTES - 74:
        packet = ipv4(packet, 4, options=b"\1" * 40)
    return ethernet(packet)


def nested_ipv6() -> bytes:
    packet = b""
    while len(packet) < LARGEST_BYTES - 54:
        packet = ipv6(packet, 41)
    return ethernet(packet, 0x86DD)


@pytest.mark.parametrize(
    "packet",
    [
        (bytes(12) + b"\x65\x58") * 146,
        nested_ipv4(),
        nested_ipv6(),
        ethernet(ipv6(hop_by_hop(bytes(1974)) + b"end", 0), 0x86DD),
        ethernet(ipv6(hop_by_hop(b"\1\0" * 987), 0), 0x86DD),
    ],
    ids=["ethernet", "ipv4", "ipv6", "pads", "options"],
)
def test_no_packet_is_expensive(packet: bytes) -> None:
    packet = packet[:LARGEST_BYTES]
    for work in (
        lambda: dissect(packet, verbose=True),
        lambda: dissect(packet, verbose=False),
        lambda: connection_summary(packet),
        lambda: get_dissect_summary(packet),
    ):
        best = min(_seconds(work) for _ in range(20))
        assert best < LONGEST_SECONDS


def _seconds(work: object) -> float:
    assert callable(work)
    begin = time.process_time()
    work()
    return time.process_time() - begin
