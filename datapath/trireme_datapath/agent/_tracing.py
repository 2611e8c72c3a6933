"""The command ``trace``: packets of a unit are reported for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog

from trireme_collector.control import ControlCommand, Later, TraceArguments, TraceResult
from trireme_collector.errors import DatapathError
from trireme_datapath.tracing import TraceDirection, TraceRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.control import Peer

__all__ = ["trace_command", "trace_request"]

_PATIENCE_SECONDS: Final = 5.0
_SECOND_NS: Final = 1_000_000_000
_DIRECTIONS: Final = {
    "network": TraceDirection.NETWORK,
    "application": TraceDirection.APPLICATION,
    "both": TraceDirection.BOTH,
    "none": TraceDirection.DISABLED,
}

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.control")


def trace_request(arguments: TraceArguments, now_ns: int) -> TraceRequest:
    """Say to an engine what somebody asked for."""
    return TraceRequest(
        direction=_DIRECTIONS[arguments.direction],
        until_ns=now_ns + round(arguments.seconds * _SECOND_NS),
        payload_bytes=arguments.payload_bytes,
    )


def trace_command(
    trace: Callable[[str, TraceRequest], str],
    ask: Callable[[Callable[[], TraceResult]], Future[TraceResult]],
) -> ControlCommand[TraceArguments, TraceResult]:
    """Make the command.

    Args:
        trace: Traces a unit and gives its context; it may raise `LookupError`.
        ask: Has something done by the thread to which that belongs.
    """

    def handle(arguments: TraceArguments, peer: Peer) -> Later[TraceResult]:
        _log.info(
            "trace_asked",
            uid=peer.uid,
            pid=peer.pid,
            unit=arguments.unit,
            direction=arguments.direction,
            seconds=arguments.seconds,
        )

        def do() -> TraceResult:
            request = trace_request(arguments, time.time_ns())
            try:
                context_id = trace(arguments.unit, request)
            except LookupError as error:
                raise DatapathError(f"{error.args[0]}; the policy file names them") from error
            ends = 0 if arguments.direction == "none" else request.until_ns
            return TraceResult(context_id=context_id, until_ns=ends)

        return Later(ask(do), lambda result: result, patience_seconds=_PATIENCE_SECONDS)

    return ControlCommand(
        name="trace",
        summary="Report the packets of a unit for a while.",
        arguments=TraceArguments,
        result=TraceResult,
        handler=handle,
    )
