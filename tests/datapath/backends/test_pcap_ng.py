"""pcapng: golden bytes in both byte orders, sections, interfaces, options, and every damage."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.utils import PcapNgWriter

from trireme_datapath.backends import _pcap_ng
from trireme_datapath.backends.pcap import (
    MAX_BLOCK_BYTES,
    MAX_FRAME_BYTES,
    CaptureDirection,
    CapturedPacket,
    CaptureError,
    CaptureReader,
    TruncatedCaptureError,
)

if TYPE_CHECKING:
    from pathlib import Path

RAW = 101
DATAGRAM = bytes.fromhex("4500001d000100004011 0000c0000201c0000202138800350009000041")

# Section header; interface 0 (raw, "eth0", nanoseconds); one enhanced packet that came in.
GOLDEN = {
    "little": (
        "0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000"
        "01000000 28000000 6500 0000 00000000"
        " 0200 0400 65746830 0900 0100 09000000 0000 0000 28000000"
        "06000000 4c000000 00000000 9b4bb601 0057bc50 1d000000 1e000000"
    ),
    "big": (
        "0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c"
        "00000001 00000028 0065 0000 00000000"
        " 0002 0004 65746830 0009 0001 09000000 0000 0000 00000028"
        "00000006 0000004c 00000000 01b64b9b 50bc5700 0000001d 0000001e"
    ),
}
GOLDEN_TAIL = {
    "little": "0200 0400 01000000 0000 0000 4c000000",
    "big": "0002 0004 00000001 0000 0000 0000004c",
}


def golden(order: str) -> bytes:
    tail = bytes.fromhex(GOLDEN_TAIL[order])
    return bytes.fromhex(GOLDEN[order]) + DATAGRAM + bytes(3) + tail


def read(data: bytes) -> list[CapturedPacket]:
    with CaptureReader(io.BytesIO(data), name="x.pcapng") as reader:
        return list(reader)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<", *, version: tuple[int, int] = (1, 0), length: int = -1) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, length), order)


def interface(order: str = "<", *, link: int = RAW, snap: int = 0, options: bytes = b"") -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def enhanced(
    order: str = "<",
    *,
    number: int = 0,
    time: int = 5,
    data: bytes = DATAGRAM,
    captured: int | None = None,
    options: bytes = b"",
) -> bytes:
    length = len(data) if captured is None else captured
    head = struct.pack(order + "IIIII", number, time >> 32, time & 0xFFFFFFFF, length, len(data))
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


@pytest.mark.parametrize("order", GOLDEN)
def test_golden(order: str) -> None:
    (packet,) = read(golden(order))
    assert packet.time_ns == 0x01B64B9B_50BC5700
    assert packet.data == DATAGRAM
    assert packet.original_length == 30
    assert packet.interface == "eth0"
    assert packet.direction is CaptureDirection.INBOUND
    assert packet.link_type == RAW


@pytest.mark.parametrize("order", GOLDEN)
def test_every_cut_is_reported(order: str) -> None:
    whole = golden(order)
    ends = {28, 68, len(whole)}
    for size in range(4, len(whole)):
        if size in ends:
            assert read(whole[:size]) == []
            continue
        with pytest.raises(TruncatedCaptureError):
            read(whole[:size])


def test_sections_have_their_own_byte_order_and_interfaces() -> None:
    first = section() + interface(options=option(2, b"a")) + enhanced(time=1)
    second = section(">") + interface(">", options=option(2, b"b", ">")) + enhanced(">", time=2)
    assert [(p.interface, p.time_ns, p.number) for p in read(first + second + first)] == [
        ("a", 1000, 1),
        ("b", 2000, 2),
        ("a", 1000, 3),
    ]


def test_an_interface_does_not_outlive_its_section() -> None:
    with pytest.raises(CaptureError, match="interface 0, which was not described"):
        read(section() + interface() + section() + enhanced())


def test_unknown_blocks_are_passed_over() -> None:
    other = block(0x0BAD, bytes(200)) + block(5, bytes(12)) + block(4, b"")
    assert len(read(section() + other + interface() + other + enhanced() + other)) == 1


@pytest.mark.parametrize(
    ("resolution", "units", "expected"),
    [
        (b"\x00", 7, 7_000_000_000),
        (b"\x03", 7, 7_000_000),
        (b"\x06", 7, 7_000),
        (b"\x09", 7, 7),
        (b"\x0c", 7_000, 7),
        (b"\x81", 3, 1_500_000_000),
        (b"\x8a", 1024, 1_000_000_000),
        (b"\xff", 2**64 - 1, 0),
        (b"\x7f", 2**64 - 1, 0),
    ],
)
def test_time_resolution(resolution: bytes, units: int, expected: int) -> None:
    options = option(9, resolution)
    (packet,) = read(section() + interface(options=options) + enhanced(time=units))
    assert packet.time_ns == expected


@pytest.mark.parametrize("offset", [0, 1, 1_700_000_000])
def test_time_offset(offset: int) -> None:
    options = option(14, struct.pack("<q", offset))
    (packet,) = read(section() + interface(options=options) + enhanced(time=5))
    assert packet.time_ns == offset * 10**9 + 5000


@pytest.mark.parametrize(
    "options",
    [option(14, struct.pack("<q", -1)), option(14, struct.pack("<q", 2**62)), option(9, b"\0")],
)
def test_a_time_that_no_record_can_hold(options: bytes) -> None:
    with pytest.raises(CaptureError, match="a time before 1970 or after 2262"):
        read(
            section() + interface(options=options) + enhanced(time=5 if options[0] != 9 else 2**63)
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (option(9, b"\x06\x06"), "a time resolution of 2 bytes"),
        (option(14, bytes(4)), "a time offset of 4 bytes"),
        (struct.pack("<HH", 2, 500) + b"eth0", "option 2 of 500 bytes runs past its block"),
    ],
)
def test_damaged_options(options: bytes, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        read(section() + interface(options=options))


def test_options_end_at_their_end_mark() -> None:
    options = option(2, b"eth0") + option(0, b"") + struct.pack("<HH", 9, 500)
    (packet,) = read(section() + interface(options=options) + enhanced())
    assert packet.interface == "eth0"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"eth0\0", "eth0"),
        (b"\x1b[31mred", "\ufffd[31mred"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"n" * 4000, "n" * 255),
        ("größe".encode(), "größe"),
    ],
)
def test_interface_names_are_safe_to_print(name: bytes, expected: str) -> None:
    (packet,) = read(section() + interface(options=option(2, name)) + enhanced())
    assert packet.interface == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, CaptureDirection.UNKNOWN),
        (1, CaptureDirection.INBOUND),
        (2, CaptureDirection.OUTBOUND),
        (3, CaptureDirection.UNKNOWN),
        (0xFFFF_FFFE, CaptureDirection.OUTBOUND),
    ],
)
def test_packet_flags_tell_the_direction(flags: int, expected: CaptureDirection) -> None:
    options = option(2, struct.pack("<I", flags))
    (packet,) = read(section() + interface() + enhanced(options=options))
    assert packet.direction is expected


def test_simple_packets_have_no_time_and_are_cut_by_the_interface() -> None:
    simple = block(3, struct.pack("<I", len(DATAGRAM)) + DATAGRAM)
    (packet,) = read(section() + interface() + simple)
    assert (packet.time_ns, packet.data, packet.original_length) == (None, DATAGRAM, 29)
    cut = block(3, struct.pack("<I", len(DATAGRAM)) + DATAGRAM[:20])
    (packet,) = read(section() + interface(snap=20) + cut)
    assert (packet.data, packet.original_length) == (DATAGRAM[:20], 29)


def test_old_packets() -> None:
    head = struct.pack("<HHIIII", 0, 9, 0, 5, len(DATAGRAM), len(DATAGRAM))
    (packet,) = read(section() + interface() + block(2, head + DATAGRAM))
    assert (packet.time_ns, packet.data) == (5000, DATAGRAM)


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (struct.pack("<II", 6, 0), "a block length of 0, it needs 12"),
        (struct.pack("<II", 6, 8), "a block length of 8, it needs 12"),
        (struct.pack("<II", 6, 33), "a block length of 33, which is no multiple of 4"),
        (struct.pack("<II", 6, 0xFFFF_FFFC), "a block length of 4294967292, at most 16777216"),
        (struct.pack("<II", 99, MAX_BLOCK_BYTES + 4), "a block length of 16777220"),
        (block(6, bytes(16)), "a packet block of 16 bytes, it needs 20"),
        (block(2, bytes(16)), "a packet block of 16 bytes, it needs 20"),
        (block(3, b""), "a simple packet block of 0 bytes, it needs 4"),
        (block(1, bytes(4)), "an interface description of 4 bytes, it needs 8"),
        (enhanced(number=1), "a packet of interface 1, which was not described"),
        (enhanced(captured=4000), "a packet of 4000 captured bytes runs past its block"),
        (enhanced(captured=MAX_FRAME_BYTES + 1), "a packet of 262145 captured bytes, at most"),
        (block(3, struct.pack("<I", 4000) + DATAGRAM), "runs past its block"),
        (enhanced()[:-4] + bytes(4), "whose length is 64 at its begin and 0 at its end"),
        (section(version=(2, 0)), r"pcapng version 2\.0"),
        (section()[:8] + bytes(20), "a section header with the byte-order mark 00000000"),
        (
            struct.pack("<III", 0x0A0D0D0A, 24, 0x1A2B3C4D) + bytes(12),
            "a block length of 24, it needs 28",
        ),
    ],
)
def test_damage_is_one_error_with_its_place(damaged: bytes, message: str) -> None:
    before = section() + interface() + enhanced()
    with CaptureReader(io.BytesIO(before + damaged + bytes(40)), name="x.pcapng") as reader:
        packets = iter(reader)
        next(packets)
        with pytest.raises(CaptureError, match=message) as caught:
            next(packets)
    assert caught.value.offset == len(before)
    assert str(caught.value).startswith(f"x.pcapng: at byte {len(before)}: ")


def test_interfaces_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pcap_ng, "MAX_INTERFACES", 3)
    assert len(read(section() + interface() * 3 + enhanced())) == 1
    with pytest.raises(CaptureError, match="more than 3 interfaces in one section"):
        read(section() + interface() * 4)


def test_an_unsupported_link_type_matters_when_a_packet_has_it() -> None:
    mixed = section() + interface() + interface(link=189) + enhanced()
    assert len(read(mixed)) == 1
    with pytest.raises(CaptureError, match=r"link type 189 \(Linux USB\) is not supported"):
        read(mixed + enhanced(number=1))


@pytest.mark.parametrize("version", [(1, 0), (1, 2)])
def test_known_versions(version: tuple[int, int]) -> None:
    assert len(read(section(version=version, length=77) + interface() + enhanced())) == 1


@given(
    payloads=st.lists(st.binary(max_size=100), min_size=1, max_size=6),
    start=st.integers(0, 2**31),
)
def test_scapy_writes_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], start: int
) -> None:
    path: Path = tmp_path_factory.mktemp("scapy") / "x.pcapng"
    packets = [IP(src="192.0.2.1", dst="192.0.2.2", proto=253) / p for p in payloads]
    with PcapNgWriter(str(path)) as writer:
        for number, packet in enumerate(packets):
            packet.time = start + number
            writer.write(packet)
    with CaptureReader(path) as reader:
        found = [(p.time_ns, p.data) for p in reader]
    assert found == [
        ((start + number) * 10**9, bytes(packet)) for number, packet in enumerate(packets)
    ]
