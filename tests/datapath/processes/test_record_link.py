"""Records cross between processes: whole, counted, and never waited for."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import TraceReport
from trireme_datapath.processes._record_link import (
    BatchError,
    RecordReceiver,
    RecordSender,
    open_record_link,
    read_batch,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from trireme_collector import Record

Ends = tuple["socket.socket", "socket.socket"]


@pytest.fixture
def ends() -> Iterator[Ends]:
    writer, reader = open_record_link(262_144)
    with writer, reader:
        yield writer, reader


def lines(*texts: str) -> list[Record]:
    return [TraceReport(lines=(text,)) for text in texts]


def take_all(receiver: RecordReceiver) -> list[Record]:
    taken: list[Record] = []
    while (batch := receiver.take()) is not None:
        taken += batch
    return taken


def test_what_is_put_in_comes_out_in_order(ends: Ends) -> None:
    sender, receiver = RecordSender(ends[0], lambda: None), RecordReceiver(ends[1])
    sender.put(lines("a", "b"))
    sender.put(lines("c"))
    assert take_all(receiver) == lines("a", "b", "c")
    assert (sender.made, sender.sent, sender.unsent) == (3, 3, 0)
    assert (receiver.taken, receiver.lost, receiver.malformed) == (3, 0, 0)


def test_the_bytes_on_the_way(ends: Ends) -> None:
    sender = RecordSender(ends[0], lambda: None, made=9, sent=7, unsent=2)
    sender.put(lines("a"))
    body = b"\x82\xa4type\xa5trace\xa5lines\x91\xa1a"
    assert ends[1].recv(100) == struct.pack(">QI", 7, len(body)) + body


def test_it_never_waits_and_counts_what_does_not_fit(ends: Ends) -> None:
    sender, receiver = RecordSender(ends[0], lambda: None), RecordReceiver(ends[1])
    for number in range(5_000):
        sender.put(lines(f"{number:0500}", "second"))
    assert sender.made == 10_000 == sender.sent + sender.unsent
    assert sender.unsent > 0
    taken = take_all(receiver)
    assert len(taken) == sender.sent == receiver.taken
    sender.put(lines("there is room again"))
    assert take_all(receiver) == lines("there is room again")
    assert receiver.lost == 0


def test_counts_are_noted_before_a_batch_leaves(ends: Ends) -> None:
    noted: list[int] = []

    def note() -> None:
        noted.append(sender.sent)
        with pytest.raises(BlockingIOError):
            ends[1].recv(1)

    sender = RecordSender(ends[0], note)
    sender.put(lines("a", "b"))
    assert noted == [2]


def test_batches_stay_small_and_a_large_record_travels_alone(ends: Ends) -> None:
    sender, receiver = RecordSender(ends[0], lambda: None), RecordReceiver(ends[1])
    sender.put(lines("x" * 40_000, "y" * 40_000, "z"))
    first, second = receiver.take(), receiver.take()
    assert first == lines("x" * 40_000)
    assert second == lines("y" * 40_000, "z")
    sender.put(lines("w" * 2_000_000))
    assert sender.unsent == 1
    assert receiver.take() is None


def test_whoever_takes_over_begins_with_a_whole_batch_and_counts_the_dead(ends: Ends) -> None:
    sender, first = RecordSender(ends[0], lambda: None), RecordReceiver(ends[1])
    sender.put(lines("a", "b"))
    sender.put(lines("c", "d", "e"))
    sender.put(lines("f"))
    assert first.take() == lines("a", "b")
    taken = first.taken
    first.take()  # and it dies before it has noted that
    second = RecordReceiver(ends[1], taken=taken)
    assert second.take() == lines("f")
    assert (second.taken, second.lost) == (6, 3)


def test_a_lone_surrogate_does_not_stop_the_others(ends: Ends) -> None:
    sender, receiver = RecordSender(ends[0], lambda: None), RecordReceiver(ends[1])
    sender.put(lines("a\ud800", "b"))
    assert take_all(receiver) == lines("a\ufffd", "b")


def test_a_message_that_is_no_batch_is_counted_and_passed_over(ends: Ends) -> None:
    receiver = RecordReceiver(ends[1])
    ends[0].send(b"\xffnonsense")
    RecordSender(ends[0], lambda: None).put(lines("a"))
    assert receiver.take() == []
    assert receiver.take() == lines("a")
    assert receiver.malformed == 1


def test_a_gone_reader_is_an_error(ends: Ends) -> None:
    ends[1].close()
    with pytest.raises(OSError, match="pipe"):
        RecordSender(ends[0], lambda: None).put(lines("a"))


@given(st.lists(st.text(max_size=60), min_size=1, max_size=20), st.integers(0, 2**64 - 1))
def test_any_batch_is_read_as_it_was_written(texts: list[str], first: int) -> None:
    writer, reader = open_record_link(262_144)
    with writer, reader:
        sender = RecordSender(writer, lambda: None, sent=min(first, 2**64 - 1 - len(texts)))
        sender.put(lines(*texts))
        number, records = read_batch(reader.recv(65_536))
    assert number == min(first, 2**64 - 1 - len(texts))
    assert records == lines(*texts)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_one_error(data: bytes) -> None:
    with contextlib.suppress(BatchError):
        read_batch(data)
    with contextlib.suppress(BatchError):
        read_batch(struct.pack(">QI", 0, len(data)) + data)


@pytest.mark.parametrize("cut", range(1, 26))
def test_a_batch_that_is_cut_is_refused(ends: Ends, cut: int) -> None:
    RecordSender(ends[0], lambda: None).put(lines("a"))
    whole = ends[1].recv(100)
    if len(whole) - cut == 8:
        assert read_batch(whole[:-cut]) == (0, [])
    else:
        with pytest.raises(BatchError):
            read_batch(whole[:-cut])
