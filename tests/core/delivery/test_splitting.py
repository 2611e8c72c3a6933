"""One bad record costs one record, and few deliveries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from trireme_collector import DeliveryConfig, PacketReport, PermanentDeliveryError
from trireme_collector.delivery import DeliveryWorker, adapt
from trireme_collector.errors import RetryableDeliveryError
from trireme_collector.testing import FakeClock, MemoryCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from trireme_collector import Record

SECOND = 1_000_000_000


class Picky(MemoryCollector):
    """Refuses a batch as a whole when something bad is in it."""

    def __init__(self, bad: Collection[int], error: Callable[[], Exception]) -> None:
        super().__init__()
        self.bad = frozenset(bad)
        self.error = error
        self.requests = 0

    def deliver(self, batch: Sequence[Record]) -> None:
        self.requests += 1
        if any(number in self.bad for number in numbers(batch)):
            raise self.error()
        super().deliver(batch)


class Kept:
    """Dead letters in memory."""

    place = "memory"

    def __init__(self) -> None:
        self.letters: list[tuple[int, int, str]] = []

    def open(self) -> None:
        """Nothing to do."""

    def add(
        self, records: Sequence[Record], *, reason: str, time_ns: int, attempts: int
    ) -> Mapping[str, int]:
        del time_ns
        self.letters += [(number, attempts, reason) for number in numbers(records)]
        return {}


def numbers(records: Sequence[Record]) -> list[int]:
    return [record.packet_id for record in records if isinstance(record, PacketReport)]


def send(collector: MemoryCollector, count: int, kept: Kept) -> DeliveryWorker:
    worker = DeliveryWorker(
        "x",
        adapt(collector, name="x"),
        DeliveryConfig(batch_records=1000),
        clock=FakeClock(),
        dead_letters=kept,
        random=lambda: 0.0,
    )
    worker.put([PacketReport(packet_id=number) for number in range(count)], [100] * count)
    worker.request_flush()
    now = 0
    with capture_logs():
        while worker.status().queued:
            now = worker.step(now) or now
    return worker


@pytest.mark.parametrize("bad", [0, 1, 499, 500, 731, 998, 999])
@pytest.mark.parametrize("error", [PermanentDeliveryError, ValueError])
def test_one_poison_record_in_a_thousand(bad: int, error: type[Exception]) -> None:
    collector = Picky({bad}, lambda: error("no"))
    kept = Kept()
    status = send(collector, 1000, kept).status()
    assert (status.delivered, status.dead_lettered, status.dropped) == (999, 1, 0)
    assert [number for number, _, _ in kept.letters] == [bad]
    assert numbers(collector.records) == [n for n in range(1000) if n != bad]
    assert collector.requests - 1 <= 2 * math.log2(1000) + 2


@given(st.sets(st.integers(0, 40)), st.integers(1, 41))
def test_whatever_is_bad_nothing_else_is_lost_or_comes_twice(bad: set[int], count: int) -> None:
    collector = Picky(bad, lambda: PermanentDeliveryError("no"))
    kept = Kept()
    send(collector, count, kept)
    assert numbers(collector.records) == [n for n in range(count) if n not in bad]
    assert [number for number, _, _ in kept.letters] == sorted(n for n in bad if n < count)
    found = len(kept.letters)
    assert collector.requests <= 1 + found * (2 * math.ceil(math.log2(count)) + 1)


def test_a_letter_says_why_and_how_often_it_was_tried() -> None:
    kept = Kept()
    send(Picky({2}, lambda: PermanentDeliveryError("no such field")), 4, kept)
    assert kept.letters == [(2, 3, "PermanentDeliveryError: no such field")]


def test_what_cannot_be_divided_is_refused_at_once() -> None:
    collector = Picky({3}, lambda: PermanentDeliveryError("no", splittable=False))
    kept = Kept()
    send(collector, 100, kept)
    assert collector.requests == 1
    assert len(kept.letters) == 100


def test_a_receiver_that_goes_away_between_two_parts_loses_nothing() -> None:
    errors = iter(
        [
            PermanentDeliveryError("all"),
            None,
            RetryableDeliveryError("away"),
            RetryableDeliveryError("away", delivered=1),
            PermanentDeliveryError("rest"),
        ]
    )

    class Moody(MemoryCollector):
        def deliver(self, batch: Sequence[Record]) -> None:
            error = next(errors, None)
            taken = getattr(error, "delivered", len(batch)) if error else len(batch)
            super().deliver(batch[:taken])
            if error:
                raise error

    collector = Moody()
    kept = Kept()
    send(collector, 8, kept)
    assert numbers(collector.records) == list(range(8))
    assert kept.letters == []
    # A part that was put off is given again as it was; what was taken of it is not.
    assert [len(batch) for batch in collector.batches] == [0, 4, 0, 1, 0, 1, 2]


def test_what_follows_a_divided_batch_comes_after_it() -> None:
    collector = Picky({1}, lambda: PermanentDeliveryError("no"))
    config = DeliveryConfig(batch_records=4)
    worker = DeliveryWorker("x", adapt(collector, name="x"), config, clock=FakeClock())
    worker.put([PacketReport(packet_id=number) for number in range(4)], [100] * 4)
    with capture_logs() as logs:
        worker.step(0)
        worker.put([PacketReport(packet_id=number) for number in range(4, 8)], [100] * 4)
        again: int | None = 0
        while again == 0:
            again = worker.step(0)
    assert numbers(collector.records) == [0, 2, 3, 4, 5, 6, 7]
    # Dividing is told once, however often it goes on.
    assert [(log["event"], log["records"], log.get("kept_in")) for log in logs] == [
        ("batch_divided", 4, None),
        ("records_rejected", 1, "nowhere: set delivery.state_directory to keep them"),
    ]
