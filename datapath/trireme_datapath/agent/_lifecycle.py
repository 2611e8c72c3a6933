"""The commands ``unit`` and ``user``: who runs units, or knows users, tells the agent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog

from trireme_collector.control import (
    ControlCommand,
    Later,
    UnitArguments,
    UnitResult,
    UserArguments,
    UserResult,
)

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from trireme_collector.control import CommandTable, Peer
    from trireme_datapath.agent._extra_commands import Judging
    from trireme_datapath.lifecycle import UnitLifecycle

__all__ = ["add_lifecycle_commands"]

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.control")

_PATIENCE_SECONDS: Final = 10.0  # kernel rules that mark control groups are put in place


def add_lifecycle_commands(commands: CommandTable, agent: Judging) -> None:
    """Add the commands to those of an agent.

    Args:
        commands: Those.
        agent: Who knows units and users.
    """
    units, users = agent.units, agent.users

    def unit(arguments: UnitArguments, peer: Peer) -> Later[UnitResult]:
        _log.info(
            "unit_told",
            uid=peer.uid,
            pid=peer.pid,
            unit=arguments.context_id,
            event_told=arguments.event,
        )
        return Later(
            agent.ask_unit(lambda: _tell(units, arguments), arguments.context_id),
            lambda result: result,
            patience_seconds=_PATIENCE_SECONDS,
        )

    def user(arguments: UserArguments, _peer: Peer) -> Later[UserResult]:
        def tell() -> UserResult:
            found, reported = users.seen(arguments.namespace, arguments.claims, time.time_ns())
            return UserResult(id=found, reported=reported)

        return Later(agent.ask(tell), lambda result: result, patience_seconds=_PATIENCE_SECONDS)

    commands.add(
        ControlCommand(
            name="unit",
            summary="Tell that a processing unit came, changed or went.",
            arguments=UnitArguments,
            result=UnitResult,
            handler=unit,
        )
    )
    commands.add(
        ControlCommand(
            name="user",
            summary="Tell that a user was seen.",
            arguments=UserArguments,
            result=UserResult,
            handler=user,
        )
    )


def _tell(units: UnitLifecycle, arguments: UnitArguments) -> UnitResult:
    context = arguments.context_id
    if arguments.event in {"start", "update"}:
        event = units.start(
            context,
            arguments.addresses,
            arguments.tags,
            interfaces=arguments.interfaces,
            cgroups=arguments.cgroups,
        )
    elif arguments.event == "delete":
        event = units.delete(context)
    else:
        event = units.fail(context)
    return UnitResult(event="" if event is None else event.value)
