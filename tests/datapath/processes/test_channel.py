"""Messages between a supervisor and a child: whole, in order, and nobody waits."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.processes._channel import Channel, ChannelError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Say(msgspec.Struct, frozen=True, tag=True):
    text: str


Pair = tuple[Channel[Say], Channel[Say]]


def pair() -> Pair:
    left, right = socket.socketpair()
    return Channel(left, msgspec.msgpack.Decoder(Say)), Channel(right, msgspec.msgpack.Decoder(Say))


@pytest.fixture
def ends() -> Iterator[Pair]:
    left, right = pair()
    yield left, right
    left.close()
    right.close()


def test_what_is_said_is_heard_in_order(ends: Pair) -> None:
    left, right = ends
    assert right.receive() == []
    left.send(Say("a"))
    left.send(Say("b"))
    assert right.receive() == [Say("a"), Say("b")]
    assert not left.is_behind


def test_what_the_socket_does_not_take_is_kept_and_written_later(ends: Pair) -> None:
    left, right = ends
    long = Say("x" * 8_000_000)
    left.send(long)
    left.send(Say("end"))
    assert left.is_behind
    heard: list[Say] = []
    while len(heard) < 2:
        heard += right.receive()
        left.flush()
    assert heard == [long, Say("end")]
    assert not left.is_behind


def test_the_end_of_the_other_is_noted_and_nothing_raises(ends: Pair) -> None:
    left, right = ends
    left.send(Say("last"))
    left.close()
    assert right.receive() == [Say("last")]
    assert right.ended
    right.send(Say("too late"))
    assert not right.is_behind


def test_a_close_while_something_is_kept_is_the_end(ends: Pair) -> None:
    left, right = ends
    left.send(Say("x" * 8_000_000))
    right.close()
    left.flush()
    assert left.ended
    assert not left.is_behind


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", struct.pack(">I", 2) + b"\xff\xff"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    left, right = socket.socketpair()
    channel = Channel(right, msgspec.msgpack.Decoder(Say))
    left.send(data)
    with left, pytest.raises(ChannelError):
        channel.receive()
    channel.close()


def test_another_program_goes_on_in_the_middle_of_a_message() -> None:
    left, right = socket.socketpair()
    whole = struct.pack(">I", len(msgspec.msgpack.encode(Say("a")))) + msgspec.msgpack.encode(
        Say("a")
    )
    before = Channel(right, msgspec.msgpack.Decoder(Say))
    left.send(whole + whole[:5])
    assert before.receive() == [Say("a")]
    after = Channel(right, msgspec.msgpack.Decoder(Say))
    after.resume(before.unfinished)
    left.send(whole[5:])
    assert after.receive() == [Say("a")]
    left.close()
    after.close()


@given(st.lists(st.text(max_size=30), max_size=8), st.integers(1, 7))
def test_messages_may_come_in_any_pieces(texts: list[str], size: int) -> None:
    left, right = socket.socketpair()
    channel = Channel(right, msgspec.msgpack.Decoder(Say))
    bodies = [msgspec.msgpack.encode(Say(text)) for text in texts]
    data = b"".join(struct.pack(">I", len(body)) + body for body in bodies)
    heard: list[Say] = []
    for start in range(0, len(data), size):
        left.send(data[start : start + size])
        heard += channel.receive()
    assert heard == [Say(text) for text in texts]
    left.close()
    channel.close()
