"""Collectors that remember, that fail, and that take their time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from trireme_collector.records import (
    Checkpoint,
    ConnectionExceptionReport,
    ContainerRecord,
    CounterReport,
    DNSRequestReport,
    FlowRecord,
    IPTablesTrace,
    PacketReport,
    PingReport,
    TraceReport,
    UserRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trireme_collector.records import Record
    from trireme_collector.testing._clock import FakeClock

__all__ = ["FailingCollector", "MemoryCollector", "SlowCollector"]

KindT = TypeVar("KindT")


class MemoryCollector:
    """Remembers everything it is given, in order.

    It is an `EventCollector` with the extension methods, so it can stand in for a pipeline, and
    a batch collector, so it can stand behind one. Any thread may call it.

    Attributes:
        records: Every record, in order. What `collect_trace_event` got is a `TraceReport`.
        batches: The records of each call of `deliver`.
        calls: The names of the other calls: ``open``, ``flush``, ``reopen``, ``close``.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.records: list[Record] = []
        self.batches: list[tuple[Record, ...]] = []
        self.calls: list[str] = []
        self._came = threading.Condition()

    def deliver(self, batch: Sequence[Record]) -> None:
        """Keep the records, and that they came together."""
        with self._came:
            self.batches.append(tuple(batch))
            self.records.extend(batch)
            self._came.notify_all()

    def _collect(self, record: Record) -> None:
        """Take what one of the ``collect_*`` methods got."""
        with self._came:
            self.records.append(record)
            self._came.notify_all()

    def wait_for(self, count: int, *, timeout_seconds: float = 5.0) -> None:
        """Wait until so many records came, from other threads.

        Args:
            count: How many.
            timeout_seconds: How long to wait at most; only a test that fails waits so long.

        Raises:
            AssertionError: They did not come in time.
        """
        with self._came:
            if not self._came.wait_for(lambda: len(self.records) >= count, timeout_seconds):
                raise AssertionError(
                    f"{len(self.records)} of {count} records came within {timeout_seconds:g} s"
                )

    def open(self) -> None:
        """Note the call."""
        self.calls.append("open")

    def flush(self) -> None:
        """Note the call."""
        self.calls.append("flush")

    def reopen(self) -> None:
        """Note the call."""
        self.calls.append("reopen")

    def close(self) -> None:
        """Note the call."""
        self.calls.append("close")

    def clear(self) -> None:
        """Forget everything."""
        self.records.clear()
        self.batches.clear()
        self.calls.clear()

    def of(self, kind: type[KindT]) -> list[KindT]:
        """Give the records of one kind, in order."""
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def flows(self) -> list[FlowRecord]:
        """The flows."""
        return self.of(FlowRecord)

    @property
    def containers(self) -> list[ContainerRecord]:
        """The container events."""
        return self.of(ContainerRecord)

    @property
    def users(self) -> list[UserRecord]:
        """The users."""
        return self.of(UserRecord)

    @property
    def traces(self) -> list[TraceReport]:
        """The trace lines, one report per call."""
        return self.of(TraceReport)

    @property
    def packets(self) -> list[PacketReport]:
        """The single packets."""
        return self.of(PacketReport)

    @property
    def counters(self) -> list[CounterReport]:
        """The counter reports."""
        return self.of(CounterReport)

    @property
    def dns_requests(self) -> list[DNSRequestReport]:
        """The DNS requests."""
        return self.of(DNSRequestReport)

    @property
    def pings(self) -> list[PingReport]:
        """The ping reports."""
        return self.of(PingReport)

    @property
    def connection_exceptions(self) -> list[ConnectionExceptionReport]:
        """The connections that were never answered."""
        return self.of(ConnectionExceptionReport)

    @property
    def iptables_traces(self) -> list[IPTablesTrace]:
        """The parsed traces."""
        return self.of(IPTablesTrace)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The counts of the collectors."""
        return self.of(Checkpoint)

    def collect_flow_event(self, record: FlowRecord) -> None:
        """Keep the flow."""
        self._collect(record)

    def collect_container_event(self, record: ContainerRecord) -> None:
        """Keep the container event."""
        self._collect(record)

    def collect_user_event(self, record: UserRecord) -> None:
        """Keep the user."""
        self._collect(record)

    def collect_trace_event(self, records: Sequence[str]) -> None:
        """Keep the trace lines."""
        self._collect(TraceReport(lines=tuple(records)))

    def collect_packet_event(self, report: PacketReport) -> None:
        """Keep the packet."""
        self._collect(report)

    def collect_counter_event(self, counter_report: CounterReport) -> None:
        """Keep the counters."""
        self._collect(counter_report)

    def collect_dns_requests(self, request: DNSRequestReport) -> None:
        """Keep the DNS request."""
        self._collect(request)

    def collect_ping_event(self, report: PingReport) -> None:
        """Keep the ping."""
        self._collect(report)

    def collect_connection_exception_report(self, report: ConnectionExceptionReport) -> None:
        """Keep the connection that was never answered."""
        self._collect(report)

    def collect_iptables_trace(self, trace: IPTablesTrace) -> None:
        """Keep the parsed trace."""
        self._collect(trace)

    def collect_checkpoint(self, record: Checkpoint) -> None:
        """Keep the counts."""
        self._collect(record)


class FailingCollector(MemoryCollector):
    """Raises what it is told to, then remembers like a `MemoryCollector`.

    Args:
        errors: One entry per call of `deliver` or of a ``collect_*`` method: an error to raise, or
            None to take what is given. After the last entry everything is taken.
        always: Makes the error of every further call instead.

    Attributes:
        attempts: What each call was given, taken or not.
    """

    def __init__(
        self,
        errors: Iterable[BaseException | None] = (),
        *,
        always: Callable[[], BaseException] | None = None,
    ) -> None:
        """Start with all failures ahead."""
        super().__init__()
        self._errors = list(errors)
        self._always = always
        self.attempts: list[tuple[Record, ...]] = []

    def deliver(self, batch: Sequence[Record]) -> None:
        """Note the attempt, then fail or take the batch.

        An error that says how many records were delivered keeps those.
        """
        self.attempts.append(tuple(batch))
        error = self._next_error()
        if error is not None:
            delivered = getattr(error, "delivered", 0)
            if delivered:
                super().deliver(batch[:delivered])
            raise error
        super().deliver(batch)

    def _collect(self, record: Record) -> None:
        self.attempts.append((record,))
        error = self._next_error()
        if error is not None:
            raise error
        super()._collect(record)

    def _next_error(self) -> BaseException | None:
        if self._errors:
            return self._errors.pop(0)
        return None if self._always is None else self._always()


class SlowCollector(MemoryCollector):
    """Takes its time, by a clock that it moves itself: nobody really waits.

    Args:
        clock: The clock of whatever calls it.
        seconds: How long each call of `deliver` or of a ``collect_*`` method takes.
    """

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        """Start empty."""
        super().__init__()
        self.clock = clock
        self.seconds = seconds

    def deliver(self, batch: Sequence[Record]) -> None:
        """Let the time pass, then keep the records."""
        self.clock.advance(self.seconds)
        super().deliver(batch)

    def _collect(self, record: Record) -> None:
        self.clock.advance(self.seconds)
        super()._collect(record)
