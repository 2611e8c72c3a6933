"""What people and scripts can ask of a tree of processes: status, reload, restart and drain."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Protocol

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
    PolicyStatus,
    ReloadResult,
    RestartResult,
)
from trireme_collector.errors import ConfigError
from trireme_collector.metrics import HealthCheck
from trireme_datapath.agent._control import status_reasons
from trireme_datapath.processes._ledger import COLLECTORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.control import ControlConfig, Peer
    from trireme_collector.pipeline import PipelineStatus, ShutdownReport
    from trireme_datapath.processes._ledger import Account
    from trireme_datapath.processes._tree import Tree

__all__ = ["Controlled", "TreeControl"]

_STATUS_SECONDS: Final = 2.0
_RELOAD_SECONDS: Final = 130.0
_RESTART_SECONDS: Final = 70.0
_AFTER_DRAIN_SECONDS: Final = 30.0


class Controlled(Protocol):
    """What the commands need of a supervisor."""

    @property
    def tree(self) -> Tree | None:
        """What it holds."""
        ...

    def policy_status(self) -> PolicyStatus:
        """Tell which policy is in force."""
        ...

    def health(self) -> Iterable[HealthCheck]:
        """Tell what else belongs to the health of the agent."""
        ...

    def empty_records(self) -> PipelineStatus:
        """Tell the account of a pipeline that never said anything."""
        ...

    def ask_status(
        self, describe: Callable[[Account], AgentStatus], patience_seconds: float
    ) -> Future[AgentStatus]:
        """Have everybody tell what is counted, and describe it."""
        ...

    def ask_reload(self) -> Future[ReloadResult]:
        """Read the files again."""
        ...

    def ask_restart(self) -> Future[RestartResult]:
        """Exchange every process."""
        ...

    def ask_drain(self, deadline_seconds: float) -> None:
        """End; deliver until the deadline."""


class TreeControl:
    """Takes commands for a supervisor over its control socket.

    Args:
        config: Where.
        supervisor: Who obeys.

    Attributes:
        commands: The commands; others may be added before `open`.
    """

    def __init__(self, config: ControlConfig, supervisor: Controlled) -> None:
        """Make the commands; open nothing."""
        self.commands = CommandTable()
        self._config = config
        self._supervisor = supervisor
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
                name="restart",
                summary="Exchange every process, without losing a packet or a record.",
                arguments=NoArguments,
                result=RestartResult,
                handler=self._restart,
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

    def resume(self, held: tuple[int, int] | None) -> None:
        """Listen as the program of before did."""
        if held is not None:
            self._server = ControlServer(self._config, self.commands)
            self._server.open(held)

    def hand_over(self) -> tuple[int, int] | None:
        """Let go of the control socket, for the program that takes our place."""
        server, self._server = self._server, None
        return None if server is None else server.hand_over()

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

    def _status(self, _arguments: NoArguments, _peer: Peer) -> Later[AgentStatus]:
        return Later(
            self._supervisor.ask_status(self._describe, _STATUS_SECONDS),
            lambda status: status,
            patience_seconds=4 * _STATUS_SECONDS,
        )

    def _reload(self, _arguments: NoArguments, peer: Peer) -> Later[ReloadResult]:
        self._log.info("reload_asked", uid=peer.uid, pid=peer.pid)
        return Later(
            self._supervisor.ask_reload(), lambda result: result, patience_seconds=_RELOAD_SECONDS
        )

    def _restart(self, _arguments: NoArguments, peer: Peer) -> Later[RestartResult]:
        self._log.info("restart_asked", uid=peer.uid, pid=peer.pid)
        return Later(
            self._supervisor.ask_restart(), lambda result: result, patience_seconds=_RESTART_SECONDS
        )

    def _drain(self, arguments: DrainArguments, peer: Peer) -> Later[DrainResult]:
        seconds = arguments.deadline_seconds
        self._log.info("drain_asked", uid=peer.uid, pid=peer.pid, deadline_seconds=seconds)
        self._ending = True
        self._supervisor.ask_drain(seconds)
        patience = seconds + _AFTER_DRAIN_SECONDS
        return Later(self._ended, lambda result: result, patience_seconds=patience)

    def _describe(self, account: Account) -> AgentStatus:
        supervisor = self._supervisor
        records = account.records or supervisor.empty_records()
        policy = supervisor.policy_status()
        tree = supervisor.tree
        checks = [] if tree is None else [*health_of(tree), *supervisor.health()]
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
            packets=account.packets,
            records=records,
            processes=() if tree is None else tree.ledger.processes(),
            crossing=None if tree is None else tree.ledger.crossing(),
        )


def health_of(tree: Tree) -> list[HealthCheck]:
    """Tell whether packets are judged and records taken."""
    wanted, judging = len(tree.posts), len(tree.staff.judging)
    keeper = tree.keeper
    return [
        HealthCheck(
            "enforcers", ok=judging >= wanted, detail=f"{judging} of {wanted} judge", vital=True
        ),
        HealthCheck("queue", ok=bool(tree.posts), detail="held" if tree.posts else "not held"),
        HealthCheck(
            COLLECTORS,
            ok=keeper.ready,
            detail="take records" if keeper.ready else "away: records wait for them",
        ),
    ]
