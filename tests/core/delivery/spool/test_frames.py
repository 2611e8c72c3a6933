"""Frames are what the reference says, and nothing else is taken for one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh64_intdigest

from trireme_collector.delivery.spool._frames import (
    HEAD_BYTES,
    NextFrame,
    count_torn,
    encode_frames,
    find_frame,
    read_frames,
)
from trireme_collector.delivery.spool._portions import split_payloads
from trireme_collector.delivery.spool._segment import Segment, encode_header, segment_key

SEED = 0x1234_5678_9ABC_DE
PAYLOADS = st.lists(st.binary(max_size=60), max_size=12)


def read(data: bytes, expected: int = 0) -> tuple[list[int], list[bytes], int, str]:
    sequences: list[int] = []
    payloads: list[bytes] = []
    offset, taken, stop = read_frames(
        data, 0, SEED, expected, 1000, 1 << 20, is_first=True, into=(sequences, payloads)
    )
    assert taken == sum(map(len, payloads))
    return sequences, payloads, offset, stop


def test_the_bytes_of_a_frame() -> None:
    check = xxh64_intdigest(b"record", SEED + 258).to_bytes(8, "little")
    golden = b"\xc1TRF" + b"\x06\0\0\0" + b"\x02\x01" + bytes(6) + check + b"record"
    assert encode_frames([b"record"], 258, SEED) == golden


def test_the_bytes_of_a_head() -> None:
    head = encode_header(Segment(258, 3, SEED), 5)
    assert head[:56] == (
        b"TRMSPOOL\x01\0\x40\0"
        + bytes(4)
        + (258).to_bytes(8, "little")
        + SEED.to_bytes(8, "little")
        + (5).to_bytes(8, "little")
        + bytes(16)
    )
    assert head[56:] == xxh64_intdigest(head[:56]).to_bytes(8, "little")


def test_the_name_of_a_segment() -> None:
    assert Segment(258, 3, SEED).name == "0000000000000102-00000003.segment"
    assert segment_key("0000000000000102-00000003.segment") == (258, 3)
    assert segment_key("0000000000000102-00000003.segment.new") is None
    assert segment_key("102-3.segment") is None


@given(PAYLOADS, st.integers(1, (1 << 64) - 20))
def test_what_was_framed_is_read(payloads: list[bytes], first: int) -> None:
    data = encode_frames(payloads, first, SEED)
    sequences, found, offset, stop = read(data)
    assert found == payloads
    assert sequences == list(range(first, first + len(payloads)))
    assert (offset, stop) == (len(data), NextFrame.MORE)
    assert count_torn(data, first) == len(payloads)


@given(PAYLOADS.filter(bool), st.data())
def test_no_changed_bit_is_read(payloads: list[bytes], data: st.DataObject) -> None:
    framed = bytearray(encode_frames(payloads, 1, SEED))
    bit = data.draw(st.integers(0, len(framed) * 8 - 1))
    framed[bit // 8] ^= 1 << bit % 8
    sequences, found, offset, _ = read(bytes(framed))
    assert found == payloads[: len(found)]
    assert len(found) < len(payloads)
    following = find_frame(bytes(framed), offset + 1, SEED)
    assert (following is None) is (len(found) == len(payloads) - 1)
    assert sequences == list(range(1, len(found) + 1))


@given(PAYLOADS.filter(bool), st.integers(0, 2000))
def test_no_torn_frame_is_read(payloads: list[bytes], cut: int) -> None:
    framed = encode_frames(payloads, 1, SEED)
    torn = framed[: cut % len(framed)]
    _, found, offset, stop = read(torn)
    assert stop == NextFrame.MORE
    assert found == payloads[: len(found)]
    assert count_torn(torn[offset:], len(found) + 1) == 0


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_can_be_read(data: bytes, start: int) -> None:
    sequences, _, offset, stop = read(data)
    assert not sequences
    assert offset == 0
    assert stop in {NextFrame.MORE, NextFrame.BAD}
    assert find_frame(data, start, SEED) is None
    assert count_torn(data, 1) in {0, 1}


def test_passed_frames_are_passed_over() -> None:
    data = encode_frames([b"a", b"b", b"c"], 5, SEED)
    assert read(data, 6)[:2] == ([6, 7], [b"b", b"c"])


@given(st.lists(st.binary(max_size=200), max_size=30), st.integers(100, 400))
def test_portions_fit_and_keep_the_order(payloads: list[bytes], size: int) -> None:
    portions, left_out = split_payloads(payloads, size)
    longest = size - 64 - HEAD_BYTES
    assert [p for portion in portions for p in portion] == [
        p for p in payloads if len(p) <= longest
    ]
    assert left_out == sum(len(p) > longest for p in payloads)
    assert all(sum(len(p) + HEAD_BYTES for p in portion) <= size - 64 for portion in portions)
    assert all(portions)
