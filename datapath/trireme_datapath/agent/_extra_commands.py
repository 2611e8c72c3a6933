"""The commands of an agent that judges packets, beside those that every agent takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from trireme_datapath.agent._lifecycle import add_lifecycle_commands
from trireme_datapath.agent._observing import observe_command
from trireme_datapath.agent._pinging import ping_command
from trireme_datapath.agent._rule_tracing import trace_rules_command
from trireme_datapath.agent._tracing import trace_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from trireme_collector.control import CommandTable, ObserveResult
    from trireme_collector.records import Record
    from trireme_datapath.lifecycle import UnitLifecycle, UserLog
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.tracing import TraceRequest

__all__ = ["Judging", "add_commands"]

ResultT = TypeVar("ResultT")


class Judging(Protocol):
    """What the commands need of an agent that judges packets."""

    units: UnitLifecycle
    users: UserLog

    def ask(self, job: Callable[[], ResultT]) -> Future[ResultT]:
        """Have something done by the thread of the loop."""
        ...

    def ask_unit(self, job: Callable[[], ResultT], context: str = "") -> Future[ResultT]:
        """Have units told of something; the result comes when packets are judged by it."""
        ...

    def ask_observe(self, asked: bool | None, uid: int = -1) -> Future[ObserveResult]:  # noqa: FBT001  None is the third
        """Only observe, or enforce."""
        ...

    def report(self, record: Record) -> None:
        """Hand a record to the collectors; from any thread."""

    def trace(self, unit: str, request: TraceRequest) -> str:
        """Report the packets of a unit for a while; in the thread of the loop."""
        ...

    def policy_in_force(self) -> CompiledPolicy:
        """Give the policy that packets are judged by; from any thread."""
        ...


def add_commands(commands: CommandTable, agent: Judging) -> None:
    """Add them to those of an agent."""
    commands.add(observe_command(agent.ask_observe))
    commands.add(trace_command(agent.trace, agent.ask))
    commands.add(ping_command(agent.policy_in_force, agent.report))
    commands.add(trace_rules_command(agent.report))
    add_lifecycle_commands(commands, agent)
