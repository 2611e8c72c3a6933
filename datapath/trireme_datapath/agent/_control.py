"""The commands that every agent takes: status, reload and drain; and restart, where it can."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from trireme_collector.control import (
    AgentStatus,
    CommandTable,
    ControlCommand,
    ControlServer,
    DrainArguments,
    DrainResult,
    Later,
    NoArguments,
    ReloadResult,
    RestartResult,
)
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.control import ControlConfig, Peer
    from trireme_collector.pipeline import ShutdownReport

__all__ = ["AgentControl", "Controlled", "restart_command"]

_RELOAD_SECONDS: Final = 130.0  # a policy of some hundred thousand rules, on a small machine
_RESTART_SECONDS: Final = 70.0
_AFTER_DRAIN_SECONDS: Final = 30.0  # collectors are closed, rules removed

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.control")


class Controlled(Protocol):
    """What the commands need of an agent; they are called by the thread of the socket."""

    def answer_status(self, *, ending: bool) -> AgentStatus | Later[AgentStatus]:
        """Tell everything that is counted.

        Args:
            ending: Whether the agent was told to end.
        """
        ...

    def ask_reload(self) -> Future[ReloadResult]:
        """Read the files again."""
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
            _log.warning("control_unavailable", reason=str(error))
            return
        self._server = server

    def resume(self, held: tuple[int, int] | None) -> None:
        """Listen as the program of before did.

        Args:
            held: What `hand_over` gave there.
        """
        if held is not None:
            self._server = ControlServer(self._config, self.commands)
            self._server.open(held)

    def rest(self) -> bool:
        """Answer nobody for now; say whether that is possible: nobody waits for an answer."""
        return self._server is None or self._server.rest()

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

    def _status(self, _arguments: NoArguments, _peer: Peer) -> AgentStatus | Later[AgentStatus]:
        return self._agent.answer_status(ending=self._ending)

    def _reload(self, _arguments: NoArguments, peer: Peer) -> Later[ReloadResult]:
        _log.info("reload_asked", uid=peer.uid, pid=peer.pid)
        return Later(
            self._agent.ask_reload(), lambda result: result, patience_seconds=_RELOAD_SECONDS
        )

    def _drain(self, arguments: DrainArguments, peer: Peer) -> Later[DrainResult]:
        seconds = arguments.deadline_seconds
        _log.info("drain_asked", uid=peer.uid, pid=peer.pid, deadline_seconds=seconds)
        self._ending = True
        self._agent.ask_drain(seconds)
        patience = seconds + _AFTER_DRAIN_SECONDS
        return Later(self._ended, lambda result: result, patience_seconds=patience)


def restart_command(
    ask_restart: Callable[[], Future[RestartResult]],
) -> ControlCommand[NoArguments, RestartResult]:
    """Make the command ``restart``.

    Args:
        ask_restart: Has every process exchanged.
    """

    def handle(_arguments: NoArguments, peer: Peer) -> Later[RestartResult]:
        _log.info("restart_asked", uid=peer.uid, pid=peer.pid)
        return Later(ask_restart(), lambda result: result, patience_seconds=_RESTART_SECONDS)

    return ControlCommand(
        name="restart",
        summary="Exchange every process, without losing a packet or a record.",
        arguments=NoArguments,
        result=RestartResult,
        handler=handle,
    )
