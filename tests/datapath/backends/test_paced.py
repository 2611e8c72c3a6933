"""A queue of which only so many packets are judged in a second."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, cast

import pytest

from tests.datapath.backends.netlink_messages import FakeKernel, packet_message
from tests.datapath.backends.test_netlink import NOW, POLICY, datagram
from trireme_datapath.backends.netlink import NetlinkBackend, NetlinkQueue
from trireme_datapath.backends.paced import PacedBackend
from trireme_datapath.engine import Engine
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trireme_datapath.packets import JudgedPackets, QueuedPacket, Verdict

RATE = 400  # forty may come at once
SECOND_NS = 1_000_000_000


class Scene:
    """A queue with a pace, and a clock that stands still."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.kernel = FakeKernel()
        self.engine = Engine(compile_policy(parse_policy(POLICY, "p.toml")))
        inner = NetlinkBackend(cast("NetlinkQueue", self.kernel), self.engine, max_batches=1)
        self.backend = PacedBackend(inner, RATE, lambda: self.now_ns)
        self._sent = 0

    def send(self, count: int) -> None:
        first = self._sent + 1
        self._sent += count
        self.kernel.queue([packet_message(one, datagram()) for one in range(first, first + count)])

    def drain(self) -> int:
        """Drain as a loop does, and tell how many packets were judged."""
        before = self.engine.counters["packets"]
        for _ in range(100):
            if not self.readable():
                break
            self.backend.drain(NOW)
        return self.engine.counters["packets"] - before

    def readable(self, seconds: float = 0) -> bool:
        return bool(select.select([self.backend.fileno()], [], [], seconds)[0])


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr("trireme_datapath.backends.netlink._SLOTS", 16)
    made = Scene()
    yield made
    made.backend.close()


def test_what_is_below_the_limit_is_judged_at_once(scene: Scene) -> None:
    assert not scene.readable()
    for _ in range(10):
        scene.send(4)
        assert scene.drain() == 4
        scene.now_ns += SECOND_NS // 100
    assert not scene.kernel.waiting


def test_what_is_above_waits_and_comes_by_itself(scene: Scene) -> None:
    scene.send(120)
    first = scene.drain()
    assert 40 <= first < 40 + 16  # a batch is not taken apart
    assert not scene.readable()
    # Nobody turns the loop meanwhile: the descriptor says when there is something to do.
    scene.now_ns += SECOND_NS
    assert scene.readable(5)
    assert 0 < scene.drain() <= 40 + 16


def test_the_limit_holds_over_a_long_time(scene: Scene) -> None:
    judged = 0
    for _ in range(100):
        scene.send(max(0, 100 - len(scene.kernel.waiting)))
        scene.now_ns += SECOND_NS // 20
        assert scene.readable(5)
        judged += scene.drain()
    assert abs(judged - 5 * RATE) <= 40


def test_a_drain_that_comes_too_early_does_nothing(scene: Scene) -> None:
    scene.send(100)
    scene.drain()
    left = len(scene.kernel.waiting)
    assert scene.backend.drain(NOW) == []
    assert len(scene.kernel.waiting) == left


def test_it_shows_what_was_judged_and_closes_the_queue(scene: Scene) -> None:
    class Watcher:
        def wants(self, message: memoryview, start: int) -> bool:
            del message, start
            return False

        def take(self, packets: Sequence[tuple[QueuedPacket, Verdict]], now_ns: int) -> None:
            del packets, now_ns

    watcher = cast("JudgedPackets", Watcher())
    scene.backend.judged = watcher
    assert scene.backend.judged is watcher
