"""What a pipeline tells about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_collector.delivery import CollectorStatus  # noqa: TC001  msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LookupStatus", "PipelineStatus", "ShutdownReport", "report_shutdown"]


class LookupStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the questions to a look-up that enriches flow logs.

    Attributes:
        name: Its name in the configuration.
        hits: How many answers were known.
        misses: How many had to be looked up.
        failures: How many look-ups failed; their records go without names.
        entries: How many answers are kept.
        last_error: Why the last one failed; empty if none did.
    """

    name: str
    hits: int = 0
    misses: int = 0
    failures: int = 0
    entries: int = 0
    last_error: str = ""


class PipelineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The account of a pipeline.

    A flow that was taken is merged, pending or handed to the collectors; each collector's
    account balances in itself (`CollectorStatus`).

    Attributes:
        instance: The name of the agent, as it stands in the records.
        epoch: The start of the pipeline, nanoseconds since 1970 UTC, as in the records.
        sequence: The number of the last record that was handed to the collectors.
        flows_received: Flows that were taken.
        flows_merged: Flows that became part of an earlier one like them.
        flows_pending: Different flows that wait for the end of the window.
        flows_evicted: Flows that left early because the table was full.
        malformed: Objects that were refused because they are not the record they should be.
        collectors: The account of each collector.
        lookups: The account of each look-up that enriches flow logs.
    """

    instance: str
    epoch: int
    sequence: int
    flows_received: int
    flows_merged: int
    flows_pending: int
    flows_evicted: int
    malformed: int
    collectors: tuple[CollectorStatus, ...]
    lookups: tuple[LookupStatus, ...] = ()


class ShutdownReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline leaves behind.

    Attributes:
        complete: Whether every record was delivered, rejected or dropped by policy.
        undelivered: How many records were still waiting, over all collectors.
        spooled: How many of them are on disk, to be delivered after the next start. The others
            are lost.
        stuck: The collectors that did not come back in time.
        status: The last account.
    """

    complete: bool
    undelivered: int
    spooled: int
    stuck: tuple[str, ...]
    status: PipelineStatus


def report_shutdown(status: PipelineStatus, stuck: Sequence[str]) -> ShutdownReport:
    """Sum up what is left.

    Args:
        status: The last account.
        stuck: The collectors that did not come back in time.
    """
    spooled = undelivered = 0
    for account in status.collectors:
        undelivered += account.queued
        if account.spool is not None:
            spooled += account.queued
            undelivered += account.spool.unwritten
    return ShutdownReport(
        complete=not undelivered and not status.flows_pending,
        undelivered=undelivered,
        spooled=spooled,
        stuck=tuple(stuck),
        status=status,
    )
