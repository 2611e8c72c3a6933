"""Packets that an agent judged, on their way to a recorder that may be slow, gone or hostile."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.control import SocketBusyError
from trireme_datapath.packets import JudgedPackets, QueuedPacket, Verdict
from trireme_datapath.recorder import RecorderError, Refusal, build_filter
from trireme_datapath.recorder._queue_source import QueueSource
from trireme_datapath.recorder._queue_wire import (
    END,
    JudgedPacket,
    Losses,
    decode_packets,
    decode_subscription,
    encode_packets,
    encode_subscription,
)
from trireme_datapath.recorder.queue_feed import QueueFeed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trireme_datapath.recorder._source import Batch

IPV4 = bytes.fromhex("4500001c00010000401100000a0000010a0000020035003500080000")
OTHER = bytes.fromhex("4500001c0001000040060000c00000010a0000020035003500080000")
DNS = (build_filter("10.0.0.0/8", "0.0.0.0/0", 53, 0, 17),)
NOW_NS = 1_700_000_000_123_456_789


class Backend:
    """A backend that can be watched."""

    def __init__(self) -> None:
        self.judged: JudgedPackets | None = None

    def show(self, rows: list[tuple[QueuedPacket, Verdict]], now_ns: int) -> None:
        assert self.judged is not None
        self.judged.take([row for row in rows if self.judged.wants(row[0].data, 0)], now_ns)

    def is_watched(self) -> bool:
        return self.judged is not None


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "packets.sock")


@pytest.fixture
def feed(path: str) -> Iterator[QueueFeed]:
    ticks = iter(range(0, 10**15, 10**9))
    made = QueueFeed(
        path, rule_of=lambda packet: "web" * (packet.hook == 1), clock=lambda: next(ticks)
    )
    made.open()
    yield made
    made.close()


def turning(feed: QueueFeed, work: Callable[[], QueueSource]) -> QueueSource:
    """Do something that waits for the agent while the agent turns."""
    results: list[QueueSource | BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  raised again below
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        feed.turn()
        thread.join(0.005)
    (result,) = results
    if isinstance(result, BaseException):
        raise result
    return result


def read(source: QueueSource) -> list[Batch]:
    return list(source.read(0))


def queued(data: bytes, hook: int = 1) -> QueuedPacket:
    return QueuedPacket(data=data, original_length=1500, hook=hook, indev="eth0")


def test_packets_that_fit_come_with_verdict_and_rule(feed: QueueFeed, path: str) -> None:
    backend = Backend()
    feed.watch(backend)
    feed.turn()
    assert not backend.is_watched(), "nobody records: packets are not looked at"
    source = turning(feed, lambda: QueueSource(path, DNS, capture_bytes=20))
    assert backend.is_watched()
    rows = [
        (queued(IPV4), Verdict.ACCEPT),
        (queued(OTHER), Verdict.ACCEPT),
        (queued(IPV4, hook=-1), Verdict.DROP),
        (queued(IPV4), Verdict.REPEAT),
    ]
    backend.show(rows, NOW_NS)
    ((found, interface, comments),) = read(source)
    assert interface == 0
    assert list(found) == [(1_700_000_000, 123_456_789, 20, 1500, IPV4[:20])] * 3
    assert comments == [
        "verdict=accept rule=web hook=input in=eth0",
        "verdict=drop in=eth0",
        "verdict=reject rule=web hook=input in=eth0",
    ]
    source.close()
    feed.turn()
    assert not backend.is_watched()


def test_what_the_socket_has_no_room_for_is_counted(feed: QueueFeed, path: str) -> None:
    backend = Backend()
    feed.watch(backend)
    source = turning(feed, lambda: QueueSource(path, DNS, capture_bytes=0))
    big = IPV4 + bytes(1400)
    offered = 0
    for _ in range(200):
        backend.show([(queued(big), Verdict.ACCEPT)] * 64, NOW_NS)
        offered += 64
    received = 0
    source.end()
    while not source.is_over():
        received += sum(len(batch.frames) for batch in read(source))
        feed.turn()
    lost, size = source.losses()
    assert received > 0
    assert lost > 0
    assert received + lost == offered == feed.counters["packets"]
    assert size == lost * len(big)
    source.close()


def test_everything_that_was_taken_comes_before_the_end(feed: QueueFeed, path: str) -> None:
    backend = Backend()
    feed.watch(backend)
    source = turning(feed, lambda: QueueSource(path, DNS, capture_bytes=0))
    backend.show([(queued(IPV4), Verdict.ACCEPT)] * 3, NOW_NS)
    source.end()
    feed.turn()
    assert sum(len(batch.frames) for batch in read(source)) == 3
    assert source.is_over()
    assert not backend.is_watched()
    source.close()


def test_an_agent_that_goes_away_is_waited_for(
    feed: QueueFeed, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trireme_datapath.recorder._queue_source._RETRY_NS", 0)
    source = turning(feed, lambda: QueueSource(path, DNS, capture_bytes=0))
    feed.close()
    assert read(source) == []
    assert read(source) == [], "nobody is there"
    assert not source.is_over()
    feed.open()
    backend = Backend()
    feed.watch(backend)
    read(source)
    feed.turn()
    backend.show([(queued(IPV4), Verdict.ACCEPT)], NOW_NS)
    assert [len(batch.frames) for batch in read(source)] == [1]
    feed.close()
    assert read(source) == []
    source.end()
    assert source.is_over()
    source.close()


def test_every_worker_is_asked(feed: QueueFeed, path: str) -> None:
    second = QueueFeed(f"{path}.1", clock=lambda: 0)
    second.open()
    backends = (Backend(), Backend())
    feed.watch(backends[0])
    second.watch(backends[1])

    class Both(QueueFeed):
        def turn(self) -> None:
            feed.turn()
            second._next_turn_ns = 0
            second.turn()

    source = turning(Both(""), lambda: QueueSource(path, DNS, capture_bytes=0))
    for backend in backends:
        backend.show([(queued(IPV4), Verdict.ACCEPT)], NOW_NS)
    assert sum(len(batch.frames) for batch in read(source)) == 2
    second.close()
    source.close()


def test_a_worker_that_is_just_being_replaced_is_no_error(feed: QueueFeed, path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(f"{path}.1")
    source = turning(feed, lambda: QueueSource(path, DNS, capture_bytes=0))
    assert read(source) == []
    source.close()


def test_only_later_workers_may_judge(tmp_path: Path) -> None:
    """The first one may do something else."""
    path = str(tmp_path / "packets.sock")
    ticks = iter(range(0, 10**15, 10**9))
    second = QueueFeed(f"{path}.1", clock=lambda: next(ticks))
    second.open()
    turning(second, lambda: QueueSource(path, DNS, capture_bytes=0)).close()
    second.close()


def test_no_agent_is_one_error(path: str) -> None:
    with pytest.raises(RecorderError, match="no agent answers") as caught:
        QueueSource(path, DNS, capture_bytes=0)
    assert caught.value.refusal is Refusal.UNFIT
    with pytest.raises(RecorderError, match="set packets_socket"):
        QueueSource("", DNS, capture_bytes=0)


def test_recorders_are_limited(feed: QueueFeed, path: str) -> None:
    held = [turning(feed, lambda: QueueSource(path, DNS, capture_bytes=0)) for _ in range(8)]
    with pytest.raises(RecorderError, match=r"takes no more of them|no agent answers"):
        turning(feed, lambda: QueueSource(path, DNS, capture_bytes=0))
    for one in held:
        one.close()
    feed.turn()
    turning(feed, lambda: QueueSource(path, DNS, capture_bytes=0)).close()


@pytest.mark.parametrize("words", [[b"nonsense"], [END], [encode_subscription(DNS, 0)] * 2])
def test_who_talks_nonsense_is_hung_up_on(feed: QueueFeed, path: str, words: list[bytes]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(5)
        client.connect(path)
        for word in words:
            client.send(word)
            feed.turn()
        while client.recv(100):
            pass
    feed.turn()


def test_a_second_agent_is_refused(feed: QueueFeed, path: str) -> None:
    del feed
    with pytest.raises(SocketBusyError, match=r"\[recorder\] another process has"):
        QueueFeed(path).open()


def test_without_a_path_nothing_is_done() -> None:
    feed = QueueFeed("")
    feed.open()
    feed.watch(object())
    feed.turn()
    feed.close()


def test_subscriptions_survive_the_way() -> None:
    include = (*DNS, build_filter("::/0", "fd00::/8", 0, 443, 132))
    assert decode_subscription(encode_subscription(include, 96)) == (include, 96)


packets = st.lists(
    st.builds(
        JudgedPacket,
        time_ns=st.integers(0, 2**64 - 1),
        original_length=st.integers(0, 2**32 - 1),
        data=st.binary(max_size=50),
        comment=st.text(st.characters(codec="utf-8"), max_size=30),
    ),
    max_size=5,
)


@given(packets, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_packets_survive_the_way(rows: list[JudgedPacket], lost: int, size: int) -> None:
    losses = Losses(lost, size)
    assert decode_packets(encode_packets(rows, losses)) == (rows, losses)


@given(packets, st.integers(0, 200))
def test_a_message_that_is_cut_is_one_error(rows: list[JudgedPacket], cut: int) -> None:
    whole = encode_packets(rows, Losses())
    message = whole[: max(0, len(whole) - cut)]
    try:
        found, _ = decode_packets(message)
    except RecorderError:
        assert cut
        return
    assert found == rows[: len(found)]
