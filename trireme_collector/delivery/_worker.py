"""What stands around one collector: queue, batches, retries and an account of every record."""

from __future__ import annotations

import random as _random
import threading
from typing import TYPE_CHECKING

from msgspec.structs import replace

from trireme_collector.delivery._clock import SystemClock
from trireme_collector.delivery._config import DeliveryConfig
from trireme_collector.delivery._failures import Failures
from trireme_collector.delivery._portions import Portions
from trireme_collector.delivery._queue import MemoryQueue
from trireme_collector.delivery._reporter import FailureReporter, describe_error
from trireme_collector.delivery._retry import Retry
from trireme_collector.delivery._status import DROPPED_REFUSED, CollectorStatus
from trireme_collector.delivery.dead_letters import DeadLetterFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trireme_collector.delivery._adapter import Adapter, Outcome
    from trireme_collector.delivery._clock import Clock
    from trireme_collector.delivery._queue import RecordQueue
    from trireme_collector.delivery.dead_letters import DeadLetters
    from trireme_collector.filters import RecordFilter
    from trireme_collector.records import Record

__all__ = ["DeliveryWorker"]

_NANOSECONDS = 1_000_000_000
_LONGEST_WAIT_SECONDS = 60.0
_FLUSH_AFTER_NS = _NANOSECONDS
_READ_AGAIN_AFTER_NS = _NANOSECONDS
_AWAKE, _UNTIL_ANY, _UNTIL_FULL = range(3)  # what the thread sleeps for
_NOTHING: Mapping[str, int] = {}


