"""Capture files: golden bytes, and what our reader and scapy make of them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader, RawPcapReader

from trireme_datapath.backends.pcap import CaptureReader
from trireme_datapath.recorder import CaptureFormat
from trireme_datapath.recorder.capture_formats import (
    CaptureInterface,
    CaptureStatistics,
    Frame,
    LinkType,
    encoder_of,
)

ETHERNET = CaptureInterface("eth0")
# An Ethernet frame whose datagram our reader accepts.
HEAD = bytes.fromhex("020000000002020000000001 0800".replace(" ", ""))
IPV4 = bytes.fromhex("4500001c00010000401100000a0000010a0000020035003500080000")
TIME_NS = 1_700_000_000_123_456_789


def frame(data: bytes, original: int = 0, time_ns: int = TIME_NS) -> Frame:
    return (*divmod(time_ns, 1_000_000_000), len(data), original or len(data), data)


def whole(
    capture_format: CaptureFormat, *frames: Frame, comments: list[str] | None = None
) -> bytes:
    encoder = encoder_of(capture_format, [ETHERNET])
    end = encoder.end(CaptureStatistics(len(frames) + 2, 2), TIME_NS)
    return encoder.begin() + encoder.encode(frames, 0, comments) + end


def test_an_empty_pcap_file_is_that_of_cilium() -> None:
    assert whole(CaptureFormat.PCAP).hex() == ("d4c3b2a1020004000000000000000000ffff000001000000")
    limited = encoder_of(CaptureFormat.PCAP, [ETHERNET], max_bytes=96)
    assert limited.begin()[16:20] == b"\x60\0\0\0"


def test_a_record_in_microseconds() -> None:
    data = whole(CaptureFormat.PCAP, frame(b"abcd", 1500))
    assert data[24:].hex() == "00f1536540e2010004000000dc05000061626364"


def test_a_record_in_nanoseconds() -> None:
    data = whole(CaptureFormat.PCAP_NANOSECONDS, frame(b"abcd", 1500))
    assert data[:4].hex() == "4d3cb2a1"
    assert data[24:].hex() == "00f1536515cd5b0704000000dc05000061626364"


def test_a_block_with_a_comment() -> None:
    encoder = encoder_of(CaptureFormat.PCAPNG, [ETHERNET])
    block = encoder.encode([frame(b"abcde", 9)], 0, ["verdict=drop"])
    assert len(block) % 4 == 0
    assert block[:8].hex() == "06000000" + len(block).to_bytes(4, "little").hex()
    assert b"\x01\0\x0c\0verdict=drop\0\0\0\0" in block
    assert block[-4:] == block[4:8]


@pytest.mark.parametrize("capture_format", list(CaptureFormat))
def test_our_reader_gets_back_what_was_written(capture_format: CaptureFormat) -> None:
    frames = [frame(HEAD + IPV4, 1514), frame(HEAD + IPV4[:20], 60, TIME_NS + 1_000_000)]
    with CaptureReader(io.BytesIO(whole(capture_format, *frames))) as reader:
        packets = list(reader)
    unit = 1000 if capture_format is CaptureFormat.PCAP else 1
    assert [one.data for one in packets] == [IPV4, IPV4[:20]]
    assert [one.original_length for one in packets] == [1500, 46]
    assert [one.time_ns for one in packets] == [
        time_ns // unit * unit for time_ns in (TIME_NS, TIME_NS + 1_000_000)
    ]
    if capture_format is CaptureFormat.PCAPNG:
        assert packets[0].interface == "eth0"


captured = st.lists(
    st.tuples(
        st.integers(0, 2**32 - 1),
        st.integers(0, 999_999_999),
        st.binary(max_size=70),
        st.integers(0, 70_000),
    ),
    max_size=8,
)


@given(captured)
def test_scapy_reads_pcap(rows: list[tuple[int, int, bytes, int]]) -> None:
    frames = [(s, ns, len(data), len(data) + more, data) for s, ns, data, more in rows]
    found = list(RawPcapReader(io.BytesIO(whole(CaptureFormat.PCAP, *frames))))
    assert [(data, m.sec, m.usec, m.wirelen) for data, m in found] == [
        (data, s, ns // 1000, original) for s, ns, _, original, data in frames
    ]


@given(captured, st.text(max_size=20))
def test_scapy_reads_pcapng(rows: list[tuple[int, int, bytes, int]], comment: str) -> None:
    frames = [(s, ns, len(data), len(data) + more, data) for s, ns, data, more in rows]
    file = whole(CaptureFormat.PCAPNG, *frames, comments=[comment] * len(frames))
    found = list(RawPcapNgReader(io.BytesIO(file)))
    assert [(data, m.wirelen) for data, m in found] == [
        (data, original) for _, _, _, original, data in frames
    ]
    times = [(m.tshigh << 32 | m.tslow) for _, m in found]
    assert times == [s * 1_000_000_000 + ns for s, ns, *_ in frames]


def test_surrogates_and_long_comments_are_no_harm() -> None:
    encoder = encoder_of(CaptureFormat.PCAPNG, [CaptureInterface("\udcff", LinkType.RAW)])
    block = encoder.encode([frame(b"")], 0, ["ä" * 100_000])
    assert len(block) < 70_000
    assert block[-4:] == block[4:8]
    assert encoder.suffix == ".pcapng"
