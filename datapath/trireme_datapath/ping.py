"""Pings: TCP handshakes that go the way of real connections, and are reported on both ends.

A probe is an ordinary connection that this host opens and gives up at once. So it is queued, judged
and routed as a connection of the unit would be, and who answers need not know anything of it.
"""

from __future__ import annotations

import errno
import os
import secrets
import select
import socket
import string
import struct
import time
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, Struct

import trireme_collector
from trireme_collector.control import PingProbe
from trireme_collector.errors import DatapathError
from trireme_collector.records import PingReport, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.policy import CompiledPolicy, CompiledUnit

__all__ = ["PingPlan", "go_duration", "plan_ping", "send_pings"]

_TCP: Final = 6
_LAYER: Final = "L3"
_SESSION_LETTERS: Final = string.ascii_letters + string.digits
_SESSION_LENGTH: Final = 20
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # closing sends a reset: nobody waits for us
_MICRO, _MILLI, _SECOND_NS = 1_000, 1_000_000, 1_000_000_000
_ERRORS: Final = {
    0: "",
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EACCES: "prohibited",
    errno.EPERM: "prohibited",
}


class PingPlan(Struct, frozen=True, kw_only=True):
    """What is sent, and in whose name.

    Attributes:
        source_id: The id of the unit that pings, empty when the host is none.
        source_namespace: Its namespace.
        destination_id: The id of who has the address, if that is known.
        destination_namespace: The namespace of that.
        source: The address to send from, empty for the one that the route gives.
        mark: The mark that tells the unit, None for none.
        destination: The address.
        port: The port.
        count: How many probes.
        timeout_seconds: How long each is waited for.
        interval_seconds: How long to wait after an answer.
    """

    source_id: str = ""
    source_namespace: str = ""
    destination_id: str = ""
    destination_namespace: str = ""
    source: str = ""
    mark: int | None = None
    destination: str
    port: int
    count: int = 1
    timeout_seconds: float = 2.0
    interval_seconds: float = 0.2


def plan_ping(policy: CompiledPolicy, plan: PingPlan, unit_name: str = "") -> PingPlan:
    """Fill in who pings whom.

    Args:
        policy: The policy in force.
        plan: What is wanted.
        unit_name: The id or context of the unit in whose name it is sent; this host's own unit
            when empty.

    Raises:
        DatapathError: There is no such unit, or nothing can be sent in its name from here.
    """
    source, mark = plan.source, plan.mark
    unit: CompiledUnit | None = policy.local_unit
    if unit_name:
        unit = policy.unit(unit_name)
        if unit is None:
            raise DatapathError(f"the policy has no unit {unit_name!r}; the policy file names them")
        if not source and mark is None and not unit.selectors.local:
            source, mark = _identity(policy, unit, plan.destination)
    elif source:
        unit = policy.unit_for(_packed(source)) or unit
    peer = policy.peer_for(_packed(plan.destination))
    return PingPlan(
        source_id="" if unit is None else unit.id,
        source_namespace="" if unit is None else unit.namespace,
        destination_id="" if peer is None else peer.id,
        destination_namespace="" if peer is None else peer.namespace,
        source=source,
        mark=mark,
        destination=plan.destination,
        port=plan.port,
        count=plan.count,
        timeout_seconds=plan.timeout_seconds,
        interval_seconds=plan.interval_seconds,
    )


def _identity(
    policy: CompiledPolicy, unit: CompiledUnit, destination: str
) -> tuple[str, int | None]:
    """Say by which address or mark packets are those of a unit."""
    selectors = unit.selectors
    if selectors.marks:
        return "", selectors.marks[0].value
    if selectors.cgroups:
        return "", policy.cgroup_marks[selectors.cgroups[0]]
    size = len(_packed(destination))
    for prefix in selectors.addresses:
        if prefix.is_host and len(prefix.network) == size:
            return str(prefix).partition("/")[0], None
    raise DatapathError(
        f"nothing can be sent from here in the name of unit {unit.id!r}: it has no mark, no control"
        " group and no single address of the destination's kind; ping from where it runs"
    )


