"""The command ``ping``: a probe that goes the way of real connections."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

import structlog

from trireme_collector.control import (
    ControlCommand,
    Later,
    PingArguments,
    PingResult,
)
from trireme_collector.errors import ConfigError, DatapathError
from trireme_datapath.ping import PingPlan, plan_ping, send_pings

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.control import Peer
    from trireme_collector.records import Record
    from trireme_datapath.policy import CompiledPolicy

__all__ = ["ping_command"]

_MAX_RUNNING: Final = 4
_MARGIN_SECONDS: Final = 5.0

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.control")


def ping_command(
    policy: Callable[[], CompiledPolicy], report: Callable[[Record], None]
) -> ControlCommand[PingArguments, PingResult]:
    """Make the command.

    Args:
        policy: Gives the policy in force.
        report: Takes records from any thread.
    """
    running = threading.BoundedSemaphore(_MAX_RUNNING)

    def handle(arguments: PingArguments, peer: Peer) -> Later[PingResult]:
        _log.info(
            "ping_asked",
            uid=peer.uid,
            pid=peer.pid,
            destination=arguments.destination,
            port=arguments.port,
            unit=arguments.unit,
        )
        plan = _plan(arguments)
        if not running.acquire(blocking=False):
            raise DatapathError(f"{_MAX_RUNNING} pings run already: wait for one to end")
        future: Future[PingResult] = Future()

        def work() -> None:
            try:
                full = plan_ping(policy(), plan, arguments.unit)
                probes = send_pings(full, report)
                result = PingResult(unit=full.source_id, probes=tuple(probes))
            except BaseException as error:  # noqa: BLE001  carried to the thread that asked
                future.set_exception(error)
            else:
                future.set_result(result)
            finally:
                running.release()

        threading.Thread(target=work, name="trireme-ping", daemon=True).start()
        longest = arguments.count * (arguments.timeout_seconds + plan.interval_seconds)
        return Later(future, lambda result: result, patience_seconds=longest + _MARGIN_SECONDS)

    return ControlCommand(
        name="ping",
        summary="Open connections as a probe, and tell how they were answered.",
        arguments=PingArguments,
        result=PingResult,
        handler=handle,
    )


def _plan(arguments: PingArguments) -> PingPlan:
    for name in ("destination", "source"):
        text = getattr(arguments, name)
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        try:
            if text or name == "destination":
                socket.inet_pton(family, text)
        except (OSError, ValueError):
            msg = f"{name} {text!r} is no address; names are not looked up"
            raise ConfigError(msg) from None
    return PingPlan(
        destination=arguments.destination,
        port=arguments.port,
        source=arguments.source,
        count=arguments.count,
        timeout_seconds=arguments.timeout_seconds,
    )
