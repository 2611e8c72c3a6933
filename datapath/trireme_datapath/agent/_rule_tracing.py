"""The command ``trace_rules``: the kernel tells the way of a flow through its rules."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

from trireme_collector.control import (
    ControlCommand,
    TraceRulesArguments,
    TraceRulesResult,
)
from trireme_collector.errors import ConfigError, DatapathError
from trireme_collector.strict_toml import Unfit
from trireme_datapath.kernel.trace_session import FlowSelection, TraceSession
from trireme_datapath.policy.spellings import parse_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.control import Peer
    from trireme_collector.records import Record

__all__ = ["trace_rules_command"]

_SECOND_NS: Final = 1_000_000_000
_ICMP: Final = frozenset({"icmp", "icmpv6"})

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.control")


def trace_rules_command(
    report: Callable[[Record], None],
    session: Callable[..., TraceSession] = TraceSession,
) -> ControlCommand[TraceRulesArguments, TraceRulesResult]:
    """Make the command.

    Args:
        report: Takes records from any thread.
        session: Makes a session.
    """
    running = threading.Lock()

    def handle(arguments: TraceRulesArguments, peer: Peer) -> TraceRulesResult:
        flow = _selection(arguments)
        _log.info("trace_rules_asked", uid=peer.uid, pid=peer.pid, seconds=arguments.seconds)
        if not running.acquire(blocking=False):
            raise DatapathError("the rules are traced for somebody already: wait until that ends")
        until_ns = time.time_ns() + round(arguments.seconds * _SECOND_NS)
        try:
            made = session(flow, until_ns, report)
            made.open()
        except BaseException:
            running.release()
            raise

        def work() -> None:
            try:
                made.run()
            except OSError as error:
                _log.warning("trace_ended", reason=str(error))
            finally:
                running.release()

        threading.Thread(target=work, name="trireme-rules", daemon=True).start()
        return TraceRulesResult(until_ns=until_ns)

    return ControlCommand(
        name="trace_rules",
        summary="Report the way of a flow through the kernel's rules for a while.",
        arguments=TraceRulesArguments,
        result=TraceRulesResult,
        handler=handle,
    )


def _selection(arguments: TraceRulesArguments) -> FlowSelection:
    texts = []
    for name in ("source", "destination"):
        text = getattr(arguments, name)
        try:
            texts.append(str(parse_prefix(text)) if text else "")
        except Unfit as unfit:
            raise ConfigError(f"{name} {text!r}: expected {unfit.expected}") from unfit
    if not any(texts) and not arguments.port:
        raise ConfigError("name a source, a destination or a port: every packet would be traced")
    if len({":" in text for text in texts if text}) > 1:
        raise ConfigError("source and destination are of different versions of IP")
    if arguments.port and arguments.protocol in _ICMP:
        raise ConfigError(f"{arguments.protocol} has no ports")
    flow = FlowSelection(
        protocol=arguments.protocol, source=texts[0], destination=texts[1], port=arguments.port
    )
    right = {"icmp": (4,), "icmpv6": (6,)}.get(arguments.protocol, flow.versions)
    if flow.versions != right:
        raise ConfigError(f"{arguments.protocol} does not go with these addresses")
    return flow
