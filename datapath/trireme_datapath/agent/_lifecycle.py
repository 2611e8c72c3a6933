"""The commands ``unit`` and ``user``: who runs units, or knows users, tells the agent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trireme_collector.control import (
    ControlCommand,
    Later,
    UnitArguments,
    UnitResult,
    UserArguments,
    UserResult,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from trireme_collector.control import CommandTable, Peer
    from trireme_datapath.lifecycle import UnitLifecycle, UserLog

__all__ = ["add_lifecycle_commands"]

_PATIENCE_SECONDS: Final = 5.0


def add_lifecycle_commands(
    commands: CommandTable,
    units: UnitLifecycle,
    users: UserLog,
    ask_unit: Callable[[Callable[[], UnitResult]], Future[UnitResult]],
    ask_user: Callable[[Callable[[], UserResult]], Future[UserResult]],
) -> None:
    """Add the commands to those of an agent.

    Args:
        commands: Those.
        units: The units that it knows.
        users: The users that it knows.
        ask_unit: Has something done by the thread to which those belong.
        ask_user: The same.
    """

    def unit(arguments: UnitArguments, _peer: Peer) -> Later[UnitResult]:
        return Later(
            ask_unit(lambda: _tell(units, arguments)),
            lambda result: result,
            patience_seconds=_PATIENCE_SECONDS,
        )

    def user(arguments: UserArguments, _peer: Peer) -> Later[UserResult]:
        def tell() -> UserResult:
            found, reported = users.seen(arguments.namespace, arguments.claims, time.time_ns())
            return UserResult(id=found, reported=reported)

        return Later(ask_user(tell), lambda result: result, patience_seconds=_PATIENCE_SECONDS)

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
    context, addresses, tags = arguments.context_id, arguments.addresses, arguments.tags
    if arguments.event == "start":
        event = units.start(context, addresses, tags)
    elif arguments.event == "update":
        event = units.update(context, addresses, tags)
    elif arguments.event == "delete":
        event = units.delete(context)
    else:
        event = units.fail(context)
    return UnitResult(event="" if event is None else event.value)
