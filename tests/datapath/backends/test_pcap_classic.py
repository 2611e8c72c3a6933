"""Classic pcap: golden bytes in both byte orders, every cut, every damaged length."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import PcapWriter

from trireme_collector.exit_codes import ExitCode
from trireme_datapath.backends.pcap import (
    MAX_FRAME_BYTES,
    CaptureError,
    CaptureReader,
    TruncatedCaptureError,
)

if TYPE_CHECKING:
    from pathlib import Path

RAW = 101

# One UDP datagram of 29 bytes from 192.0.2.1:5000 to 192.0.2.2:53, checksums left zero.
DATAGRAM = bytes.fromhex("4500001d00010000401100 00c0000201c0000202138800350009000041")

GOLDEN = {
    "little, microseconds": (
        "d4c3b2a1 0200 0400 00000000 00000000 ffff0000 6500000015cd5b07 40e20100 1d000000 1d000000"
    ),
    "big, microseconds": (
        "a1b2c3d4 0002 0004 00000000 00000000 0000ffff 00000065075bcd15 0001e240 0000001d 0000001d"
    ),
    "little, nanoseconds": (
        "4d3cb2a1 0200 0400 00000000 00000000 ffff0000 6500000015cd5b07 00ca5b07 1d000000 1d000000"
    ),
    "big, nanoseconds": (
        "a1b23c4d 0002 0004 00000000 00000000 0000ffff 00000065075bcd15 075bca00 0000001d 0000001d"
    ),
}


def golden(name: str) -> bytes:
    return bytes.fromhex(GOLDEN[name]) + DATAGRAM


def read(data: bytes) -> list[tuple[int | None, bytes, int]]:
    with CaptureReader(io.BytesIO(data), name="x.pcap") as reader:
        return [(p.time_ns, p.data, p.original_length) for p in reader]


def head(*, version: tuple[int, int] = (2, 4), link: int = RAW) -> bytes:
    return struct.pack("<IHHiIII", 0xA1B2C3D4, *version, 0, 0, 65535, link)


def record(data: bytes, *, captured: int | None = None, original: int | None = None) -> bytes:
    length = len(data)
    return (
        struct.pack(
            "<IIII",
            1,
            2,
            length if captured is None else captured,
            length if original is None else original,
        )
        + data
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    assert read(golden(name)) == [(123_456_789_123_456_000, DATAGRAM, 29)]


@pytest.mark.parametrize("name", GOLDEN)
def test_every_cut_is_reported_after_what_came_before(name: str) -> None:
    whole = golden(name) + golden(name)[24:]
    second = 24 + 16 + 29
    for size in range(1, len(whole)):
        if size in {24, second}:
            assert len(read(whole[:size])) == (size == second)
            continue
        packets: list[object] = []
        with (
            pytest.raises(CaptureError) as caught,
            CaptureReader(io.BytesIO(whole[:size]), name="x.pcap") as reader,
        ):
            packets.extend(reader)
        assert len(packets) == (size > second)
        assert isinstance(caught.value, TruncatedCaptureError) == (size >= 4)


def test_a_header_without_packets_is_a_capture() -> None:
    assert read(head()) == []


def test_a_cut_frame_keeps_its_original_length() -> None:
    assert read(head() + record(DATAGRAM[:24], original=29)) == [(1_000_002_000, DATAGRAM[:24], 29)]


def test_an_original_length_below_the_captured_one_is_ignored() -> None:
    assert read(head() + record(DATAGRAM, original=3))[0][2] == len(DATAGRAM)


def test_a_frame_longer_than_the_snapshot_length_is_read() -> None:
    data = DATAGRAM + bytes(100_000)
    assert read(head() + record(data))[0][1] == data


def test_the_largest_frame_is_read_and_a_larger_one_refused() -> None:
    assert len(read(head() + record(bytes(MAX_FRAME_BYTES)))[0][1]) == MAX_FRAME_BYTES
    with pytest.raises(CaptureError, match=r"at byte 24: a packet of 262145 captured bytes"):
        read(head() + record(bytes(MAX_FRAME_BYTES + 1)))


def test_a_damaged_length_comes_after_what_was_good() -> None:
    with CaptureReader(io.BytesIO(head() + record(DATAGRAM) + b"\xff" * 64)) as reader:
        packets = iter(reader)
        assert next(packets).data == DATAGRAM
        with pytest.raises(CaptureError, match=r"the file is damaged there") as caught:
            next(packets)
    assert caught.value.offset == 24 + 16 + 29
    assert caught.value.exit_code is ExitCode.INPUT


@pytest.mark.parametrize("version", [(2, 3), (2, 5), (1, 0), (543, 0)])
def test_another_version_is_refused(version: tuple[int, int]) -> None:
    with pytest.raises(CaptureError, match=rf"pcap version {version[0]}\.{version[1]}, only 2\.4"):
        read(head(version=version))


def test_a_link_type_with_frame_check_sequence_is_that_link_type() -> None:
    assert len(read(head(link=RAW | 0x4400_0000) + record(DATAGRAM))) == 1


def test_an_unsupported_link_type_is_named_even_without_packets() -> None:
    with pytest.raises(CaptureError, match=r"link type 127 \(IEEE 802\.11 with radiotap\)"):
        read(head(link=127))
    with pytest.raises(CaptureError, match=r"link type 4711 is not supported"):
        read(head(link=4711))


frames = st.lists(
    st.tuples(
        st.integers(0, 2**32 - 1),
        st.integers(0, 999_999),
        st.binary(min_size=1, max_size=200),
        st.integers(0, 2000),
    ),
    max_size=8,
)


@given(frames=frames, order=st.sampled_from("<>"), nano=st.booleans())
def test_scapy_writes_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    frames: list[tuple[int, int, bytes, int]],
    order: str,
    nano: bool,
) -> None:
    path: Path = tmp_path_factory.mktemp("scapy") / "x.pcap"
    with PcapWriter(str(path), linktype=RAW, endianness=order, nano=nano, sync=True) as writer:
        writer.write_header(None)
        for seconds, fraction, data, more in frames:
            writer.write_packet(
                data,
                sec=seconds,
                usec=fraction,
                caplen=len(data),
                wirelen=len(data) + more,
            )
    unit = 1 if nano else 1000
    with CaptureReader(path) as reader:
        found = [(p.number, p.time_ns, p.data, p.original_length) for p in reader]
    assert found == [
        (number, seconds * 10**9 + fraction * unit, data, len(data) + more)
        for number, (seconds, fraction, data, more) in enumerate(frames, 1)
    ]
