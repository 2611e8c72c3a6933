"""The collector that an agent holds: it takes every event and feeds all other collectors."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trireme_collector._collector_names import name_collectors
from trireme_collector._fork import leave_in_child
from trireme_collector._host_name import host_name
from trireme_collector._intake import Intake
from trireme_collector._pipeline_status import PipelineStatus, ShutdownReport, report_shutdown
from trireme_collector.delivery import (
    DeliveryConfig,
    DeliveryWorker,
    SpoolWriter,
    SystemClock,
    adapt,
)
from trireme_collector.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from trireme_collector.aggregation import AggregationConfig
    from trireme_collector.delivery import Clock
    from trireme_collector.delivery._spool_queue import SpoolQueue
    from trireme_collector.enrichment import Enrichment
    from trireme_collector.filters import RecordFilter
    from trireme_collector.registry import Registry

__all__ = ["Pipeline", "PipelineStatus", "ShutdownReport", "build_pipeline"]

_NANOSECONDS = 1_000_000_000
_GRACE_SECONDS = 0.5  # for a collector's close() after the deadline has stopped its deliveries


class Pipeline(Intake):
    """Takes events, merges flows, numbers records and feeds each collector on its own.

    Its ``collect_*`` methods may be called from any thread, return at once and never raise.
    Records wait before `start` and are delivered after it. Where `DeliveryConfig` names a state
    directory, they wait on disk: what was accepted there is delivered after a crash, too.

    Args:
        collectors: The collectors by name, or a sequence of them.
        aggregation: How flows are merged.
        delivery: What stands around each collector; a mapping gives it by name.
        filters: Which records a collector gets, by its name; all of them by default.
        instance: The name of the agent in the records; the host name by default.
        checkpoint_seconds: How often the collectors get a `Checkpoint`, besides the one at the
            end, and with a spool the one at the start; 0 for never, not even then. The program
            does it every minute.
        enrichment: The look-ups that collectors were given; they live as long as the pipeline.
        clock: Where the time comes from.
        threads: Whether `start` runs threads. Without them the owner calls `tick`.

    Raises:
        ConfigError: The name of a collector cannot be that of a directory, for its spool.
        PluginError: A collector takes no records at all.
    """

    def __init__(  # noqa: PLR0913  all but the first are optional, and by name
        self,
        collectors: Mapping[str, object] | Sequence[object],
        *,
        aggregation: AggregationConfig | None = None,
        delivery: DeliveryConfig | Mapping[str, DeliveryConfig] | None = None,
        filters: Mapping[str, RecordFilter] | None = None,
        instance: str = "",
        checkpoint_seconds: float = 0.0,
        enrichment: Enrichment | None = None,
        clock: Clock | None = None,
        threads: bool = True,
    ) -> None:
        """Build the workers; open and start nothing."""
        clock = clock or SystemClock()
        workers: list[DeliveryWorker] = []
        spools: list[tuple[DeliveryWorker, SpoolQueue]] = []
        for name, collector in name_collectors(collectors):
            config = delivery.get(name) if isinstance(delivery, Mapping) else delivery
            config = config or DeliveryConfig()
            queue = _spool_queue(name, config)
            worker = DeliveryWorker(
                name,
                adapt(collector, name=name),
                config,
                queue=queue,
                chosen=None if filters is None else filters.get(name),
                clock=clock,
            )
            workers.append(worker)
            if queue is not None:
                spools.append((worker, queue))
        super().__init__(
            tuple(workers), aggregation=aggregation, instance=instance or host_name(), clock=clock
        )
        self._threads = threads
        self._enrichment = enrichment
        self._writer = SpoolWriter(spools, clock)
        self._has_spools = bool(spools)
        self._checkpoint_ns = round(checkpoint_seconds * _NANOSECONDS)
        self._next_checkpoint_ns = 0
        self._timer: threading.Thread | None = None
        self._ending = threading.Event()
        self._started = False
        self._report: ShutdownReport | None = None

    def start(self) -> Self:
        """Open the spools and the collectors and begin to deliver.

        Raises:
            ConfigError: A collector, or its spool, cannot work as it is configured; those opened
                are closed.
            PluginError: A collector failed to open by a mistake of its own.
        """
        if self._started:
            return self
        opened: list[DeliveryWorker] = []
        now_ns = self._clock.monotonic_ns()
        self._writer.open(self.epoch)
        try:
            if self._enrichment is not None:
                self._enrichment.open()
            for worker in self._workers:
                opened.append(worker)
                try:
                    worker.open()
                except DeliveryError as error:
                    # The receiver is away; delivery will try again, and that is its business.
                    self._reporter.report("open_failed", error, now_ns, name=worker.name)
        except BaseException:
            for worker in opened:
                worker.finish(now_ns)
            self._writer.close(0)
            if self._enrichment is not None:
                self._enrichment.close()
            raise
        self._started = True
        leave_in_child(self._leave)
        self._next_checkpoint_ns = now_ns + self._checkpoint_ns
        if self._checkpoint_ns and self._has_spools:
            # What was counted before this epoch: a receiver needs it to tell the two apart.
            self._emit_checkpoint(final=False)
        if self._threads:
            self._writer.start()
            for worker in self._workers:
                worker.start()
            self._timer = threading.Thread(
                target=self._run_timer, name="trireme-pipeline", daemon=True
            )
            self._timer.start()
        return self

    def tick(self, now_ns: int | None = None) -> None:
        """Do what is due: end the window, tell the counts and, without threads, deliver.

        Args:
            now_ns: The time of a clock that does not jump; the pipeline's own by default.
        """
        now_ns = self._clock.monotonic_ns() if now_ns is None else now_ns
        with self._aggregator_lock:
            flows = self._aggregator.take_due(now_ns)
        self._emit_all(flows)
        if self._started and self._checkpoint_ns and now_ns >= self._next_checkpoint_ns:
            self._next_checkpoint_ns = now_ns + self._checkpoint_ns
            self._emit_checkpoint(final=False)
        if not self._threads:
            self._deliver(now_ns)

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Deliver everything that was taken so far, as far as the collectors take it.

        Args:
            timeout_seconds: How long to wait for the collectors.

        Returns:
            Whether nothing of it is left.
        """
        self._emit_pending()
        end_ns = self._clock.monotonic_ns() + round(timeout_seconds * _NANOSECONDS)
        written = self._writer.flush(timeout_seconds)
        marks = [worker.request_flush() for worker in self._workers]
        if not (self._threads and self._started):
            if self._started:
                self._deliver(self._clock.monotonic_ns())
            return written and all(map(DeliveryWorker.is_settled, self._workers, marks))
        return written and all(
            worker.wait_settled(mark, self._seconds_until(end_ns))
            for worker, mark in zip(self._workers, marks, strict=True)
        )

    def reopen(self) -> None:
        """Make every collector open its files or sockets anew, as after a log rotation.

        What enriches flow logs is built anew, too.
        """
        if self._enrichment is not None:
            self._enrichment.reopen()
        for worker in self._workers:
            worker.request_reopen()
        if not self._threads and self._started:
            self._deliver(self._clock.monotonic_ns())

    def close(self, deadline_seconds: float = 5.0) -> ShutdownReport:
        """Stop the intake, deliver what waits until the deadline, and close the collectors.

        Args:
            deadline_seconds: How long to go on delivering.

        Returns:
            What was left. A second call gives the same report.
        """
        if self._report is not None:
            return self._report
        self._ending.set()
        if self._timer is not None:
            self._timer.join(deadline_seconds)
        with self._aggregator_lock:
            self._closing = True
            flows = self._aggregator.take_all()
        self._emit_all(flows)
        if self._started and self._checkpoint_ns:
            self._emit_checkpoint(final=True)
        now_ns = self._clock.monotonic_ns()
        end_ns = now_ns + round(deadline_seconds * _NANOSECONDS)
        self._writer.flush(self._seconds_until(end_ns))
        for worker in self._workers:
            worker.request_close(end_ns)
        stuck: list[str] = []
        if self._started and self._threads:
            for worker in self._workers:
                if not worker.join(self._seconds_until(end_ns) + _GRACE_SECONDS):
                    stuck.append(worker.name)  # noqa: PERF401  each join uses up some of the time
        elif self._started:
            self._deliver(now_ns, end_ns)
            for worker in self._workers:
                worker.finish(now_ns)
        self._writer.close(self._seconds_until(end_ns) + _GRACE_SECONDS)
        if self._enrichment is not None:
            self._enrichment.close()
        self._report = report_shutdown(self.status(), stuck)
        return self._report

    def status(self) -> PipelineStatus:
        """Give the account of the pipeline and of each collector."""
        with self._aggregator_lock:
            aggregator = self._aggregator
            received, merged = aggregator.received, aggregator.merged
            evicted, pending = aggregator.evicted, len(aggregator)
        return PipelineStatus(
            instance=self.instance,
            epoch=self.epoch,
            sequence=self._sequence,
            flows_received=received,
            flows_merged=merged,
            flows_pending=pending,
            flows_evicted=evicted,
            malformed=self._malformed,
            collectors=tuple(worker.status() for worker in self._workers),
            lookups=() if self._enrichment is None else self._enrichment.status(),
        )

    def _leave(self) -> None:
        """Do nothing any more: in a child, the pipeline belongs to the process that was forked.

        Called in every child. What is reported there goes nowhere, and `close` touches neither
        files nor receivers, so that the parent goes on as if nothing had been.
        """
        self._abandon()
        self._writer = SpoolWriter((), self._clock)
        self._enrichment = None
        self._timer = None
        self._started = False

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, with the default deadline."""
        self.close()

    def _deliver(self, now_ns: int, end_ns: int | None = None) -> None:
        """Deliver what is due now, each batch only if it begins before the end."""
        self._writer.step(now_ns)
        for worker in self._workers:
            again_ns: int | None = now_ns
            while again_ns is not None and again_ns <= now_ns:
                if end_ns is not None and self._clock.monotonic_ns() >= end_ns:
                    return
                again_ns = worker.step(now_ns)

    def _seconds_until(self, end_ns: int) -> float:
        return max(0.0, (end_ns - self._clock.monotonic_ns()) / _NANOSECONDS)

    def _run_timer(self) -> None:
        # A quarter of the window: a flow leaves at most that much late.
        quarter_seconds = self._aggregator.config.window_seconds / 4
        checkpoint_seconds = self._checkpoint_ns / _NANOSECONDS
        pauses = [seconds for seconds in (quarter_seconds, checkpoint_seconds) if seconds]
        if not pauses:
            return  # nothing ever waits
        self.tick()
        while not self._ending.wait(min(pauses)):
            self.tick()


def _spool_queue(name: str, config: DeliveryConfig) -> SpoolQueue | None:
    """Give the queue on disk of a collector that has a directory for it."""
    if not (config.state_directory and config.spool.enabled):
        return None
    # Half of what delivery takes to import, and not everybody has a state directory.
    from trireme_collector.delivery._spool_queue import SpoolQueue  # noqa: PLC0415  see above

    return SpoolQueue(name, config)


def build_pipeline(  # noqa: PLR0913  all but two are optional, and by name
    collectors: Mapping[str, Mapping[str, object]],
    registry: Registry,
    *,
    aggregation: AggregationConfig | None = None,
    delivery: DeliveryConfig | None = None,
    instance: str = "",
    checkpoint_seconds: float = 0.0,
    enrichment: Enrichment | None = None,
    clock: Clock | None = None,
    threads: bool = True,
) -> Pipeline:
    """Build a pipeline from configuration tables.

    Args:
        collectors: One table per collector, by name. ``type`` names the kind of collector (the
            name itself by default), ``delivery`` may hold a `DeliveryConfig` of its own,
            ``filter`` a `FilterConfig`; all other keys are the collector's options.
        registry: Where the kinds of collectors come from.
        aggregation: How flows are merged.
        delivery: What stands around each collector that has no ``delivery`` of its own.
        instance: The name of the agent in the records.
        checkpoint_seconds: How often the collectors get a `Checkpoint`; 0 for never.
        enrichment: The look-ups of the configuration; the pipeline opens and closes them.
        clock: Where the time comes from.
        threads: Whether `Pipeline.start` runs threads.

    Raises:
        ConfigError: Options are wrong; all of them are listed, each with its path.
        PluginError: A kind of collector is unknown, blocked or broken.
    """
    # Reading tables takes twice as long to import as all the rest, and not every user has any.
    from trireme_collector._pipeline_build import build_collectors  # noqa: PLC0415  see above

    instance = instance or host_name()
    built, deliveries, filters = build_collectors(
        collectors,
        registry,
        instance=instance,
        delivery=delivery or DeliveryConfig(),
        enrichment=enrichment,
    )
    return Pipeline(
        built,
        aggregation=aggregation,
        delivery=deliveries,
        filters=filters,
        instance=instance,
        checkpoint_seconds=checkpoint_seconds,
        enrichment=enrichment,
        clock=clock,
        threads=threads,
    )
