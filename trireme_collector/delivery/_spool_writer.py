"""The thread between those who report records and the disk."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trireme_collector.delivery._reporter import FailureReporter
from trireme_collector.delivery._spool_directory import abandoned_spools
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.delivery._clock import Clock
    from trireme_collector.delivery._spool_queue import SpoolQueue
    from trireme_collector.delivery._worker import DeliveryWorker

__all__ = ["SpoolWriter"]

_NANOSECONDS = 1_000_000_000
_LINGER_SECONDS = 0.01
_TICK_NS = 200_000_000
_LOG_INTERVAL_NS = 60 * _NANOSECONDS


class SpoolWriter:
    """Brings records to the spools of all collectors, and the spools to the disk.

    One thread does it for all of them: a disk that stalls stalls all spools on it in any case,
    and a busy thread beside the packet path costs more than its own work.

    Args:
        workers: Those whose records wait on disk, each with its queue there.
        clock: Where the time comes from.
    """

    def __init__(self, workers: Sequence[tuple[DeliveryWorker, SpoolQueue]], clock: Clock) -> None:
        """Open nothing yet."""
        self._workers = tuple(workers)
        self._clock = clock
        self._condition = threading.Condition(threading.Lock())
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._tick_at_ns = 0
        self._tick_ns = min(
            (
                round(worker.config.spool.fsync_interval_seconds * _NANOSECONDS)
                for worker, _ in self._workers
            ),
            default=_TICK_NS,
        )
        self._asleep = self._ending = False
        self._reporter = FailureReporter("spools", _LOG_INTERVAL_NS)

    def open(self, epoch: int) -> None:
        """Open every spool.

        Args:
            epoch: The start of the program, nanoseconds since 1970 UTC.

        Raises:
            ConfigError: A directory cannot be used; those opened are closed again.
        """
        try:
            for _, queue in self._workers:
                queue.open(epoch, self._wake)
        except BaseException:
            self._release()
            raise
        if self._workers:
            self._tell_abandoned()

    def start(self) -> None:
        """Write in a thread of its own from now on, if there is anything to write to."""
        if not self._workers:
            return
        self._thread = threading.Thread(target=self._run, name="trireme-spool", daemon=True)
        self._thread.start()

    def step(self, now_ns: int) -> bool:
        """Write what was handed over, and sync what is due.

        Args:
            now_ns: The time of a clock that does not jump.

        Returns:
            Whether anything was written.
        """
        wrote = False
        for worker, queue in self._workers:
            # As many as there are now: more may come as fast as they are written.
            left = queue.unwritten + 1
            while left > 0 and (written := queue.write(now_ns)):
                left -= written
                wrote = True
                worker.notice()
        if now_ns >= self._tick_at_ns:
            self._tick_at_ns = now_ns + self._tick_ns
            for _, queue in self._workers:
                queue.tick(now_ns)
        return wrote

    def flush(self, timeout_seconds: float) -> bool:
        """Write everything that was handed over; say whether nothing of it is left."""
        if self._thread is None:
            self.step(self._clock.monotonic_ns())
            return not self._unwritten()
        with self._condition:
            self._hurry.set()
            self._condition.notify_all()
            done = self._condition.wait_for(lambda: not self._unwritten(), timeout_seconds)
            self._hurry.clear()
        return done

    def close(self, timeout_seconds: float) -> bool:
        """Write what is left, sync, and let go of the directories.

        Args:
            timeout_seconds: How long to wait for the disk.

        Returns:
            Whether the disk came back in time.
        """
        if self._thread is None:
            self.step(self._clock.monotonic_ns())
            self._release()
            return True
        with self._condition:
            self._ending = True
            self._hurry.set()
            self._condition.notify_all()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _unwritten(self) -> bool:
        return any(queue.unwritten for _, queue in self._workers)

    def _wake(self) -> None:
        # Read without the lock: who falls asleep says so before it looks for records.
        if self._asleep:
            with self._condition:
                self._asleep = False
                self._condition.notify_all()

    def _run(self) -> None:
        while True:
            ending = self._ending
            now_ns = self._clock.monotonic_ns()
            failed = False
            try:
                wrote = self.step(now_ns)
            except Exception as error:  # noqa: BLE001  without this thread no record would be accepted
                wrote = failed = True  # a moment's pause, and on
                self._reporter.report("spool_writer_failed", error, now_ns, alarm=True)
            with self._condition:
                self._condition.notify_all()
            if ending and (failed or not self._unwritten()):
                break
            if wrote:
                # Records that come one by one are written some together.
                self._hurry.wait(_LINGER_SECONDS)
            self._wait()
        self._release()

    def _wait(self) -> None:
        with self._condition:
            self._asleep = True
            if not (self._ending or self._unwritten()):
                seconds = (self._tick_at_ns - self._clock.monotonic_ns()) / _NANOSECONDS
                if seconds > 0:
                    self._condition.wait(min(seconds, 60.0))
            self._asleep = False

    def _tell_abandoned(self) -> None:
        for path in abandoned_spools(queue.directory for _, queue in self._workers):
            why = ConfigError(
                f"{path} holds records of {path.name!r}, which is not configured any more:"
                f" configure a collector of that name to deliver them, or remove {path}"
            )
            FailureReporter(path.name, 0).report("spool_abandoned", why, 0, spool=str(path))

    def _release(self) -> None:
        for _, queue in self._workers:
            queue.release()
