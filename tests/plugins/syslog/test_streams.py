"""A stream takes messages whole and in order, and again what a connection has lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.formats import frame_lf
from trireme_collector_syslog._resend import ResendWindow
from trireme_collector_syslog._senders import PeerClosedError
from trireme_collector_syslog._streams import StreamSender

if TYPE_CHECKING:
    from collections.abc import Iterable


class FakeChannel:
    """Takes as many bytes as it is told, in records as TLS has them, and may end."""

    def __init__(self, room: Iterable[int] = (), *, record: int = 0) -> None:
        self.taken = bytearray()
        self.room = list(room)
        self.record = record
        self.held = 0
        self.ends: OSError | None = None
        self.watched: list[float] = []
        self.reads_all = True

    def write(self, data: memoryview) -> int:
        room = self.room.pop(0) if self.room else len(data)
        if not self.record:
            if not room:
                raise TimeoutError("stalled")
            self.taken += data[:room]
            return min(room, len(data))
        size = self.held or min(self.record, len(data))
        if not room:
            self.held = size
            raise TimeoutError("stalled")
        self.held = 0
        self.taken += data[:size]
        return size

    def watch(self, seconds: float) -> None:
        self.watched.append(seconds)
        if self.ends is not None:
            raise self.ends

    def finish(self, seconds: float) -> bool:
        assert seconds >= 0
        return self.reads_all

    def close(self) -> None:
        pass


def make(
    channel: FakeChannel, window: ResendWindow | None = None, settle_seconds: float = 0
) -> StreamSender:
    return StreamSender(
        channel,
        frame_lf,
        ResendWindow(100_000, 0) if window is None else window,
        settle_seconds=settle_seconds,
        monotonic=lambda: 100.0,
    )


MESSAGES = st.lists(st.binary(min_size=1, max_size=20).map(lambda b: b.replace(b"\n", b"")))


@given(MESSAGES, st.lists(st.integers(0, 30)), st.integers(0, 25))
def test_stalls_neither_tear_nor_double(
    messages: list[bytes], room: list[int], record: int
) -> None:
    channel = FakeChannel(room, record=record)
    sender = make(channel)
    done = 0
    while done < len(messages):
        left, failure = sender.send(messages[done:])
        done += left
        # Whole messages count, and what has gone beyond them has to come again as it was.
        sent = b"".join(frame_lf(message) for message in messages)
        assert sent.startswith(bytes(channel.taken))
        assert len(channel.taken) >= sum(len(m) + 1 for m in messages[:done])
        assert (failure is None) == (done == len(messages))
    assert bytes(channel.taken) == b"".join(frame_lf(message) for message in messages)
    assert sender.begun == 0


def test_a_held_record_names_all_its_messages() -> None:
    channel = FakeChannel([4, 0], record=4)
    sender = make(channel)
    left, failure = sender.send([b"a", b"b", b"c", b"d", b"e"])
    assert (left, type(failure), sender.begun) == (2, TimeoutError, 2)
    left, failure = sender.send([b"c", b"X", b"e"])
    assert (left, type(failure)) == (0, ConnectionAbortedError)


def test_a_new_connection_begins_with_what_the_last_may_have_lost() -> None:
    window = ResendWindow(100_000, 0)
    first = FakeChannel()
    sender = make(first, window)
    assert sender.send([b"1", b"2"]) == (2, None)
    first.ends = ConnectionResetError(104, "gone")
    assert sender.send([b"3"]) == (0, first.ends)
    second = FakeChannel()
    sender = make(second, window)
    assert sender.again == 2
    assert sender.send([b"3"]) == (1, None)
    assert bytes(second.taken) == b"1\n2\n3\n"
    assert sender.again == 0
    assert window.messages(0) == [b"1", b"2", b"3"]


def test_sending_again_may_stall_and_goes_on() -> None:
    window = ResendWindow(100_000, 0)
    window.add([b"1", b"2", b"3"], 0)
    channel = FakeChannel([3, 0])
    sender = make(channel, window)
    left, failure = sender.send([b"4"])
    assert (left, type(failure)) == (0, TimeoutError)
    assert sender.send([b"4"]) == (1, None)
    assert bytes(channel.taken) == b"1\n2\n3\n4\n"


def test_a_batch_whose_connection_breaks_did_not_leave() -> None:
    window = ResendWindow(100_000, 0)
    channel = FakeChannel()
    sender = make(channel, window)
    broken = BrokenPipeError(32, "broken")

    def write(data: memoryview) -> int:
        if channel.taken:
            raise broken
        channel.taken += data[:4]
        return 4

    channel.write = write  # type: ignore[method-assign]  # a fake of a fake
    assert sender.send([b"a", b"b", b"c"]) == (0, broken)
    assert len(window) == 0


def test_nothing_counts_before_a_new_connection_is_accepted() -> None:
    window = ResendWindow(100_000, 0)
    channel = FakeChannel()
    sender = make(channel, window, settle_seconds=0.9)
    assert sender.send([b"a"]) == (1, None)
    assert [round(seconds, 3) for seconds in channel.watched] == [0, 0.9]
    refused = FakeChannel()
    sender = make(refused, window, settle_seconds=0.9)
    refused.ends = ConnectionResetError(104, "closed")
    left, failure = sender.send([b"b"])
    assert (left, type(failure)) == (0, PeerClosedError)
    assert window.messages(0) == [b"a"]


def test_what_the_server_has_read_is_not_sent_again() -> None:
    for reads_all, kept in ((True, 0), (False, 1)):
        window = ResendWindow(100_000, 0)
        channel = FakeChannel()
        channel.reads_all = reads_all
        sender = make(channel, window)
        sender.send([b"a"])
        sender.finish()
        assert len(window) == kept


def test_a_check_finishes_what_is_to_be_sent_again() -> None:
    window = ResendWindow(100_000, 0)
    window.add([b"1", b"2"], 0)
    channel = FakeChannel([2, 0])
    sender = make(channel, window, settle_seconds=0.9)
    assert isinstance(sender.check(), TimeoutError)
    assert sender.check() is None
    assert bytes(channel.taken) == b"1\n2\n"
    assert round(channel.watched[-1], 3) == 0.9
    channel.ends = ConnectionResetError(104, "gone")
    assert sender.check() is channel.ends
