"""Has the kernel trace a flow for a limited time, and reads what it tells."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from trireme_collector.errors import DatapathError, PrivilegeError
from trireme_collector.records import TraceReport
from trireme_datapath.backends._interfaces import InterfaceNames
from trireme_datapath.backends._netlink_codec import MessageError
from trireme_datapath.kernel.install import run_iptables
from trireme_datapath.kernel.rule_traces import TRACE_GROUP, RuleTraces, TraceKind, parse_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector.records import Record

__all__ = ["FlowSelection", "TraceSession", "trace_rules"]

_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_NETLINK_NETFILTER: Final = 12
_RECEIVE_BYTES: Final = 65_536
_BUFFER_BYTES: Final = 4_194_304
_PERIOD_SECONDS: Final = 1.0
_MAX_LINES: Final = 1_000
_RATE: Final = 100  # packets a second that are traced; each makes some ten messages
_CHAINS: Final = ("PREROUTING", "OUTPUT")
_COMMENT: Final = "trireme-trace"


class FlowSelection(Struct, frozen=True, kw_only=True):
    """Which flow is traced, in both directions.

    Attributes:
        protocol: ``tcp``, ``udp``, ``icmp`` or ``icmpv6``.
        source: The client's address or network, empty for any.
        destination: The server's address or network, empty for any.
        port: The server's port, 0 for any.
    """

    protocol: str
    source: str = ""
    destination: str = ""
    port: int = 0

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of IP that the flow can have."""
        texts = [text for text in (self.source, self.destination) if text]
        if texts:
            return (6,) if ":" in texts[0] else (4,)
        return {"icmp": (4,), "icmpv6": (6,)}.get(self.protocol, (4, 6))


def trace_rules(flow: FlowSelection, until_ns: int) -> list[list[str]]:
    """Write the rules for the table ``raw``, as words behind ``-A`` or ``-D``.

    The kernel stops to heed them after their time even if nobody takes them away.

    Args:
        flow: Which flow.
        until_ns: Until when, nanoseconds since 1970 UTC.
    """
    stop = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(-(-until_ns // 1_000_000_000)))
    both = []
    for here, there, port in (
        (flow.source, flow.destination, "--dport"),
        (flow.destination, flow.source, "--sport"),
    ):
        words = ["-p", flow.protocol]
        words += ["-s", here] if here else []
        words += ["-d", there] if there else []
        words += [port, str(flow.port)] if flow.port else []
        words += ["-m", "time", "--datestop", stop]
        words += ["-m", "limit", "--limit", f"{_RATE}/second", "--limit-burst", str(_RATE)]
        words += ["-m", "comment", "--comment", _COMMENT, "-j", "TRACE"]
        both.append(words)
    if both[0] == both[1]:
        both.pop()
    return [[chain, *words] for chain in _CHAINS for words in both]


class TraceSession:
    """Traces a flow in the network namespace of the caller, from `open` to `run`'s end.

    Args:
        flow: Which flow.
        until_ns: Until when, nanoseconds since 1970 UTC.
        report: Takes what is told: lines once a second, and the whole way of each packet.
        namespace: The namespace in the records.
        run: Runs a program of iptables.
    """

    def __init__(
        self,
        flow: FlowSelection,
        until_ns: int,
        report: Callable[[Record], None],
        *,
        namespace: str = "",
        run: Callable[[Sequence[str]], str] = run_iptables,
    ) -> None:
        """Change nothing yet."""
        self._rules = trace_rules(flow, until_ns)
        self._programs = [{4: "iptables", 6: "ip6tables"}[one] for one in flow.versions]
        self._until_ns = until_ns
        self._report = report
        self._run = run
        self._names = InterfaceNames()
        self._traces = RuleTraces(namespace, self._names.name)
        self._lines: list[str] = []
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Listen, and put the rules in place.

        Raises:
            PrivilegeError: CAP_NET_ADMIN or the program is missing.
            DatapathError: The kernel or the program refuses; no rule is left.
        """
        for program in self._programs:
            if "legacy" in self._run([program, "--version"]):
                raise DatapathError(
                    f"{program} is the legacy variant, whose traces are in the kernel's log alone:"
                    " choose the nf_tables variant (update-alternatives --config iptables)"
                )
        self._socket = _listen()
        try:
            for program in self._programs:
                for words in self._rules:
                    self._run([program, "-w", "5", "-t", "raw", "-A", *words])
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Read until the time is over, and take the rules away."""
        try:
            while (now_ns := time.time_ns()) < self._until_ns:
                left = (self._until_ns - now_ns) / 1e9
                self._read(min(_PERIOD_SECONDS, left))
                self._tell(everything=False)
        finally:
            self.close()
            self._tell(everything=True)

    def close(self) -> None:
        """Take the rules away, and hear no more."""
        for program in self._programs:
            for words in self._rules:
                with contextlib.suppress(DatapathError):  # it was not put in place
                    self._run([program, "-w", "5", "-t", "raw", "-D", *words])
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self, seconds: float) -> None:
        sock = self._socket
        if sock is None:
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and len(self._lines) < _MAX_LINES:
            if not select.select([sock], [], [], left)[0]:
                return
            try:
                data = sock.recv(_RECEIVE_BYTES)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._traces.forgotten += 1
                continue
            self._take(data)

    def _take(self, data: bytes) -> None:
        now_ns = time.time_ns()
        self._names.refresh(now_ns)
        with contextlib.suppress(MessageError):
            for step in parse_steps(data):
                if step.kind is TraceKind.RULE and not step.handle:
                    continue  # some kernels tell the end of a chain so
                self._lines.append(self._traces.add(step, now_ns))

    def _tell(self, *, everything: bool) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._report(TraceReport(lines=tuple(lines)))
        for trace in self._traces.take(time.time_ns(), everything=everything):
            self._report(trace)


def _listen() -> socket.socket:
    try:
        sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        sock.bind((0, 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, TRACE_GROUP)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        if error.errno in {errno.EPERM, errno.EACCES}:
            raise PrivilegeError(
                f"traces cannot be read: CAP_NET_ADMIN is missing ({why})"
            ) from error
        raise DatapathError(
            f"traces cannot be read: the kernel has none over netlink ({why})"
        ) from error
    return sock
