"""Link headers: where the datagram begins, and why a frame has none."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback

from trireme_datapath.backends._pcap_links import LINK_READERS
from trireme_datapath.backends.pcap import (
    MAX_VLAN_TAGS,
    CaptureDirection,
    CapturedPacket,
    CaptureReader,
    LinkHeader,
    SkipReason,
)

V4 = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=1, dport=2)
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=1, dport=2)
FOUR = bytes(V4)
SIX = bytes(V6)
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
MACS = bytes(12)


def capture(link_type: int, *frames: bytes) -> CaptureReader:
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type)
    for frame in frames:
        data += struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    return CaptureReader(io.BytesIO(data))


def one(link_type: int, frame: bytes) -> CapturedPacket:
    (packet,) = capture(link_type, frame)
    return packet


def why(link_type: int, frame: bytes) -> SkipReason:
    reader = capture(link_type, frame)
    assert list(reader) == []
    ((reason, count),) = reader.skipped.items()
    assert count == 1
    return reason


@pytest.mark.parametrize("layers", [V4, V6])
@pytest.mark.parametrize(
    ("link_type", "header"),
    [
        (1, ETHER),
        (1, ETHER / Dot1Q(vlan=7)),
        (1, ETHER / Dot1AD(vlan=8) / Dot1Q(vlan=7)),
        (113, CookedLinux()),
        (113, CookedLinux() / Dot1Q(vlan=7)),
        (276, CookedLinuxV2()),
        (0, Loopback()),
        (108, Loopback()),
        (12, None),
        (14, None),
        (101, None),
    ],
)
def test_scapy_frames(link_type: int, header: object, layers: object) -> None:
    frame = bytes(header / layers) if header is not None else bytes(layers)  # type: ignore[operator,call-overload]  # scapy has no annotations
    packet = one(link_type, frame)
    assert packet.data == bytes(layers)  # type: ignore[call-overload]  # as above
    assert packet.link.size_bytes == len(frame) - len(packet.data)
    assert packet.original_length == len(packet.data)


def test_raw_of_one_version() -> None:
    assert one(228, FOUR).data == FOUR
    assert one(229, SIX).data == SIX
    assert why(228, SIX) is SkipReason.IP_VERSION
    assert why(229, FOUR) is SkipReason.IP_VERSION


@pytest.mark.parametrize(
    ("family", "data"), [(2, FOUR), (10, SIX), (24, SIX), (28, SIX), (30, SIX)]
)
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("link_type", [0, 108])
def test_family_words(link_type: int, order: str, family: int, data: bytes) -> None:
    word = struct.pack("<I" if order == "little" else ">I", family)
    assert one(link_type, word + data).data == data


def test_other_families_are_skipped() -> None:
    assert why(0, struct.pack("<I", 7) + FOUR) is SkipReason.NOT_IP
    assert why(0, struct.pack("<I", 0x0200_0002) + FOUR) is SkipReason.NOT_IP


def test_vlan_identifiers_are_kept_outermost_first() -> None:
    frame = bytes(ETHER / Dot1AD(vlan=100, prio=7) / Dot1Q(vlan=200) / V4)
    assert one(1, frame).link == LinkHeader(22, 0x0800, (100, 200))


def test_vlan_tags_are_limited() -> None:
    def tagged(count: int) -> bytes:
        return MACS + b"\x81\x00\x00\x01" * count + b"\x08\x00" + FOUR

    assert one(1, tagged(MAX_VLAN_TAGS)).link.vlan_ids == (1,) * MAX_VLAN_TAGS
    assert why(1, tagged(MAX_VLAN_TAGS + 1)) is SkipReason.VLAN_TAGS


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (bytes(ETHER / ARP()), SkipReason.ARP),
        (MACS + b"\x81\x00\x00\x01\x08\x06" + bytes(28), SkipReason.ARP),
        (MACS + b"\x88\xcc" + bytes(40), SkipReason.LLDP),
        (MACS + b"\x00\x26" + b"\x42\x42\x03" + bytes(35), SkipReason.LLC),
        (MACS + b"\x88\x64" + bytes(40), SkipReason.NOT_IP),
        (MACS + b"\x08\x00" + SIX, SkipReason.IP_VERSION),
        (MACS + b"\x86\xdd" + FOUR, SkipReason.IP_VERSION),
        (MACS + b"\x81\x00\x00", SkipReason.SHORT_LINK_HEADER),
    ],
)
def test_ethernet_frames_without_a_packet(frame: bytes, reason: SkipReason) -> None:
    assert why(1, frame) is reason


@pytest.mark.parametrize(("link_type", "size"), [(0, 4), (1, 14), (108, 4), (113, 16), (276, 20)])
def test_every_cut_of_a_link_header(link_type: int, size: int) -> None:
    for length in range(size):
        assert why(link_type, bytes(length)) is SkipReason.SHORT_LINK_HEADER


def test_a_frame_cut_behind_its_link_header_is_a_packet_without_bytes() -> None:
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 14, 1)
    data += struct.pack("<IIII", 0, 0, 14, 42) + MACS + b"\x08\x00"
    (packet,) = CaptureReader(io.BytesIO(data))
    assert (packet.data, packet.original_length) == (b"", 28)


def test_padding_stays_behind_the_datagram() -> None:
    packet = one(1, MACS + b"\x08\x00" + FOUR + bytes(18))
    assert packet.data == FOUR + bytes(18)


@pytest.mark.parametrize(
    ("packet_type", "direction"),
    [
        (0, CaptureDirection.INBOUND),
        (1, CaptureDirection.INBOUND),
        (3, CaptureDirection.INBOUND),
        (4, CaptureDirection.OUTBOUND),
        (6, CaptureDirection.UNKNOWN),
    ],
)
def test_cooked_headers_tell_the_direction(packet_type: int, direction: CaptureDirection) -> None:
    sll = struct.pack(">HHH8sH", packet_type, 1, 6, bytes(8), 0x0800)
    assert one(113, sll + FOUR).direction is direction
    sll2 = struct.pack(">HHIHBB8s", 0x0800, 0, 3, 1, packet_type, 6, bytes(8))
    assert one(276, sll2 + FOUR).direction is direction
    assert one(276, sll2 + FOUR).link.interface_index == 3


def test_cooked_netlink_is_not_ip() -> None:
    sll = struct.pack(">HHH8sH", 4, 824, 0, bytes(8), 0x0800)
    assert why(113, sll + FOUR) is SkipReason.NOT_IP
    sll2 = struct.pack(">HHIHBB8s", 0x0800, 0, 3, 824, 4, 0, bytes(8))
    assert why(276, sll2 + FOUR) is SkipReason.NOT_IP


def test_skipped_frames_keep_their_number() -> None:
    arp = bytes(ETHER / ARP())
    reader = capture(1, arp, MACS + b"\x08\x00" + FOUR, arp, MACS + b"\x08\x00" + FOUR)
    assert [p.number for p in reader] == [2, 4]
    assert reader.frames == 4
    assert reader.skipped == {SkipReason.ARP: 2}


@given(frame=st.binary(max_size=64), link_type=st.sampled_from(sorted(LINK_READERS)))
def test_any_bytes_give_a_header_inside_the_frame_or_a_reason(frame: bytes, link_type: int) -> None:
    link = LINK_READERS[link_type](frame)
    assert isinstance(link, SkipReason) or 0 <= link.size_bytes <= len(frame)
