"""What stands around one collector: queue, batches, retries and an account of every record."""

from __future__ import annotations

import random as _random
import threading
from typing import TYPE_CHECKING

import msgspec

from trireme_collector.delivery._backoff import retry_delay_seconds
from trireme_collector.delivery._clock import SystemClock
from trireme_collector.delivery._config import DeliveryConfig, WhenFull
from trireme_collector.delivery._queue import DROPPED_BYTES, DROPPED_RECORDS, MemoryQueue
from trireme_collector.delivery._reporter import FailureReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector.delivery._adapter import Adapter, Outcome
    from trireme_collector.delivery._clock import Clock
    from trireme_collector.delivery._queue import RecordQueue
    from trireme_collector.records import Record

__all__ = ["DROPPED_CLOSED", "CollectorStatus", "DeliveryWorker"]

DROPPED_CLOSED = "closed"
"""The reason of a drop: the record came after the shutdown had begun."""

_NANOSECONDS = 1_000_000_000
_LONGEST_WAIT_SECONDS = 60.0
_FLUSH_AFTER_NS = _NANOSECONDS


class CollectorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The account of one collector.

    At any time ``accepted == delivered + rejected + dropped + queued``.

    Attributes:
        name: The name of the collector in the configuration.
        accepted: Records that were given to it.
        delivered: Records that it took.
        rejected: Records that it refused for good.
        dropped: Records that were given up, see `dropped_by_reason`.
        queued: Records that wait, those being sent included.
        queued_bytes: What they take, estimated.
        dropped_by_reason: The dropped records by reason.
        failed_attempts: How often sending failed and was put off.
        retrying: Whether it waits after a failure now.
        last_error: The last failure, empty when there was none.
    """

    name: str
    accepted: int
    delivered: int
    rejected: int
    dropped: int
    queued: int
    queued_bytes: int
    dropped_by_reason: dict[str, int]
    failed_attempts: int
    retrying: bool
    last_error: str


class DeliveryWorker:
    """Takes records for one collector without ever blocking, and delivers them on its own.

    `step` does the work and needs no thread; `start` runs it in one.

    Args:
        name: The name of the collector.
        adapter: The collector.
        config: Bounds, batches and retries.
        queue: Where records wait; one in memory by default.
        clock: Where the thread takes the time from.
        random: Spreads the retries; numbers from 0 to 1.
    """

    def __init__(
        self,
        name: str,
        adapter: Adapter,
        config: DeliveryConfig | None = None,
        *,
        queue: RecordQueue | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """Start with an empty queue; nothing runs."""
        self.name = name
        self.kinds = adapter.kinds
        self.config = config = config or DeliveryConfig()
        self._adapter = adapter
        self._queue: RecordQueue = queue or MemoryQueue(
            config.queue_records, config.queue_bytes, config.when_full
        )
        self._clock = clock or SystemClock()
        self._random = random
        self._reporter = FailureReporter(name, round(config.log_interval_seconds * _NANOSECONDS))
        self._batch_age_ns = round(config.batch_age_seconds * _NANOSECONDS)
        self._wakeup = threading.Condition(threading.Lock())
        self._settled = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._accepted = self._delivered = self._rejected = self._failed_attempts = 0
        self._dropped: dict[str, int] = {}
        self._attempt = 0
        self._batch_due_ns: int | None = None
        self._retry_at_ns: int | None = None
        self._flush_at_ns: int | None = None
        self._flush_until = 0
        self._reopen = self._closing = self._closed = False
        self._poked = self._asked_to_wait = False
        self._give_up_ns: int | None = None
        self._last_error = ""

    def put(self, records: Sequence[Record], sizes: Sequence[int]) -> None:
        """Take records with their estimated sizes; never waits for the collector."""
        with self._wakeup:
            self._accepted += len(records)
            if self._closing:
                self._drop(DROPPED_CLOSED, len(records))
                return
            before = self._queue.records
            for reason, count in self._queue.put(records, sizes).items():
                self._drop(reason, count)
            # Only the first record of a batch and the last one change what the thread has to do.
            if not before or before < self.config.batch_records <= self._queue.records:
                self._poke()

    def step(self, now_ns: int) -> int | None:
        """Do what is due: reopen, flush, deliver at most one batch.

        Returns:
            When to come again, or None when there is nothing to do until more records come.
        """
        if self._reopen:
            self._reopen = False
            self._lifecycle("reopen", now_ns)
        if self._flush_at_ns is not None and now_ns >= self._flush_at_ns:
            self._flush_at_ns = None
            self._lifecycle("flush", now_ns)
        with self._wakeup:
            batch, again_ns = self._choose(now_ns)
        if not batch:
            return _earlier(again_ns, self._flush_at_ns)
        outcome = self._adapter.deliver(batch)
        with self._wakeup:
            again_ns, delay_seconds = self._settle(outcome, now_ns)
        if outcome.delivered and self._flush_at_ns is None:
            self._flush_at_ns = now_ns + _FLUSH_AFTER_NS
        if outcome.error is not None:
            self._report(outcome, now_ns, delay_seconds)
        return _earlier(again_ns, self._flush_at_ns)

    def request_flush(self) -> int:
        """Make everything that waits due now; give the mark that `is_settled` takes."""
        with self._wakeup:
            self._flush_until = self._left() + self._queue.records
            self._poke()
            return self._flush_until

    def is_settled(self, mark: int) -> bool:
        """Whether every record that waited at the mark was delivered, rejected or dropped."""
        with self._wakeup:
            return self._left() >= mark

    def wait_settled(self, mark: int, timeout_seconds: float) -> bool:
        """Wait for `is_settled`; only useful while the thread runs."""
        with self._settled:
            return self._settled.wait_for(lambda: self.is_settled(mark), timeout_seconds)

    def request_reopen(self) -> None:
        """Make the collector open its files or sockets anew, between two batches."""
        with self._wakeup:
            self._reopen = True
            self._poke()

    def request_close(self, give_up_ns: int) -> None:
        """Take no more records, deliver what waits, and give up at the given time."""
        with self._wakeup:
            self._closing = True
            self._give_up_ns = give_up_ns
            if not self._asked_to_wait:
                # One more attempt, whatever the pause was: there may be no other.
                self._attempt = 0
                self._retry_at_ns = None
            self._poke()

    def open(self) -> None:
        """Open the collector.

        Raises:
            ConfigError: It cannot work as it is configured.
            PluginError: The plugin raised something that it may not raise.
            DeliveryError: It cannot work now.
        """
        self._adapter.open()

    def finish(self, now_ns: int) -> None:
        """Flush and close the collector; what is still queued stays counted as queued."""
        if not self._closed:
            self._closed = True
            self._lifecycle("flush", now_ns)
            self._lifecycle("close", now_ns)

    def start(self) -> None:
        """Deliver in a thread of its own from now on."""
        self._thread = threading.Thread(
            target=self._run, name=f"trireme-deliver-{self.name}", daemon=True
        )
        self._thread.start()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread to end after `request_close`; give whether it has."""
        if self._thread is None:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def status(self) -> CollectorStatus:
        """Give the account, consistent in itself."""
        with self._wakeup:
            return CollectorStatus(
                name=self.name,
                accepted=self._accepted,
                delivered=self._delivered,
                rejected=self._rejected,
                dropped=sum(self._dropped.values()),
                queued=self._queue.records,
                queued_bytes=self._queue.size_bytes,
                dropped_by_reason=dict(self._dropped),
                failed_attempts=self._failed_attempts,
                retrying=self._retry_at_ns is not None,
                last_error=self._last_error,
            )

    def _poke(self) -> None:
        # The flag outlives the notification: the thread may be between its step and its wait.
        self._poked = True
        self._wakeup.notify()

    def _drop(self, reason: str, count: int) -> None:
        self._dropped[reason] = self._dropped.get(reason, 0) + count

    def _choose(self, now_ns: int) -> tuple[Sequence[Record], int | None]:
        """Find the batch that is due, or when one will be."""
        waiting = self._queue.records
        if not waiting:
            self._batch_due_ns = None
            return (), None
        if self._retry_at_ns is not None:
            if now_ns < self._retry_at_ns:
                return (), self._retry_at_ns
            self._retry_at_ns = None
        elif waiting < self.config.batch_records and not self._hurried():
            if self._batch_due_ns is None:
                self._batch_due_ns = now_ns + self._batch_age_ns
            if now_ns < self._batch_due_ns:
                return (), self._batch_due_ns
        return self._queue.take(self.config.batch_records), None

    def _hurried(self) -> bool:
        return self._closing or self._left() < self._flush_until

    def _left(self) -> int:
        """Count the records that were queued and are no longer."""
        left = self._delivered + self._rejected
        if self.config.when_full is WhenFull.DROP_OLDEST:
            # Otherwise those that are dropped never were in the queue.
            left += self._dropped.get(DROPPED_RECORDS, 0) + self._dropped.get(DROPPED_BYTES, 0)
        return left

    def _settle(self, outcome: Outcome, now_ns: int) -> tuple[int | None, float]:
        self._queue.acknowledge(outcome.delivered + outcome.rejected)
        self._delivered += outcome.delivered
        self._rejected += outcome.rejected
        if outcome.error is not None:
            self._last_error = f"{type(outcome.error).__name__}: {outcome.error}"
        if not outcome.retry:
            self._attempt = 0
            # A batch that was cut short goes on at once; a new one may grow for its time.
            self._batch_due_ns = now_ns if outcome.error is not None else None
            return (now_ns if self._queue.records else None), 0.0
        self._failed_attempts += 1
        self._asked_to_wait = outcome.retry_after is not None
        self._attempt = 1 if outcome.delivered else self._attempt + 1
        delay_seconds = retry_delay_seconds(
            self._attempt,
            initial=self.config.retry_initial_seconds,
            longest=self.config.retry_max_seconds,
            retry_after=outcome.retry_after,
            random=self._random,
        )
        self._retry_at_ns = now_ns + round(delay_seconds * _NANOSECONDS)
        return self._retry_at_ns, delay_seconds

    def _report(self, outcome: Outcome, now_ns: int, delay_seconds: float) -> None:
        if outcome.error is None:
            return
        if outcome.retry:
            self._reporter.report(
                "delivery_failed", outcome.error, now_ns, retry_in_seconds=round(delay_seconds, 3)
            )
        else:
            event = "collector_raised" if outcome.is_bug else "records_rejected"
            self._reporter.report(event, outcome.error, now_ns, records=outcome.rejected)

    def _lifecycle(self, method: str, now_ns: int) -> None:
        error = self._adapter.call(method)
        if error is not None:
            with self._wakeup:
                self._last_error = f"{type(error).__name__}: {error}"
            self._reporter.report(f"{method}_failed", error, now_ns)

    def _run(self) -> None:
        while True:
            with self._wakeup:
                self._poked = False
            now_ns = self._clock.monotonic_ns()
            again_ns = self.step(now_ns)
            with self._settled:
                self._settled.notify_all()
            if self._may_end(now_ns):
                break
            self._wait(again_ns)
        self.finish(self._clock.monotonic_ns())

    def _may_end(self, now_ns: int) -> bool:
        with self._wakeup:
            if not self._closing or self._give_up_ns is None:
                return False
            # A retry that could only come after the deadline will not come at all.
            next_ns = max(now_ns, self._retry_at_ns or now_ns)
            return not self._queue.records or next_ns >= self._give_up_ns

    def _wait(self, again_ns: int | None) -> None:
        with self._wakeup:
            if self._poked:
                return
            seconds = _LONGEST_WAIT_SECONDS
            if again_ns is not None:
                seconds = (again_ns - self._clock.monotonic_ns()) / _NANOSECONDS
            if seconds > 0:
                self._wakeup.wait(min(seconds, _LONGEST_WAIT_SECONDS))


def _earlier(one: int | None, two: int | None) -> int | None:
    if one is None or two is None:
        return two if one is None else one
    return min(one, two)
