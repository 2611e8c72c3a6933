"""The commands that every agent takes: status, reload and drain."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

import trireme_collector
from trireme_collector.control import (
    AgentState,
    AgentStatus,
    CommandTable,
    ControlCommand,
    ControlServer,
    DrainArguments,
    DrainResult,
    HealthStatus,
    Later,
    NoArguments,
    PacketStatus,
    PolicyStatus,
    QueueStatus,
    ReloadResult,
)
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.control import ControlConfig, Peer
    from trireme_collector.metrics import HealthCheck
    from trireme_collector.pipeline import Pipeline, PipelineStatus, ShutdownReport
    from trireme_datapath.agent._parts import PacketBackend
    from trireme_datapath.engine import Engine

__all__ = ["AgentControl", "Controlled", "status_reasons"]

_STATUS_SECONDS: Final = 2.0  # a loop that does not turn meanwhile is shown as it is
_RELOAD_SECONDS: Final = 60.0  # a policy of some hundred thousand rules takes a few seconds
_AFTER_DRAIN_SECONDS: Final = 30.0  # collectors are closed, rules removed


class Controlled(Protocol):
    """What the commands need of an agent."""

    engine: Engine
    pipeline: Pipeline

    def policy_status(self) -> PolicyStatus:
        """Tell which policy is in force."""
        ...

    def health(self) -> Iterable[HealthCheck]:
        """Tell what works."""
        ...

    def held_queue(self) -> tuple[int, PacketBackend | None]:
        """Give the number of the queue, and what holds it while it is held."""
        ...

    def ask_status(self, look: Callable[[], PacketStatus]) -> Future[PacketStatus]:
        """Look between two turns of the loop."""
        ...

    def ask_reload(self) -> Future[ReloadResult]:
        """Read the files again, between two turns of the loop."""
        ...

    def ask_drain(self, deadline_seconds: float) -> None:
        """End; deliver until the deadline."""


class AgentControl:
    """Takes commands for an agent over its control socket.

    Args:
        config: Where.
        agent: Who obeys.

    Attributes:
        commands: The commands; others may be added before `open`.
    """

    def __init__(self, config: ControlConfig, agent: Controlled) -> None:
        """Make the commands; open nothing."""
        self.commands = CommandTable()
        self._config = config
        self._agent = agent
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.control")
        self._server: ControlServer | None = None
        self._ending = False
        self._ended: Future[DrainResult] = Future()
        self._add_commands()

    def _add_commands(self) -> None:
        self.commands.add(
            ControlCommand(
                name="status",
                summary="Tell everything that is counted.",
                arguments=NoArguments,
                result=AgentStatus,
                handler=self._status,
            )
        )
        self.commands.add(
            ControlCommand(
                name="reload",
                summary="Read the configuration and the policy again.",
                arguments=NoArguments,
                result=ReloadResult,
                handler=self._reload,
            )
        )
        self.commands.add(
            ControlCommand(
                name="drain",
                summary="Stop, deliver what waits until a deadline, and tell what is left.",
                arguments=DrainArguments,
                result=DrainResult,
                handler=self._drain,
            )
        )

    def open(self) -> None:
        """Listen, if the configuration does not forbid it.

        What the configuration does not demand is an offer: where it cannot be made, the log
        says so.

        Raises:
            ConfigError: What the configuration demands is impossible.
        """
        if not self._config.enabled:
            return
        server = ControlServer(self._config, self.commands)
        try:
            server.open()
        except ConfigError as error:
            if self._config.is_demanded:
                raise
            self._log.warning("control_unavailable", reason=str(error))
            return
        self._server = server

    def start(self) -> None:
        """Answer from now on."""
        if self._server is not None:
            self._server.start()

    def end(self) -> None:
        """Note that no more packets are taken."""
        self._ending = True

    def close(self, shutdown: ShutdownReport | None = None, *, rules_in_place: bool = True) -> None:
        """Tell who asked for the end how it was, and answer nobody any more.

        Args:
            shutdown: What became of the records.
            rules_in_place: Whether the rules that queue packets are left.
        """
        if shutdown is not None and not self._ended.done():
            result = DrainResult(
                complete=shutdown.complete,
                undelivered=shutdown.undelivered,
                spooled=shutdown.spooled,
                stuck=shutdown.stuck,
                rules_in_place=rules_in_place,
                status=shutdown.status,
            )
            self._ended.set_result(result)
        if self._server is not None:
            self._server.close()
            self._server = None

    def _status(self, _arguments: NoArguments, _peer: Peer) -> AgentStatus | Later[AgentStatus]:
        if self._ending:
            return self._describe(self._look())
        return Later(
            self._agent.ask_status(self._look),
            self._describe,
            patience_seconds=_STATUS_SECONDS,
            otherwise=lambda: self._describe(msgspec.structs.replace(self._look(), exact=False)),
        )

    def _reload(self, _arguments: NoArguments, peer: Peer) -> Later[ReloadResult]:
        self._log.info("reload_asked", uid=peer.uid, pid=peer.pid)
        return Later(
            self._agent.ask_reload(), lambda result: result, patience_seconds=_RELOAD_SECONDS
        )

    def _drain(self, arguments: DrainArguments, peer: Peer) -> Later[DrainResult]:
        seconds = arguments.deadline_seconds
        self._log.info("drain_asked", uid=peer.uid, pid=peer.pid, deadline_seconds=seconds)
        self._ending = True
        self._agent.ask_drain(seconds)
        patience = seconds + _AFTER_DRAIN_SECONDS
        return Later(self._ended, lambda result: result, patience_seconds=patience)

    def _look(self) -> PacketStatus:
        """Read the counters of the engine and of the kernel at one moment."""
        number, backend = self._agent.held_queue()
        statistics = None if backend is None else backend.statistics()
        counters = dict(self._agent.engine.counters)
        queue = None
        if statistics is not None:
            queue = QueueStatus(
                number=number,
                # A packet that finds the queue full gets no number.
                received=statistics.last_packet_id + statistics.dropped,
                waiting=statistics.waiting,
                dropped_full=statistics.dropped,
                dropped_socket=statistics.user_dropped,
            )
        return PacketStatus(
            exact=True,
            judged=counters.get("packets", 0),
            denied=counters.get("packets_denied", 0),
            counters=dict(sorted(counters.items())),
            queue=queue,
        )

    def _describe(self, packets: PacketStatus) -> AgentStatus:
        """Put the parts together; the account of each collector is taken under its own lock."""
        records = self._agent.pipeline.status()
        policy = self._agent.policy_status()
        checks = list(self._agent.health())
        if self._ending:
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
            health=tuple(
                HealthStatus(name=c.name, ok=c.ok, detail=c.detail, vital=c.vital) for c in checks
            ),
            policy=policy,
            packets=packets,
            records=records,
        )


def status_reasons(
    checks: Iterable[HealthCheck], policy: PolicyStatus, records: PipelineStatus
) -> Iterable[str]:
    """Say why an agent is not simply running, if it is not."""
    for check in checks:
        if not check.ok:
            yield f"{check.name}: {check.detail}"
    if policy.observe_only:
        yield f"not enforcing: observe mode is on, by {policy.observe_by or 'policy'}"
    if policy.refused:
        yield "the last reload was refused; the policy before it stays in force"
    for account in records.collectors:
        if account.credentials_refused:
            yield f"collector {account.name}: its credentials are refused"
        elif account.retrying:
            yield f"collector {account.name}: it waits after a failure"
