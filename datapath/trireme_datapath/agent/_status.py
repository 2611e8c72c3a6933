"""How an agent is, in one structure: put together alike, however many processes it is."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

import trireme_collector
from trireme_collector.control import AgentState, AgentStatus, HealthStatus, PacketStatus
from trireme_collector.metrics import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trireme_collector.control import (
        CrossingStatus,
        PolicyStatus,
        ProcessStatus,
        QueueStatus,
    )
    from trireme_collector.pipeline import PipelineStatus

__all__ = [
    "OBSERVE",
    "describe",
    "health_statuses",
    "observe_health",
    "packet_status",
    "status_reasons",
]

OBSERVE: Final = "observe"
"""The check that tells whether the policy is enforced at all."""


def describe(
    *,
    ending: bool,
    checks: Iterable[HealthCheck | HealthStatus],
    policy: PolicyStatus,
    packets: PacketStatus,
    records: PipelineStatus,
    processes: tuple[ProcessStatus, ...] = (),
    crossing: CrossingStatus | None = None,
) -> AgentStatus:
    """Put the parts of a status together.

    Args:
        ending: Whether the agent was told to end.
        checks: What was looked at.
        policy: The policy in force.
        packets: What was judged.
        records: The account of the records.
        processes: The processes, if there are several.
        crossing: The records between them.
    """
    checks = tuple(checks)
    if ending:
        state, reasons = AgentState.DRAINING, ["it was told to end"]
    else:
        reasons = list(status_reasons(checks, policy, records))
        state = AgentState.DEGRADED if reasons else AgentState.RUNNING
    return AgentStatus(
        state=state,
        reasons=tuple(reasons),
        program_version=trireme_collector.__version__,
        pid=os.getpid(),
        time_ns=time.time_ns(),
        health=health_statuses(checks),
        policy=policy,
        packets=packets,
        records=records,
        processes=processes,
        crossing=crossing,
    )


def observe_health(policy: PolicyStatus) -> HealthCheck:
    """Tell whether what the policy rejects is dropped; somebody asked for it if it is not."""
    detail = "the policy is enforced"
    if policy.observe_only:
        detail = f"not enforcing: observe mode is on, by {policy.observe_by or 'policy'}"
    return HealthCheck(OBSERVE, ok=not policy.observe_only, detail=detail, essential=False)


def health_statuses(checks: Iterable[HealthCheck | HealthStatus]) -> tuple[HealthStatus, ...]:
    """Say what was looked at in the words of a status."""
    return tuple(
        HealthStatus(
            name=one.name,
            ok=one.ok,
            detail=one.detail,
            vital=one.vital,
            essential=one.essential,
        )
        for one in checks
    )


def status_reasons(
    checks: Iterable[HealthCheck | HealthStatus], policy: PolicyStatus, records: PipelineStatus
) -> Iterable[str]:
    """Say why an agent is not simply running, if it is not."""
    for check in checks:
        if not check.ok:
            yield check.detail if check.name == OBSERVE else f"{check.name}: {check.detail}"
    if policy.refused:
        yield "the last reload was refused; the policy before it stays in force"
    for account in records.collectors:
        if account.credentials_refused:
            yield f"collector {account.name}: its credentials are refused"
        elif account.retrying:
            yield f"collector {account.name}: it waits after a failure"


def packet_status(counters: Mapping[str, int], queue: QueueStatus | None) -> PacketStatus:
    """Say what one engine counted at one moment."""
    return PacketStatus(
        exact=True,
        judged=counters.get("packets", 0),
        denied=counters.get("packets_denied", 0),
        counters=dict(sorted(counters.items())),
        queue=queue,
    )
