"""With RELP a message is the receiver's when the receiver says so, and not before."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from trireme_collector_syslog._relp import RelpSender
from trireme_collector_syslog._relp_frames import MAX_NUMBER, Frame, FrameReader, RelpError
from trireme_collector_syslog._senders import MessageRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_mock import MockerFixture

OFFERS = b"200 OK\nrelp_version=0\nrelp_software=test\ncommands=syslog"


class Peer:
    """The other end: it answers before it is asked, since it knows the numbers."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(0)
        self._reader = FrameReader()

    def say(self, number: int, data: bytes = b"200 OK", command: str = "rsp") -> None:
        self.socket.sendall(b"%d %b %d %b\n" % (number, command.encode(), len(data), data))

    def read(self) -> list[Frame]:
        frames = []
        try:
            while data := self.socket.recv(100_000):
                frames += self._reader.feed(data)
        except BlockingIOError:
            pass
        return frames

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Peer]]:
    ours, theirs = socket.socketpair()
    peer = Peer(theirs)
    yield ours, peer
    ours.close()
    peer.close()


@pytest.fixture
def make(pair: tuple[socket.socket, Peer]) -> Callable[..., RelpSender]:
    def build(window: int = 128, *, opened: bool = True) -> RelpSender:
        sender = RelpSender(pair[0], window=window, timeout_seconds=0.05)
        if opened:
            pair[1].say(1, OFFERS)
            sender.open(5)
            assert [frame.command for frame in pair[1].read()] == ["open"]
        return sender

    return build


@pytest.fixture
def peer(pair: tuple[socket.socket, Peer]) -> Peer:
    return pair[1]


def bodies(peer: Peer) -> list[bytes]:
    return [frame.data for frame in peer.read() if frame.command == "syslog"]


def test_acknowledged_messages_are_delivered(make: Callable[..., RelpSender], peer: Peer) -> None:
    sender = make()
    for number in (2, 3, 4):
        peer.say(number)
    assert sender.send([b"a", b"b", b"c"]) == (3, None)
    assert peer.read() == [
        Frame(2, "syslog", b"a"),
        Frame(3, "syslog", b"b"),
        Frame(4, "syslog", b"c"),
    ]
    assert sender.begun == 0


def test_what_is_not_acknowledged_is_waited_for_and_not_sent_twice(
    make: Callable[..., RelpSender], peer: Peer
) -> None:
    sender = make()
    peer.say(2)
    done, failure = sender.send([b"a", b"b", b"c"])
    assert (done, type(failure), sender.begun) == (1, TimeoutError, 2)
    assert bodies(peer) == [b"a", b"b", b"c"]
    peer.say(3)
    peer.say(4)
    peer.say(5)
    assert sender.send([b"b", b"c", b"d"]) == (3, None)
    assert bodies(peer) == [b"d"]


def test_no_more_than_the_window_is_on_its_way(make: Callable[..., RelpSender], peer: Peer) -> None:
    sender = make(window=2)
    done, failure = sender.send([b"a", b"b", b"c"])
    assert (done, type(failure)) == (0, TimeoutError)
    assert bodies(peer) == [b"a", b"b"]


def test_answers_may_come_in_any_order(make: Callable[..., RelpSender], peer: Peer) -> None:
    sender = make()
    peer.say(3)
    done, failure = sender.send([b"a", b"b"])
    assert (done, type(failure), sender.begun) == (0, TimeoutError, 2)
    peer.say(2)
    assert sender.send([b"a", b"b"]) == (2, None)
    assert bodies(peer) == [b"a", b"b"]


def test_a_refused_message_costs_itself(make: Callable[..., RelpSender], peer: Peer) -> None:
    sender = make()
    peer.say(2)
    peer.say(3, b"500 too long")
    peer.say(4)
    done, failure = sender.send([b"a", b"b", b"c"])
    assert (done, type(failure), str(failure)) == (1, MessageRefusedError, "500 too long")
    assert sender.begun == 1
    assert sender.send([b"c"]) == (1, None)
    assert bodies(peer) == [b"a", b"b", b"c"]


