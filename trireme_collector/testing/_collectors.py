"""Collectors that remember, and collectors that fail."""

from __future__ import annotations

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

__all__ = ["FailingCollector", "MemoryCollector"]

KindT = TypeVar("KindT")


class MemoryCollector:
    """Remembers everything it is given, in order.

    It is an `EventCollector` with the extension methods, so it can stand in for a pipeline, and
    a batch collector, so it can stand behind one.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.records: list[Record] = []
        self.batches: list[tuple[Record, ...]] = []
        self.calls: list[str] = []

    def deliver(self, batch: Sequence[Record]) -> None:
        """Keep the records, and that they came together."""
        self.batches.append(tuple(batch))
        self.records.extend(batch)

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
        self.records.append(record)

    def collect_container_event(self, record: ContainerRecord) -> None:
        """Keep the container event."""
        self.records.append(record)

    def collect_user_event(self, record: UserRecord) -> None:
        """Keep the user."""
        self.records.append(record)

    def collect_trace_event(self, records: Sequence[str]) -> None:
        """Keep the trace lines."""
        self.records.append(TraceReport(lines=tuple(records)))

    def collect_packet_event(self, report: PacketReport) -> None:
        """Keep the packet."""
        self.records.append(report)

    def collect_counter_event(self, counter_report: CounterReport) -> None:
        """Keep the counters."""
        self.records.append(counter_report)

    def collect_dns_requests(self, request: DNSRequestReport) -> None:
        """Keep the DNS request."""
        self.records.append(request)

    def collect_ping_event(self, report: PingReport) -> None:
        """Keep the ping."""
        self.records.append(report)

    def collect_connection_exception_report(self, report: ConnectionExceptionReport) -> None:
        """Keep the connection that was never answered."""
        self.records.append(report)

    def collect_iptables_trace(self, trace: IPTablesTrace) -> None:
        """Keep the parsed trace."""
        self.records.append(trace)

    def collect_checkpoint(self, record: Checkpoint) -> None:
        """Keep the counts."""
        self.records.append(record)


class FailingCollector(MemoryCollector):
    """Raises what it is told to, then remembers like a `MemoryCollector`.

    Args:
        errors: One entry per call of `deliver`: an error to raise, or None to take the batch.
            After the last entry every batch is taken.
        always: Makes the error of every further call instead.
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
        error = self._errors.pop(0) if self._errors else self._always and self._always()
        if error is not None:
            delivered = getattr(error, "delivered", 0)
            if delivered:
                super().deliver(batch[:delivered])
            raise error
        super().deliver(batch)