class DeliveryWorker:
    """Takes records for one collector without ever blocking, and delivers them on its own.

    `step` does the work and needs no thread; `start` runs it in one.

    Args:
        name: The name of the collector.
        adapter: The collector.
        config: Bounds, batches and retries.
        queue: Where records wait; one in memory by default.
        chosen: Which records are queued, and with which fields; all of them by default.
        dead_letters: Where records go that are refused for good; by default a file, if `config`
            names a state directory. Otherwise they are dropped.
        clock: Where the thread takes the time from.
        random: Spreads the retries; numbers from 0 to 1.

    Attributes:
        name: The name of the collector.
        kinds: The kinds of records that it takes.
        config: Bounds, batches and retries.
    """

    def __init__(
        self,
        name: str,
        adapter: Adapter,
        config: DeliveryConfig | None = None,
        *,
        queue: RecordQueue | None = None,
        chosen: RecordFilter | None = None,
        dead_letters: DeadLetters | None = None,
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
        if dead_letters is None and config.state_directory:
            dead_letters = DeadLetterFile(config.state_directory, name, config.dead_letter_bytes)
        self._dead_letters = dead_letters
        self._chosen = chosen
        self._reporter = FailureReporter(name, round(config.log_interval_seconds * _NANOSECONDS))
        self._failures = Failures(self._reporter, dead_letters)
        self._batch_age_ns = round(config.batch_age_seconds * _NANOSECONDS)
        self._wakeup = threading.Condition(threading.Lock())
        self._settled = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._portions = Portions()
        self._retry = Retry(config, random)
        self._batch_due_ns: int | None = None
        self._read_again_ns: int | None = None
        self._flush_at_ns: int | None = None
        self._flush_until = 0
        self._reopen = self._closing = self._closed = False
        self._poked = False
        self._sleeps = _AWAKE
        self._give_up_ns: int | None = None

    def put(self, records: Sequence[Record], sizes: Sequence[int]) -> None:
        """Take records with their estimated sizes; never waits for the collector."""
        left_out = _NOTHING
        if self._chosen is not None:
            records, sizes, left_out = self._chosen.sift(records, sizes)
            error, self._chosen.error = self._chosen.error, None
            if error is not None:
                self._reporter.report("filter_failed", error, self._clock.monotonic_ns())
        if self._queue.put(records, sizes, left_out):
            self.notice()

    def notice(self) -> None:
        """Look at the queue: there may be more in it than there was."""
        # Only the first record of a batch and the last one change what the thread has to do.
        sleeps = self._sleeps
        if sleeps == _UNTIL_ANY or (sleeps == _UNTIL_FULL and self._is_batch_full()):
            with self._wakeup:
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
        batch, again_ns = self._choose(now_ns)
        if not batch:
            return _earlier(again_ns, self._flush_at_ns)
        outcome = self._adapter.deliver(batch)
        gave_up = outcome.retry and self._retry.gives_up(outcome, now_ns)
        if gave_up:
            outcome = replace(outcome, rejected=len(batch) - outcome.delivered, retry=False)
        # Kept before it is acknowledged: between the two it is in both places, never in none.
        lost = self._keep(batch, outcome) if outcome.rejected else _NOTHING
        self._acknowledge(outcome, lost)
        with self._wakeup:
            again_ns, delay_seconds = self._settle(outcome, now_ns)
        if outcome.delivered and self._flush_at_ns is None:
            self._flush_at_ns = now_ns + _FLUSH_AFTER_NS
        if outcome.error is not None:
            self._failures.report_batch(
                outcome,
                outcome.error,
                now_ns,
                delay_seconds=delay_seconds,
                left=len(batch) - outcome.delivered,
                gave_up=gave_up,
            )
        return _earlier(again_ns, self._flush_at_ns)

    def request_flush(self) -> int:
        """Make everything that waits due now; give the mark that `is_settled` takes."""
        mark = self._queue.mark()
        with self._wakeup:
            self._flush_until = mark
            self._poke()
        return mark

    def is_settled(self, mark: int) -> bool:
        """Whether every record that waited at the mark was delivered, refused or dropped."""
        return self._queue.settled >= mark

    def wait_settled(self, mark: int, timeout_seconds: float) -> bool:
        """Wait for `is_settled`; only useful while the thread runs."""
        with self._settled:
            return self._settled.wait_for(lambda: self.is_settled(mark), timeout_seconds)

    def request_reopen(self) -> None:
        """Make the collector open its files or sockets anew, between two batches."""
        with self._wakeup:
            self._reopen = True
            if self._retry.refused and not self._retry.asked_to_wait:
                self._retry.hurry()  # somebody may have mended the credentials just now
            self._poke()

    def request_close(self, give_up_ns: int) -> None:
        """Take no more records, deliver what waits, and give up at the given time."""
        self._queue.close()
        with self._wakeup:
            self._closing = True
            self._give_up_ns = give_up_ns
            if not self._retry.asked_to_wait:
                # One more attempt, whatever the pause was: there may be no other.
                self._retry.hurry()
            self._poke()

    def open(self) -> None:
        """Open the collector.

        Raises:
            ConfigError: It, or its file of dead letters, cannot work as it is configured.
            PluginError: The plugin raised something that it may not raise.
            DeliveryError: It cannot work now.
        """
        if self._dead_letters is not None:
            self._dead_letters.open()
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
        balance = self._queue.balance()
        with self._wakeup:
            return CollectorStatus(
                name=self.name,
                accepted=balance.accepted,
                given=balance.given,
                delivered=balance.delivered,
                dead_lettered=balance.dead_lettered,
                dropped=sum(balance.dropped.values()),
                queued=balance.queued,
                queued_bytes=balance.queued_bytes,
                dropped_by_reason=balance.dropped,
                failed_attempts=self._failures.attempts,
                retrying=self._retry.at_ns is not None,
                credentials_refused=self._retry.refused,
                last_error=self._failures.last_error,
                spool=balance.spool,
            )

    def _is_due_early(self) -> bool:
        """Look whether records came since the last step that change what is to be done."""
        if self._held_until() is not None:
            self._sleeps = _AWAKE  # they cannot go before that, however many they are
            return False
        return self._is_batch_full() or bool(self._sleeps == _UNTIL_ANY and self._queue.records)

    def _held_until(self) -> int | None:
        return self._read_again_ns if self._retry.at_ns is None else self._retry.at_ns

    def _poke(self) -> None:
        # The flag outlives the notification: the thread may be between its step and its wait.
        self._poked = True
        self._sleeps = _AWAKE
        self._wakeup.notify()

    def _is_batch_full(self) -> bool:
        config, queue = self.config, self._queue
        return queue.records >= config.batch_records or queue.size_bytes >= config.batch_bytes

    def _choose(self, now_ns: int) -> tuple[Sequence[Record], int | None]:
        """Find the batch that is due, or when one will be."""
        if not self._queue.records:
            self._batch_due_ns = None
            return (), None
        held_until_ns = self._held_until()
        if held_until_ns is not None:
            if now_ns < held_until_ns:
                return (), held_until_ns
        elif not (self._portions.pending or self._is_batch_full() or self._is_hurried()):
            if self._batch_due_ns is None:
                self._batch_due_ns = now_ns + self._batch_age_ns
            if now_ns < self._batch_due_ns:
                return (), self._batch_due_ns
        try:
            batch = self._queue.take(self.config.batch_records, self.config.batch_bytes)
        except OSError as error:
            self._failures.report("spool_not_readable", error, now_ns)
            self._read_again_ns = now_ns + _READ_AGAIN_AFTER_NS
            return (), self._read_again_ns
        self._read_again_ns = None
        return (self._portions.begin(batch) if batch else ()), None

    def _is_hurried(self) -> bool:
        return self._closing or self._queue.settled < self._flush_until

    def _keep(self, batch: Sequence[Record], outcome: Outcome) -> Mapping[str, int]:
        """Put the refused records with the dead letters; give those that are lost by reason."""
        if self._dead_letters is None:
            return {DROPPED_REFUSED: outcome.rejected}
        return self._dead_letters.add(
            batch[outcome.delivered : outcome.delivered + outcome.rejected],
            reason=describe_error(outcome.error),
            time_ns=self._clock.time_ns(),
            attempts=self._portions.attempts,
        )

    def _acknowledge(self, outcome: Outcome, lost: Mapping[str, int]) -> None:
        done = outcome.delivered + outcome.rejected
        if done:
            kept = outcome.rejected - sum(lost.values())
            self._queue.acknowledge(outcome.delivered, kept, lost)
            self._portions.settle(done)

    def _settle(self, outcome: Outcome, now_ns: int) -> tuple[int | None, float]:
        if outcome.error is not None:
            self._failures.note(outcome.error)
        if outcome.split:
            self._portions.split()
        if not outcome.retry:
            self._retry.succeed()
            # A batch that was cut short goes on at once; a new one may grow for its time.
            self._batch_due_ns = now_ns if outcome.error is not None else None
            return (now_ns if self._queue.records else None), 0.0
        self._failures.attempts += 1
        delay_seconds = self._retry.fail(outcome, now_ns)
        return self._retry.at_ns, delay_seconds

    def _lifecycle(self, method: str, now_ns: int) -> None:
        error = self._adapter.call(method)
        if error is not None:
            self._failures.report(f"{method}_failed", error, now_ns)

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
            next_ns = max(now_ns, self._retry.at_ns or now_ns)
            return not self._queue.records or next_ns >= self._give_up_ns

    def _wait(self, again_ns: int | None) -> None:
        with self._wakeup:
            # Said before the last look: who puts a record after the look finds it said.
            self._sleeps = _UNTIL_FULL if self._queue.records else _UNTIL_ANY
            if self._poked or self._is_due_early():
                self._sleeps = _AWAKE
                return
            seconds = _LONGEST_WAIT_SECONDS
            if again_ns is not None:
                seconds = (again_ns - self._clock.monotonic_ns()) / _NANOSECONDS
            if seconds > 0:
                self._wakeup.wait(min(seconds, _LONGEST_WAIT_SECONDS))
            self._sleeps = _AWAKE


def _earlier(one: int | None, two: int | None) -> int | None:
    if one is None or two is None:
        return two if one is None else one
    return min(one, two)
