"""The loop that joins a backend, an engine and a collector in one thread."""

from __future__ import annotations

import os
import selectors
import time
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from trireme_collector.collector import COLLECT_METHODS
from trireme_collector.records import TraceReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trireme_collector.collector import EventCollector
    from trireme_collector.records import Record

__all__ = ["Backend", "ClockWatch", "DatapathLoop", "RecordSource", "dispatch"]

_log = structlog.get_logger("trireme_datapath.loop")

_PERIOD_SECONDS: Final = 1.0
_PERIOD_NS: Final = 1_000_000_000
_JUMP_NS: Final = 1_000_000_000
_WAKES: Final = 65_536  # what a pipe holds
_LOG_PERIOD_NS: Final = 60_000_000_000  # a collector that fails, fails for every record


class Backend(Protocol):
    """What a loop needs of a backend."""

    def fileno(self) -> int:
        """Give the descriptor that is readable when packets wait."""
        ...

    def drain(self, now_ns: int) -> list[Record]:
        """Judge what waits and give the records that it caused."""
        ...


class RecordSource(Protocol):
    """What a loop needs of an engine."""

    def take_records(self, now_ns: int) -> list[Record]:
        """Give the records that were gathered since the last call."""
        ...


def dispatch(collector: EventCollector, record: Record) -> None:
    """Hand a record to the method that takes its type.

    The extension methods are optional: a record that a collector has no method for is left out.
    """
    tag = record.__struct_config__.tag
    method = getattr(collector, COLLECT_METHODS[tag], None)  # type: ignore[index]  # a text
    if method is not None:
        method(record.lines if isinstance(record, TraceReport) else record)


class ClockWatch:
    """Finds out when the clock of the machine was set.

    Args:
        steady: A clock that nobody sets, nanoseconds.
    """

    def __init__(self, steady: Callable[[], int] = time.monotonic_ns) -> None:
        """Know nothing yet."""
        self._steady = steady
        self._offset_ns: int | None = None

    def turn(self, now_ns: int) -> int:
        """Give by how much the clock was set since the last turn; 0 for less than a second."""
        offset_ns = now_ns - self._steady()
        before, self._offset_ns = self._offset_ns, offset_ns
        if before is None:
            return 0
        jump = offset_ns - before
        if abs(jump) < _JUMP_NS:  # slow corrections are no jumps, however much they add up to
            return 0
        return jump


class DatapathLoop:
    """Waits for packets, has them judged, and hands the records to a collector.

    Attributes:
        counters: ``drains``, ``records`` (handed over) and ``collector_errors`` (a collector
            raised; the record is lost to it, the loop goes on).
    """

    def __init__(
        self,
        backend: Backend,
        engine: RecordSource,
        collector: EventCollector,
        clock: Callable[[], int] = time.time_ns,
        *,
        clock_set: Callable[[int], None] | None = None,
        steady: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Join the three; nothing runs yet.

        Args:
            backend: Where packets come from.
            engine: The engine that the backend feeds.
            collector: Where records go.
            clock: Gives nanoseconds since 1970 UTC.
            clock_set: Called when that clock was set, with the nanoseconds.
            steady: A clock that nobody sets, nanoseconds.
        """
        self._clock_set = clock_set
        self._steady = steady
        self._clock_watch = ClockWatch(steady)
        self.counters = {"drains": 0, "records": 0, "collector_errors": 0}
        self._backend = backend
        self._engine = engine
        self._collector = collector
        self._clock = clock
        self._stopping = False
        self._next_log_ns = 0
        self._unlogged_errors = 0
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stop(self) -> None:
        """End `run` soon; for signal handlers and other threads, and as often as one likes."""
        self._stopping = True
        self.wake()

    def wake(self) -> None:
        """Make `run` turn once more now; for signal handlers and other threads."""
        try:
            os.write(self._wake_write, b"w")
        except OSError:
            return  # the pipe is full, so the loop wakes up; or it is closed, so the loop is over

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """Run until `stop` is called.

        Args:
            until: Asked after each turn, at least once a second; the loop ends when it says so.

        Raises:
            OSError: The backend's descriptor is of no use any more.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._backend.fileno(), selectors.EVENT_READ, data=True)
            selector.register(self._wake_read, selectors.EVENT_READ, data=False)
            next_turn_ns = 0
            while not self._stopping:
                ready = selector.select(_PERIOD_SECONDS)
                packets = any(key.data for key, _ in ready)
                if len(ready) > packets:
                    self._forget_wakes()
                now_ns = self._clock()
                jump_ns = self._clock_watch.turn(now_ns)
                if jump_ns and self._clock_set is not None:
                    _log.warning("clock_set", seconds=jump_ns / _PERIOD_NS)
                    self._clock_set(jump_ns)
                if packets:
                    self.counters["drains"] += 1
                    self._collect(self._backend.drain(now_ns), now_ns)
                steady_ns = self._steady()
                if packets or steady_ns >= next_turn_ns:
                    next_turn_ns = steady_ns + _PERIOD_NS
                    self._collect(self._engine.take_records(now_ns), now_ns)
                if until is not None and until():
                    break
        now_ns = self._clock()
        self._collect(self._engine.take_records(now_ns), now_ns)

    def close(self) -> None:
        """Close the wake pipe; the backend is its owner's to close."""
        for descriptor in (self._wake_read, self._wake_write):
            if descriptor >= 0:
                os.close(descriptor)
        self._wake_read = self._wake_write = -1
        self._stopping = True

    def hand_over(self, records: Iterable[Record]) -> None:
        """Hand records to the collector as `run` does: one that fails loses them, no more."""
        self._collect(records, self._clock())

    def _forget_wakes(self) -> None:
        try:
            os.read(self._wake_read, _WAKES)
        except OSError:
            return  # nobody woke it after all

    def _collect(self, records: Iterable[Record], now_ns: int) -> None:
        for record in records:
            self.counters["records"] += 1
            try:
                dispatch(self._collector, record)
            except Exception as error:  # noqa: BLE001  a collector may never stop the judging
                self.counters["collector_errors"] += 1
                self._unlogged_errors += 1
                if now_ns >= self._next_log_ns:
                    self._next_log_ns = now_ns + _LOG_PERIOD_NS
                    _log.error(
                        "collector_failed",
                        collector=type(self._collector).__name__,
                        error=repr(error),
                        failures=self._unlogged_errors,
                    )
                    self._unlogged_errors = 0
