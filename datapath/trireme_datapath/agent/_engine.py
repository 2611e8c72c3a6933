"""The engine of an agent, as its configuration wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.agent._accounting import accept_mark_of
from trireme_datapath.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_datapath.agent.config import DatapathConfig
    from trireme_datapath.policy import CompiledPolicy

__all__ = ["build_engine"]


def build_engine(
    config: DatapathConfig,
    policy: CompiledPolicy,
    queue_totals: Callable[[], Mapping[str, int]],
) -> Engine:
    """Have an engine judge by a policy, and note what is wanted.

    Args:
        config: What is wanted.
        policy: The policy.
        queue_totals: Gives what the kernel counted, for the reports of counters.
    """
    engine = Engine(
        policy,
        config.limits,
        refuse_mark=config.refuse_mark if config.refuse else None,
        accept_mark=accept_mark_of(config),
    )
    if config.dns.enabled:
        engine.observe_dns(config.dns.limits)
    if config.connection_exceptions:
        engine.report_exceptions()
    if config.counter_report_seconds:
        engine.report_counters(queue_totals, interval_seconds=config.counter_report_seconds)
    return engine
