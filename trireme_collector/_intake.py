"""Where events come in: flows are merged, records numbered and queued for those who take them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from msgspec.structs import replace

from trireme_collector.aggregation import FlowAggregator
from trireme_collector.delivery import FailureReporter, estimate_size
from trireme_collector.hashing import stats_user_hash
from trireme_collector.records import Checkpoint, CollectorCount, TraceReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.aggregation import AggregationConfig
    from trireme_collector.delivery import Clock, CollectorStatus, DeliveryWorker
    from trireme_collector.records import (
        ConnectionExceptionReport,
        ContainerRecord,
        CounterReport,
        DNSRequestReport,
        FlowRecord,
        IPTablesTrace,
        PacketReport,
        PingReport,
        Record,
        UserRecord,
    )

__all__ = ["Intake"]

_EMITTED_AT_ONCE = 256  # others may hand in their records between two such portions
_LOG_INTERVAL_NS = 60_000_000_000


class Intake:
    """Takes events from any thread, at once and without ever raising.

    Args:
        workers: The queues to feed.
        aggregation: How flows are merged.
        instance: The name of the agent in the records.
        clock: Where the time comes from.

    Attributes:
        instance: The name of the agent in the records.
        epoch: When the numbering began, nanoseconds since 1970 UTC.
    """

    def __init__(
        self,
        workers: tuple[DeliveryWorker, ...],
        *,
        aggregation: AggregationConfig | None,
        instance: str,
        clock: Clock,
    ) -> None:
        """Start with nothing taken."""
        self._clock = clock
        self._workers = workers
        self.instance = instance
        self.epoch = clock.time_ns()
        self._by_kind: dict[type[Record], tuple[DeliveryWorker, ...]] = {}
        self._aggregator = FlowAggregator(aggregation)
        self._aggregator_lock = threading.Lock()
        self._emit_lock = threading.Lock()
        self._sequence = 0
        self._malformed = 0
        self._closing = False
        self._reporter = FailureReporter("pipeline", _LOG_INTERVAL_NS)

    def collect_flow_event(self, record: FlowRecord) -> None:
        """Take a flow that was judged."""
        try:
            with self._aggregator_lock:
                # Nothing may wait in the table any more once the shutdown has emptied it.
                flows = (record,) if self._closing else self._aggregator.add(record)
            if flows:
                self._emit_all(flows)
        except Exception as error:  # noqa: BLE001  the caller judges packets and must go on
            self._refuse(error)

    def collect_flow_events(self, records: Sequence[FlowRecord]) -> None:
        """Take flows in their order: the same as one by one, for less."""
        flows: list[FlowRecord] = []
        with self._aggregator_lock:
            add = self._aggregator.add
            for record in records:
                try:
                    flows += (record,) if self._closing else add(record)
                except Exception as error:  # noqa: BLE001  one malformed flow must cost one flow
                    self._refuse(error)
        self._emit_all(flows)

    def collect_container_event(self, record: ContainerRecord) -> None:
        """Take a container that came, changed or went."""
        self._collect(record)

    def collect_user_event(self, record: UserRecord) -> None:
        """Take a user that was seen; one without an id is given it (`stats_user_hash`)."""
        try:
            self._emit((record if record.id else stats_user_hash(record),))
        except Exception as error:  # noqa: BLE001  the caller judges packets and must go on
            self._refuse(error)

    def collect_trace_event(self, records: Sequence[str]) -> None:
        """Take lines of an iptables trace."""
        try:
            self._emit((TraceReport(lines=tuple(records)),))
        except Exception as error:  # noqa: BLE001  the caller judges packets and must go on
            self._refuse(error)

    def collect_packet_event(self, report: PacketReport) -> None:
        """Take a packet that was traced or dropped outside any flow."""
        self._collect(report)

    def collect_counter_event(self, counter_report: CounterReport) -> None:
        """Take the counters of a processing unit."""
        self._collect(counter_report)

    def collect_dns_requests(self, request: DNSRequestReport) -> None:
        """Take a DNS request of a processing unit."""
        self._collect(request)

    def collect_ping_event(self, report: PingReport) -> None:
        """Take a step of a ping."""
        self._collect(report)

    def collect_connection_exception_report(self, report: ConnectionExceptionReport) -> None:
        """Take a connection that was tried and never answered."""
        self._collect(report)

    def collect_iptables_trace(self, trace: IPTablesTrace) -> None:
        """Take the parsed way of packets through the rules."""
        self._collect(trace)

    def collect_checkpoint(self, record: Checkpoint) -> None:
        """Take the counts of another pipeline."""
        self._collect(record)

    def _abandon(self) -> None:
        """Take events for nobody, with locks that no thread of another process holds."""
        self._aggregator_lock, self._emit_lock = threading.Lock(), threading.Lock()
        self._aggregator = FlowAggregator(self._aggregator.config)
        self._workers, self._by_kind = (), {}
        self._closing = True

    def _collect(self, record: Record) -> None:
        try:
            self._emit((record,))
        except Exception as error:  # noqa: BLE001  the caller judges packets and must go on
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        self._malformed += 1
        self._reporter.report("record_malformed", error, self._clock.monotonic_ns())

    def _emit_pending(self) -> None:
        with self._aggregator_lock:
            flows = self._aggregator.take_all()
        self._emit_all(flows)

    def _emit_all(self, flows: Sequence[FlowRecord]) -> None:
        for start in range(0, len(flows), _EMITTED_AT_ONCE):
            portion = flows[start : start + _EMITTED_AT_ONCE]
            try:
                self._emit(portion)
            except Exception:  # noqa: BLE001  one malformed flow must cost one flow
                for flow in portion:
                    self._collect(flow)

    def _emit(self, records: Sequence[Record]) -> None:
        """Number records of one kind and put them into the queues of those who take them."""
        sizes = [estimate_size(record) for record in records]
        with self._emit_lock:
            self._queue(records, sizes)

    def _emit_checkpoint(self, *, final: bool) -> None:
        """Count, and tell it as the next record: nothing comes between the two."""
        with self._emit_lock:
            record = Checkpoint(
                timestamp_ns=self._clock.time_ns(),
                final=final,
                collectors=tuple(_count(worker.status()) for worker in self._workers),
            )
            self._queue((record,), (estimate_size(record),))

    def _queue(self, records: Sequence[Record], sizes: Sequence[int]) -> None:
        # Under one lock, numbering and queueing: the numbers rise in every queue.
        instance, epoch, sequence = self.instance, self.epoch, self._sequence
        numbered = []
        for record in records:
            sequence += 1
            numbered.append(replace(record, instance=instance, epoch=epoch, sequence=sequence))
        self._sequence = sequence
        for worker in self._takers(type(records[0])):
            worker.put(numbered, sizes)

    def _takers(self, kind: type[Record]) -> tuple[DeliveryWorker, ...]:
        takers = self._by_kind.get(kind)
        if takers is None:
            takers = tuple(worker for worker in self._workers if kind in worker.kinds)
            self._by_kind[kind] = takers
        return takers


def _count(account: CollectorStatus) -> CollectorCount:
    # What waits for the disk comes before the checkpoint there: whoever reads it has them, too.
    unwritten = account.spool.unwritten if account.spool is not None else 0
    return CollectorCount(
        name=account.name,
        accepted=account.accepted + unwritten,
        accepted_in_epoch=account.given,
        delivered=account.delivered,
        dead_lettered=account.dead_lettered,
        dropped=account.dropped,
        queued=account.queued + unwritten,
    )