def send_pings(
    plan: PingPlan,
    report: Callable[[PingReport], None],
    clock: Callable[[], int] = time.monotonic_ns,
) -> list[PingProbe]:
    """Send the probes one after the other, and report each when it leaves and when it is answered.

    Args:
        plan: What is sent.
        report: Takes the reports.
        clock: Gives nanoseconds that only rise.

    Raises:
        DatapathError: Nothing can be sent from that address, or with that mark.
    """
    answers: list[PingProbe] = []
    for request in range(1, plan.count + 1):
        if answers:
            time.sleep(plan.interval_seconds)
        answers.append(_send_one(plan, request, report, clock))
    return answers


def _send_one(
    plan: PingPlan, request: int, report: Callable[[PingReport], None], clock: Callable[[], int]
) -> PingProbe:
    session = "".join(secrets.choice(_SESSION_LETTERS) for _ in range(_SESSION_LENGTH))
    family = socket.AF_INET6 if ":" in plan.destination else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        try:
            if plan.mark is not None:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, plan.mark)
            if plan.source:
                probe.bind((plan.source, 0))
        except OSError as error:
            raise DatapathError(
                f"a ping cannot be sent from {plan.source or 'here'} with the mark {plan.mark}:"
                f" {error.strerror}"
            ) from error
        began = clock()
        code = probe.connect_ex((plan.destination, plan.port))
        source, port = probe.getsockname()[:2]
        flow_tuple = f"{source}:{plan.destination}:{port}:{plan.port}"
        _report(plan, report, Stage.ORIGIN, request, session, flow_tuple)
        if code == errno.EINPROGRESS:
            code = _wait(probe, plan.timeout_seconds)
        latency = clock() - began
    failure = _ERRORS.get(code, os.strerror(code).lower())
    answered = failure in {"", "refused"}
    _report(
        plan,
        report,
        Stage.REPLY,
        request,
        session,
        flow_tuple,
        latency=go_duration(latency) if answered else "",
        error=failure,
    )
    return PingProbe(
        request=request,
        session_id=session,
        flow_tuple=flow_tuple,
        latency_ns=latency if answered else 0,
        error=failure,
    )


def _wait(probe: socket.socket, seconds: float) -> int:
    poll = select.poll()
    poll.register(probe, select.POLLOUT)
    if not poll.poll(seconds * 1_000):
        return errno.ETIMEDOUT
    return probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _report(
    plan: PingPlan,
    report: Callable[[PingReport], None],
    stage: Stage,
    request: int,
    session: str,
    flow_tuple: str,
    *,
    latency: str = "",
    error: str = "",
) -> None:
    reply = stage is Stage.REPLY
    report(
        PingReport(
            source_id=plan.source_id,
            source_namespace=plan.source_namespace,
            destination_id=plan.destination_id if reply else "",
            destination_namespace=plan.destination_namespace if reply else "",
            flow_tuple=flow_tuple,
            latency=latency,
            agent_version=trireme_collector.__version__,
            protocol=_TCP,
            service_type=_LAYER,
            request=request,
            stage=stage,
            session_id=session,
            error=error or UNSET,
        )
    )


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def go_duration(nanoseconds: int) -> str:
    """Write a time that is not negative as Go prints a duration: ``1.234567ms``."""
    if nanoseconds < _MICRO:
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    if nanoseconds < _MILLI:
        return f"{_decimal(nanoseconds, _MICRO, 3)}µs"
    if nanoseconds < _SECOND_NS:
        return f"{_decimal(nanoseconds, _MILLI, 6)}ms"
    minutes, rest = divmod(nanoseconds, 60 * _SECOND_NS)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, _SECOND_NS, 9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _decimal(value: int, unit: int, digits: int) -> str:
    whole, part = divmod(value, unit)
    fraction = f"{part:0{digits}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)
