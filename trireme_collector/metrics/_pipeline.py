"""The account of a pipeline as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trireme_collector
from trireme_collector.metrics._model import HealthCheck, Metric, MetricKind, MetricSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trireme_collector.delivery import CollectorStatus, SpoolHealth
    from trireme_collector.pipeline import PipelineStatus

__all__ = ["PIPELINE_METRICS", "PipelineMetrics"]

_NANOSECONDS = 1_000_000_000
_COLLECTOR = ("collector",)

_AGENT: Final = MetricSpec(
    "trireme_agent", MetricKind.INFO, "Who is measured.", ("instance", "version")
)
_STARTED: Final = MetricSpec(
    "trireme_start_time_seconds",
    MetricKind.GAUGE,
    "When the pipeline was started, seconds since 1970 UTC.",
)
_DROPPED: Final = MetricSpec(
    "trireme_collector_records_dropped",
    MetricKind.COUNTER,
    "Records that were given up or left out, by reason.",
    ("collector", "reason"),
)

_OF_PIPELINE: Final[tuple[tuple[MetricSpec, Callable[[PipelineStatus], int]], ...]] = (
    (
        MetricSpec("trireme_records", MetricKind.COUNTER, "Records handed to the collectors."),
        lambda status: status.sequence,
    ),
    (
        MetricSpec(
            "trireme_records_malformed",
            MetricKind.COUNTER,
            "Objects that were not the record they should be.",
        ),
        lambda status: status.malformed,
    ),
    (
        MetricSpec("trireme_flows_received", MetricKind.COUNTER, "Flows that were taken."),
        lambda status: status.flows_received,
    ),
    (
        MetricSpec(
            "trireme_flows_merged", MetricKind.COUNTER, "Flows that became part of one like them."
        ),
        lambda status: status.flows_merged,
    ),
    (
        MetricSpec(
            "trireme_flows_evicted",
            MetricKind.COUNTER,
            "Flows that left early: the table was full.",
        ),
        lambda status: status.flows_evicted,
    ),
    (
        MetricSpec(
            "trireme_flows_pending", MetricKind.GAUGE, "Flows that wait for the end of the window."
        ),
        lambda status: status.flows_pending,
    ),
)

_OF_COLLECTOR: Final[tuple[tuple[MetricSpec, Callable[[CollectorStatus], int]], ...]] = (
    (
        MetricSpec(
            "trireme_collector_records_accepted",
            MetricKind.COUNTER,
            "Records given to the collector.",
            _COLLECTOR,
        ),
        lambda account: account.accepted,
    ),
    (
        MetricSpec(
            "trireme_collector_records_delivered",
            MetricKind.COUNTER,
            "Records that the collector took.",
            _COLLECTOR,
        ),
        lambda account: account.delivered,
    ),
    (
        MetricSpec(
            "trireme_collector_records_dead_lettered",
            MetricKind.COUNTER,
            "Records kept in the file of dead letters.",
            _COLLECTOR,
        ),
        lambda account: account.dead_lettered,
    ),
    (
        MetricSpec(
            "trireme_collector_records_queued", MetricKind.GAUGE, "Records that wait.", _COLLECTOR
        ),
        lambda account: account.queued,
    ),
    (
        MetricSpec(
            "trireme_collector_queued_bytes",
            MetricKind.GAUGE,
            "What the waiting records take, estimated.",
            _COLLECTOR,
        ),
        lambda account: account.queued_bytes,
    ),
    (
        MetricSpec(
            "trireme_collector_failed_attempts",
            MetricKind.COUNTER,
            "How often sending was put off.",
            _COLLECTOR,
        ),
        lambda account: account.failed_attempts,
    ),
    (
        MetricSpec(
            "trireme_collector_retrying",
            MetricKind.GAUGE,
            "1 while the collector waits after a failure.",
            _COLLECTOR,
        ),
        lambda account: account.retrying,
    ),
    (
        MetricSpec(
            "trireme_collector_credentials_refused",
            MetricKind.GAUGE,
            "1 while the receiver refuses the credentials.",
            _COLLECTOR,
        ),
        lambda account: account.credentials_refused,
    ),
)

_OF_SPOOL: Final[tuple[tuple[MetricSpec, Callable[[SpoolHealth], int]], ...]] = (
    (
        MetricSpec(
            "trireme_spool_unwritten_records",
            MetricKind.GAUGE,
            "Records that wait in memory for the disk.",
            _COLLECTOR,
        ),
        lambda spool: spool.unwritten,
    ),
    (
        MetricSpec(
            "trireme_spool_undurable_records",
            MetricKind.GAUGE,
            "Waiting records that a loss of power could still cost.",
            _COLLECTOR,
        ),
        lambda spool: spool.undurable,
    ),
    (
        MetricSpec(
            "trireme_spool_bytes",
            MetricKind.GAUGE,
            "What the spool takes on disk.",
            _COLLECTOR,
        ),
        lambda spool: spool.size_bytes,
    ),
    (
        MetricSpec(
            "trireme_spool_damaged_places",
            MetricKind.COUNTER,
            "Damaged places that were found and kept aside.",
            _COLLECTOR,
        ),
        lambda spool: spool.damaged,
    ),
)
_SPOOL_FAILURES: Final = MetricSpec(
    "trireme_spool_failures",
    MetricKind.COUNTER,
    "Calls of the disk that failed since the start, by what they were for.",
    ("collector", "operation"),
)

_LOOKUPS: Final = MetricSpec(
    "trireme_enrichment_lookups",
    MetricKind.COUNTER,
    "Addresses that were looked up for flow logs: known already (hit), asked for (miss), failed.",
    ("lookup", "result"),
)
_LOOKUP_ENTRIES: Final = MetricSpec(
    "trireme_enrichment_entries",
    MetricKind.GAUGE,
    "Answers that are kept.",
    ("lookup",),
)

PIPELINE_METRICS: Final = (
    _AGENT,
    _STARTED,
    *(spec for spec, _ in _OF_PIPELINE),
    *(spec for spec, _ in _OF_COLLECTOR),
    _DROPPED,
    *(spec for spec, _ in _OF_SPOOL),
    _SPOOL_FAILURES,
    _LOOKUPS,
    _LOOKUP_ENTRIES,
)
"""Every metric of a pipeline."""


class _HasStatus(Protocol):
    def status(self) -> PipelineStatus: ...


class PipelineMetrics:
    """Measures a pipeline and its collectors.

    Args:
        pipeline: The pipeline.
    """

    def __init__(self, pipeline: _HasStatus) -> None:
        """Keep the pipeline; read nothing yet."""
        self._pipeline = pipeline

    def metrics(self) -> Iterator[Metric]:
        """Read the account."""
        status = self._pipeline.status()
        version = trireme_collector.__version__
        yield Metric(_AGENT, [((status.instance, version), 1)])
        yield Metric(_STARTED, [((), status.epoch / _NANOSECONDS)])
        for spec, read in _OF_PIPELINE:
            yield Metric(spec, [((), read(status))])
        accounts = status.collectors
        for spec, of in _OF_COLLECTOR:
            yield Metric(spec, [((account.name,), of(account)) for account in accounts])
        dropped = [
            ((account.name, reason), count)
            for account in accounts
            for reason, count in account.dropped_by_reason.items()
        ]
        yield Metric(_DROPPED, dropped)
        spools = [(account.name, account.spool) for account in accounts if account.spool]
        for spec, of_spool in _OF_SPOOL:
            yield Metric(spec, [((name,), of_spool(spool)) for name, spool in spools])
        failures = [
            ((name, operation), count)
            for name, spool in spools
            for operation, count in (
                ("append", spool.write_failures),
                ("sync", spool.sync_failures),
                ("account", spool.state_failures),
                ("read", spool.read_failures),
            )
        ]
        yield Metric(_SPOOL_FAILURES, failures)
        lookups = [
            ((lookup.name, result), count)
            for lookup in status.lookups
            for result, count in (
                ("hit", lookup.hits),
                ("miss", lookup.misses),
                ("failure", lookup.failures),
            )
        ]
        yield Metric(_LOOKUPS, lookups)
        entries = [((lookup.name,), lookup.entries) for lookup in status.lookups]
        yield Metric(_LOOKUP_ENTRIES, entries)

    def health(self) -> Iterator[HealthCheck]:
        """Tell which collectors wait; records are kept for them, so that harms no readiness."""
        accounts = self._pipeline.status().collectors
        waiting = sum(account.retrying for account in accounts)
        refused = sum(account.credentials_refused for account in accounts)
        detail = f"{waiting} of {len(accounts)} wait after a failure"
        if refused:
            detail += f", {refused} for credentials that were refused"
        yield HealthCheck("collectors", ok=True, detail=detail)
