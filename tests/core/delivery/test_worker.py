"""The worker loses nothing, repeats nothing, and accounts for every record."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NoReturn

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from trireme_collector import (
    DeliveryConfig,
    PacketReport,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
)
from trireme_collector.delivery import (
    DROPPED_CLOSED,
    DROPPED_RECORDS,
    DROPPED_REFUSED,
    CollectorStatus,
    DeliveryWorker,
    WhenFull,
    adapt,
)
from trireme_collector.testing import FailingCollector, FakeClock, MemoryCollector

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trireme_collector import Record

SECOND = 1_000_000_000
CONFIG = DeliveryConfig(batch_records=3, batch_age_seconds=0.2)


def reports(*numbers: int) -> list[PacketReport]:
    return [PacketReport(packet_id=number) for number in numbers]


def numbers(records: Sequence[Record]) -> list[int]:
    return [record.packet_id for record in records if isinstance(record, PacketReport)]


def make(
    collector: object, config: DeliveryConfig = CONFIG, *, clock: FakeClock | None = None
) -> DeliveryWorker:
    return DeliveryWorker(
        "x", adapt(collector, name="x"), config, clock=clock or FakeClock(), random=lambda: 1.0
    )


def put(worker: DeliveryWorker, *which: int) -> None:
    worker.put(reports(*which), [100] * len(which))


def drain(worker: DeliveryWorker, now: int) -> None:
    again = worker.step(now)
    while again is not None and again <= now:
        again = worker.step(now)


def balances(status: CollectorStatus) -> bool:
    gone = status.delivered + status.dead_lettered + status.dropped
    return status.accepted == gone + status.queued


def test_an_incomplete_batch_waits_for_its_age() -> None:
    collector = MemoryCollector()
    worker = make(collector)
    assert worker.step(0) is None
    put(worker, 1, 2)
    assert worker.step(SECOND) == SECOND + SECOND // 5
    assert worker.step(SECOND + SECOND // 5 - 1) == SECOND + SECOND // 5
    worker.step(SECOND + SECOND // 5)
    assert [numbers(batch) for batch in collector.batches] == [[1, 2]]


def test_a_full_batch_leaves_at_once() -> None:
    collector = MemoryCollector()
    worker = make(collector)
    put(worker, 1, 2, 3, 4)
    assert worker.step(0) == 0
    assert worker.step(0) == SECOND // 5
    assert [numbers(batch) for batch in collector.batches] == [[1, 2, 3]]
    assert worker.status().queued == 1


def test_a_failed_batch_is_sent_again_as_it_was() -> None:
    collector = FailingCollector([RetryableDeliveryError("a"), RetryableDeliveryError("b")])
    worker = make(collector)
    put(worker, 1, 2, 3)
    assert worker.step(0) == SECOND // 2
    put(worker, 4, 5, 6)
    assert worker.step(SECOND // 2 - 1) == SECOND // 2
    assert worker.status().retrying
    assert worker.step(SECOND // 2) == SECOND // 2 + SECOND
    worker.step(2 * SECOND)
    worker.step(2 * SECOND)
    assert [numbers(batch) for batch in collector.attempts] == [[1, 2, 3]] * 3 + [[4, 5, 6]]
    status = worker.status()
    assert (status.delivered, status.failed_attempts, status.retrying) == (6, 2, False)
    assert status.last_error == "RetryableDeliveryError: b"


def test_what_was_delivered_is_not_sent_again() -> None:
    collector = FailingCollector([RetryableDeliveryError("half", delivered=2)])
    worker = make(collector)
    put(worker, 1, 2, 3)
    worker.step(0)
    assert worker.status().delivered == 2
    worker.step(SECOND)
    assert numbers(collector.records) == [1, 2, 3]
    assert numbers(collector.attempts[1]) == [3]


def test_the_receiver_says_when() -> None:
    worker = make(FailingCollector([RetryableDeliveryError("busy", retry_after=10)]))
    put(worker, 1, 2, 3)
    assert worker.step(0) == 12 * SECOND  # a fifth more at most, with the largest random number


def test_one_bad_record_costs_one_record() -> None:
    collector = FailingCollector([PermanentDeliveryError("bad", delivered=1, rejected=1)])
    worker = make(collector)
    put(worker, 1, 2, 3)
    assert worker.step(0) == 0
    worker.step(0)
    assert numbers(collector.records) == [1, 3]
    status = worker.status()
    assert (status.delivered, status.dropped, status.queued) == (2, 1, 0)


def test_a_mistake_of_the_plugin_is_treated_alike_and_reported_once() -> None:
    collector = FailingCollector(always=lambda: ValueError("oops"))
    worker = make(collector)
    with capture_logs() as logs:
        for second in range(61):
            put(worker, 1, 2, 3)
            drain(worker, second * SECOND)
    assert worker.status().dropped_by_reason == {DROPPED_REFUSED: 183}
    # Three records need five calls: all, one, two, and those two one by one.
    assert [(log["event"], log["not_logged"]) for log in logs] == [
        ("collector_raised", 0),
        ("collector_raised", 299),
    ]
    assert logs[0]["error"] == "ValueError: oops"
    assert logs[0]["collector"] == "x"


def test_a_failure_is_logged_with_the_time_of_the_next_attempt() -> None:
    worker = make(FailingCollector([RetryableDeliveryError("away")]))
    put(worker, 1, 2, 3)
    with capture_logs() as logs:
        worker.step(0)
    assert logs == [
        {
            "event": "delivery_failed",
            "log_level": "warning",
            "collector": "x",
            "error": "RetryableDeliveryError: away",
            "not_logged": 0,
            "retry_in_seconds": 0.5,
        }
    ]


class Unspeakable(Exception):  # noqa: N818  it stands for any
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("bug", [Unspeakable, RecursionError, MemoryError])
def test_an_error_that_cannot_tell_what_it_is_stops_nothing(
    bug: type[Exception], tmp_path: Path
) -> None:
    collector = FailingCollector([bug()])
    config = DeliveryConfig(batch_records=1, state_directory=str(tmp_path))
    worker = make(collector, config)
    worker.open()
    with capture_logs() as logs:
        put(worker, 1, 2)
        drain(worker, 0)
    status = worker.status()
    assert (status.delivered, status.dead_lettered) == (1, 1)
    assert status.last_error.startswith(f"{bug.__name__}: ")
    assert logs[0]["error"] == status.last_error


def test_a_full_queue_drops_and_counts() -> None:
    worker = make(MemoryCollector(), DeliveryConfig(queue_records=2))
    put(worker, 1, 2, 3, 4, 5)
    status = worker.status()
    assert (status.accepted, status.queued, status.dropped) == (5, 2, 3)
    assert status.dropped_by_reason == {DROPPED_RECORDS: 3}


def test_a_flush_does_not_wait_for_the_age() -> None:
    collector = MemoryCollector()
    worker = make(collector)
    put(worker, 1)
    mark = worker.request_flush()
    assert not worker.is_settled(mark)
    worker.step(0)
    assert worker.is_settled(mark)
    put(worker, 2)
    assert worker.step(0) == SECOND // 5
    assert numbers(collector.records) == [1]


def test_records_that_do_not_fit_do_not_settle_a_flush() -> None:
    worker = make(MemoryCollector(), DeliveryConfig(queue_records=2))
    put(worker, 1, 2)
    mark = worker.request_flush()
    put(worker, 3, 4, 5)
    assert not worker.is_settled(mark)
    worker.step(0)
    assert worker.is_settled(mark)


def test_a_flush_is_settled_when_its_records_were_dropped() -> None:
    config = DeliveryConfig(queue_records=2, when_full=WhenFull.DROP_OLDEST)
    worker = make(MemoryCollector(), config)
    put(worker, 1, 2)
    mark = worker.request_flush()
    put(worker, 3)
    assert not worker.is_settled(mark)
    put(worker, 4)
    assert worker.is_settled(mark)


def test_a_broken_log_does_not_stop_delivery() -> None:
    collector = FailingCollector([RetryableDeliveryError("x")])
    worker = make(collector)
    put(worker, 1, 2, 3)

    def broken(*_: object) -> NoReturn:
        raise BrokenPipeError

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[broken])
    try:
        worker.step(0)
    finally:
        structlog.configure(processors=before)
    worker.step(SECOND)
    assert numbers(collector.records) == [1, 2, 3]


def test_the_collector_is_flushed_a_second_after_it_took_something() -> None:
    collector = MemoryCollector()
    worker = make(collector)
    put(worker, 1, 2, 3)
    assert worker.step(0) == SECOND
    assert collector.calls == []
    assert worker.step(SECOND) is None
    assert collector.calls == ["flush"]
    assert worker.step(5 * SECOND) is None
    assert collector.calls == ["flush"]


def test_reopen_comes_between_two_batches() -> None:
    collector = MemoryCollector()
    worker = make(collector)
    worker.request_reopen()
    worker.step(0)
    worker.step(0)
    assert collector.calls == ["reopen"]


class CannotReopen(MemoryCollector):
    def reopen(self) -> None:
        raise RetryableDeliveryError("no file")


def test_a_failed_reopen_is_told() -> None:
    worker = make(CannotReopen())
    worker.request_reopen()
    with capture_logs() as logs:
        worker.step(0)
    assert [log["event"] for log in logs] == ["reopen_failed"]
    assert worker.status().last_error == "RetryableDeliveryError: no file"


def test_after_the_shutdown_began_records_are_dropped() -> None:
    worker = make(MemoryCollector())
    put(worker, 1)
    worker.request_close(SECOND)
    put(worker, 2)
    worker.step(0)
    worker.finish(0)
    status = worker.status()
    assert (status.delivered, status.dropped_by_reason) == (1, {DROPPED_CLOSED: 1})
    assert balances(status)


def test_a_shutdown_tries_once_more_whatever_the_pause() -> None:
    collector = FailingCollector([RetryableDeliveryError("x")] * 3)
    worker = make(collector)
    put(worker, 1)
    worker.request_flush()
    now = 0
    for _ in range(3):
        now = worker.step(now) or now
    assert worker.step(now - 1) == now
    worker.request_close(now + SECOND)
    worker.step(now - 1)
    assert numbers(collector.records) == [1]


def test_a_shutdown_obeys_a_receiver_that_asked_to_wait() -> None:
    collector = FailingCollector([RetryableDeliveryError("x", retry_after=100)])
    worker = make(collector)
    put(worker, 1, 2, 3)
    worker.step(0)
    worker.request_close(5 * SECOND)
    worker.step(SECOND)
    assert len(collector.attempts) == 1


OUTCOMES = st.one_of(
    st.none(),
    st.builds(
        lambda d, r: RetryableDeliveryError("r", delivered=d, retry_after=r),
        st.integers(0, 4),
        st.one_of(st.none(), st.floats(0, 9)),
    ),
    st.builds(
        lambda d, r, s: PermanentDeliveryError("p", delivered=d, rejected=r, splittable=s),
        st.integers(0, 4),
        st.one_of(st.none(), st.integers(0, 4)),
        st.booleans(),
    ),
    st.just(RefusedCredentialsError("c")),
    st.just(ValueError("bug")),
)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3), OUTCOMES), max_size=40))
def test_the_account_balances_at_any_time(
    script: list[tuple[int, int, Exception | None]],
) -> None:
    collector = FailingCollector()
    worker = make(collector, DeliveryConfig(batch_records=3, queue_records=9))
    now = accepted = 0
    with capture_logs():
        for count, seconds, error in script:
            collector._errors = [error]
            put(worker, *range(accepted, accepted + count))
            accepted += count
            now += seconds * SECOND
            worker.step(now)
            assert balances(worker.status())
            assert worker.status().accepted == accepted
        collector._errors = []
        worker.request_flush()
        while worker.status().queued:
            now += 3600 * SECOND
            worker.step(now)
    assert balances(worker.status())
    # A failing collector keeps what its error calls delivered: nothing comes twice or out of order.
    assert numbers(collector.records) == sorted(set(numbers(collector.records)))
    assert len(collector.records) == worker.status().delivered


class Gate(MemoryCollector):
    """Holds each delivery until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.open_gate = threading.Event()

    def deliver(self, batch: Sequence[Record]) -> None:
        self.entered.set()
        assert self.open_gate.wait(30)
        super().deliver(batch)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_a_hanging_collector_does_not_hold_up_its_intake(gate: Gate) -> None:
    worker = DeliveryWorker("x", adapt(gate, name="x"), DeliveryConfig(batch_records=1))
    worker.start()
    put(worker, 1)
    assert gate.entered.wait(30)
    put(worker, 2, 3)  # returns although the collector hangs
    status = worker.status()
    assert (status.accepted, status.queued) == (3, 3)
    assert not worker.join(0)
    mark = worker.request_flush()
    assert not worker.wait_settled(mark, 0)
    gate.open_gate.set()
    assert worker.wait_settled(mark, 30)
    worker.request_close(2**62)
    assert worker.join(30)
    assert numbers(gate.records) == [1, 2, 3]
    assert gate.calls[-1] == "close"


def test_the_thread_gives_up_at_the_deadline() -> None:
    collector = FailingCollector(always=lambda: RetryableDeliveryError("away"))
    worker = DeliveryWorker("x", adapt(collector, name="x"), CONFIG)
    worker.start()
    put(worker, 1, 2, 3)
    with capture_logs():
        worker.request_close(0)
        assert worker.join(30)
    status = worker.status()
    assert status.queued == 3
    assert balances(status)
    assert collector.calls[-1] == "close"
