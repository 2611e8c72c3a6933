"""What an agent says at its end, and of a queue that is short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_collector.filters import DROPPED_FILTERED, DROPPED_SAMPLED
from trireme_collector.pipeline import (
    ShutdownReport,  # noqa: TC001  msgspec reads the annotation at run time
)

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["AgentReport", "log_end", "records_summary", "warn_of_short_queue"]


class AgentReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent did from its start to its end.

    Attributes:
        counters: The counters of the engine.
        kernel_dropped: Packets that the kernel dropped because the queue or its socket was full.
        rules_in_place: Whether the rules that queue packets were left behind.
        shutdown: What became of the records.
    """

    counters: dict[str, int]
    kernel_dropped: int
    rules_in_place: bool
    shutdown: ShutdownReport

    def summary(self) -> str:
        """Say it in one line."""
        return (
            f"{self.counters.get('packets', 0)} packets judged,"
            f" {self.counters.get('flows_accepted', 0)} flows accepted,"
            f" {self.counters.get('flows_rejected', 0)} rejected,"
            f" {self.kernel_dropped} packets dropped by the kernel;"
            f" {records_summary(self.shutdown)}"
        )


def records_summary(shutdown: ShutdownReport) -> str:
    """Say in one line what became of the records of an agent."""
    accounts = shutdown.status.collectors
    delivered = ", ".join(
        f"{account.name} {account.delivered} of {account.accepted}" for account in accounts
    )
    left_out = sum(
        account.dropped_by_reason.get(reason, 0)
        for account in accounts
        for reason in (DROPPED_FILTERED, DROPPED_SAMPLED)
    )
    lost = sum(account.dropped for account in accounts) - left_out
    kept = sum(account.dead_lettered for account in accounts)
    return (
        f"records delivered: {delivered or 'none'};"
        f" dropped: {lost}, undelivered: {shutdown.undelivered - shutdown.spooled}"
        + (f", left in the spool: {spooled}" if (spooled := shutdown.spooled) else "")
        + (f", dead letters: {kept}" if kept else "")
        + (f", left out by filters: {left_out}" if left_out else "")
    )


def log_end(log: FilteringBoundLogger, report: AgentReport) -> None:
    """Say in the log what an agent did."""
    counters, in_place = report.counters, report.rules_in_place
    log.info(
        "agent_stopped",
        packets=counters.get("packets", 0),
        flows_accepted=counters.get("flows_accepted", 0),
        flows_rejected=counters.get("flows_rejected", 0),
        kernel_dropped=report.kernel_dropped,
        records_undelivered=report.shutdown.undelivered,
        rules="in place: their packets are dropped until an agent runs" if in_place else "none",
    )


def warn_of_short_queue(log: FilteringBoundLogger, capacity: int, asked: int) -> None:
    """Say in the log that the buffers of a queue hold fewer packets than the queue may.

    Args:
        log: The log.
        capacity: How many they hold.
        asked: How many were asked for.
    """
    if capacity < asked:
        log.warning(
            "queue_shorter_than_configured",
            packets=capacity,
            configured=asked,
            remedy="set a smaller queue_length, or raise the sysctl net.core.rmem_max",
        )