def test_what_was_acknowledged_before_the_end_counts(
    make: Callable[..., RelpSender], peer: Peer
) -> None:
    sender = make()
    peer.say(2)
    peer.socket.shutdown(socket.SHUT_WR)
    done, failure = sender.send([b"a", b"b"])
    assert (done, type(failure)) == (1, ConnectionResetError)


def test_a_server_that_ends_the_session_is_obeyed(
    make: Callable[..., RelpSender], peer: Peer
) -> None:
    sender = make()
    peer.say(0, b"", "serverclose")
    done, failure = sender.send([b"a"])
    assert (done, type(failure)) == (0, ConnectionResetError)
    assert "ends the session" in str(failure)


@pytest.mark.parametrize("answer", [b"9 rsp 6 200 OK\n", b"2 syslog 6 200 OK\n", b"2 rsp 2 OK\n"])
def test_an_answer_that_makes_no_sense_breaks_the_connection(
    make: Callable[..., RelpSender], peer: Peer, answer: bytes
) -> None:
    sender = make()
    peer.socket.sendall(answer)
    done, failure = sender.send([b"a"])
    assert (done, type(failure)) == (0, RelpError)


def test_an_empty_answer_is_no_acknowledgement(make: Callable[..., RelpSender], peer: Peer) -> None:
    sender = make()
    peer.socket.sendall(b"2 rsp 0\n")
    done, failure = sender.send([b"a"])
    assert (done, type(failure)) == (0, RelpError)


@pytest.mark.parametrize("other", [[b"z", b"b"], [b"a"]])
def test_messages_that_were_given_up_break_the_connection(
    make: Callable[..., RelpSender], other: list[bytes]
) -> None:
    sender = make()
    sender.send([b"a", b"b"])
    done, failure = sender.send(other)
    assert (done, type(failure)) == (0, ConnectionAbortedError)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"500 not you", "refuses the session: 500 not you"),
        (b"200 OK\nrelp_version=9\ncommands=syslog", "no version of RELP"),
        (b"200 OK\nrelp_version=0\ncommands=other", "does not take syslog"),
        (b"200 OK", "no version"),
    ],
)
def test_a_session_that_cannot_be_is_explained(
    make: Callable[..., RelpSender], peer: Peer, answer: bytes, reason: str
) -> None:
    sender = make(opened=False)
    peer.say(1, answer)
    with pytest.raises(RelpError, match=reason):
        sender.open(5)


def test_a_server_that_says_nothing_is_not_waited_for_long(
    make: Callable[..., RelpSender],
) -> None:
    with pytest.raises(TimeoutError):
        make(opened=False).open(0.02)


def test_a_session_is_closed_in_order(make: Callable[..., RelpSender], peer: Peer) -> None:
    sender = make()
    peer.socket.sendall(b"2 rsp 0\n")
    sender.finish()
    assert peer.read() == [Frame(2, "close", b"")]


def test_numbers_begin_again(make: Callable[..., RelpSender], peer: Peer) -> None:
    sender = make()
    sender._number = MAX_NUMBER - 1
    peer.say(MAX_NUMBER)
    peer.say(1)
    assert sender.send([b"a", b"b"]) == (2, None)


def test_a_large_message_waits_for_room(pair: tuple[socket.socket, Peer]) -> None:
    ours, peer = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5_000)
    sender = RelpSender(ours, window=1, timeout_seconds=0.02)
    message = bytes(range(256)) * 200
    done, failure = sender.send([message])
    assert (done, type(failure)) == (0, TimeoutError)
    got: list[Frame] = []
    for _ in range(100):
        got += peer.read()
        if got:
            break
        sender.send([message])
    assert got == [Frame(1, "syslog", message)]
    peer.say(1)
    assert sender.send([message]) == (1, None)


def test_the_answers_of_a_server_are_acknowledged_at_once(mocker: MockerFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        peer = Peer(theirs)
        sender = RelpSender(ours, window=128, timeout_seconds=5)
        peer.say(1, OFFERS)
        sender.open(5)
        option = mocker.patch.object(socket.socket, "setsockopt")
        for number in (2, 3):
            peer.say(number)
            assert sender.send([b"m"]) == (1, None)
            # The kernel forgets it, so it has to be said before each answer.
            assert mocker.call(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1) in option.mock_calls
            option.reset_mock()
