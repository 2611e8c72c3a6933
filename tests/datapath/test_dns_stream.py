"""DNS messages out of TCP segments."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.dns_stream import MAX_STREAM_MESSAGE_BYTES, DNSStream


def framed(*bodies: bytes) -> bytes:
    return b"".join(len(one).to_bytes(2, "big") + one for one in bodies)


def test_two_messages_in_one_segment() -> None:
    stream = DNSStream(100)
    assert stream.feed(100, framed(b"one", b"two")) == [(b"one", False), (b"two", False)]


def test_a_segment_again_and_one_that_overlaps() -> None:
    stream, wire = DNSStream(100), framed(b"first", b"second")
    assert stream.feed(100, wire[:9]) == [(b"first", False)]
    assert stream.feed(100, wire[:9]) == []
    assert stream.feed(103, wire[3:]) == [(b"second", False)]


def test_nothing_is_read_behind_a_gap() -> None:
    stream, wire = DNSStream(100), framed(b"first")
    assert stream.feed(101, wire[1:]) == []
    assert stream.feed(100, wire) == []


def test_a_segment_that_the_capture_cut_is_the_last() -> None:
    stream, wire = DNSStream(0), framed(b"a long message")
    assert stream.feed(0, wire[:6], cut=True) == [(b"a lo", True)]
    assert stream.feed(6, wire[6:]) == []


def test_a_long_message_is_given_in_part_and_the_next_is_found() -> None:
    stream = DNSStream(0)
    wire = framed(b"x" * 60_000, b"next")
    found = [
        message
        for place in range(0, len(wire), 1_400)
        for message in stream.feed(place, wire[place : place + 1_400])
    ]
    assert found == [(b"x" * MAX_STREAM_MESSAGE_BYTES, True), (b"next", False)]


@given(
    st.lists(st.binary(max_size=50), max_size=5),
    st.lists(st.integers(0, 300), max_size=8),
    st.integers(0, 0xFFFFFFFF),
)
def test_messages_come_out_whole_however_they_were_cut(
    bodies: list[bytes], cuts: list[int], first: int
) -> None:
    wire = framed(*bodies)
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    stream = DNSStream(first)
    found = []
    for start, end in itertools.pairwise(places):
        found += stream.feed((first + start) & 0xFFFFFFFF, wire[start:end])
    assert found == [(body, False) for body in bodies if body]
