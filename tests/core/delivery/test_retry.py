"""Failures put off, and give up only when that is asked for."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from trireme_collector import (
    DeliveryConfig,
    PacketReport,
    RefusedCredentialsError,
    RetryableDeliveryError,
)
from trireme_collector.delivery import DROPPED_REFUSED, DeliveryWorker, adapt
from trireme_collector.testing import FailingCollector, FakeClock, MemoryCollector

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def make(collector: object, *, random: float = 1.0, give_up_seconds: float = 0) -> DeliveryWorker:
    config = DeliveryConfig(batch_records=2, give_up_seconds=give_up_seconds)
    return DeliveryWorker(
        "x", adapt(collector, name="x"), config, clock=FakeClock(), random=lambda: random
    )


def put(worker: DeliveryWorker, count: int) -> None:
    worker.put([PacketReport(packet_id=number) for number in range(count)], [100] * count)


def test_without_a_limit_it_goes_on_for_weeks() -> None:
    collector = FailingCollector(always=lambda: RetryableDeliveryError("away"))
    worker = make(collector)
    put(worker, 2)
    now = 0
    with capture_logs():
        for _ in range(20_000):
            now = worker.step(now) or now
    assert now > 13 * 24 * HOUR
    assert worker.status().queued == 2


def test_with_a_limit_a_batch_is_given_up_after_it() -> None:
    collector = FailingCollector(always=lambda: RetryableDeliveryError("away"))
    worker = make(collector, give_up_seconds=10)
    put(worker, 4)
    now = 0
    with capture_logs() as logs:
        while worker.status().queued == 4:
            now = worker.step(now) or now
        assert now >= 10 * SECOND
        given_up_at = now
        # The next batch has its own time.
        assert worker.step(now) == now + SECOND // 2
        while worker.status().queued:
            now = worker.step(now) or now
    assert now - given_up_at >= 10 * SECOND
    assert worker.status().dropped_by_reason == {DROPPED_REFUSED: 4}
    assert "delivery_given_up" in [log["event"] for log in logs]


def test_progress_begins_the_time_anew() -> None:
    errors = [RetryableDeliveryError("slow"), RetryableDeliveryError("slow", delivered=1)]
    collector = FailingCollector(errors, always=lambda: RetryableDeliveryError("away"))
    worker = make(collector, give_up_seconds=10)
    put(worker, 2)
    with capture_logs():
        worker.step(0)
        worker.step(20 * SECOND)  # one of two was taken
        worker.step(29 * SECOND)
        assert worker.status().queued == 1
        worker.step(30 * SECOND)
    status = worker.status()
    assert (status.delivered, status.dropped, status.queued) == (1, 1, 0)


@pytest.mark.parametrize("random", [0.0, 1.0])
def test_refused_credentials_pause_and_never_discard(random: float) -> None:
    collector = FailingCollector([RefusedCredentialsError("bad token")] * 50)
    worker = make(collector, random=random, give_up_seconds=1)
    put(worker, 2)
    now = 0
    with capture_logs() as logs:
        for _ in range(50):
            again = worker.step(now)
            assert again is not None
            assert 30 * SECOND <= again - now <= 60 * SECOND
            assert worker.status().credentials_refused
            now = again
        worker.step(now)
    status = worker.status()
    assert (status.delivered, status.dropped, status.credentials_refused) == (2, 0, False)
    assert {(log["event"], log["log_level"]) for log in logs} == {("credentials_refused", "error")}


def test_time_with_refused_credentials_is_not_time_without_an_answer() -> None:
    errors = [RefusedCredentialsError("bad token"), RetryableDeliveryError("away")]
    worker = make(FailingCollector(errors), give_up_seconds=10)
    put(worker, 2)
    with capture_logs():
        worker.step(0)
        worker.step(HOUR)
        assert worker.status().queued == 2
        worker.step(2 * HOUR)
    assert worker.status().delivered == 2


def test_reopening_tries_mended_credentials_at_once() -> None:
    collector = FailingCollector([RefusedCredentialsError("bad token")])
    worker = make(collector)
    put(worker, 2)
    with capture_logs():
        worker.step(0)
    worker.request_reopen()
    worker.step(1)
    assert len(collector.records) == 2


def test_reopening_does_not_hurry_a_receiver_that_named_a_time() -> None:
    collector = FailingCollector([RefusedCredentialsError("locked", retry_after=900)])
    worker = make(collector, random=0.0)
    put(worker, 2)
    with capture_logs():
        worker.step(0)
    worker.request_reopen()
    assert worker.step(1) == 900 * SECOND
    assert len(collector.attempts) == 1


def test_a_batch_is_bounded_by_bytes() -> None:
    collector = MemoryCollector()
    config = DeliveryConfig(batch_bytes=1024, batch_age_seconds=10)
    worker = DeliveryWorker("x", adapt(collector, name="x"), config, clock=FakeClock())
    worker.put([PacketReport()] * 3, [400] * 3)
    assert worker.step(0) == 0  # there are bytes enough for a batch, whatever its age
    assert worker.step(0) == SECOND  # the flush; the third record waits for more
    worker.put([PacketReport()] * 2, [5000, 5000])
    worker.step(0)
    worker.step(0)
    worker.step(0)
    assert [len(batch) for batch in collector.batches] == [2, 1, 1, 1]
