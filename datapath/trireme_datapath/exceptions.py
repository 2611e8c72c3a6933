"""Connections that were let through and came to nothing: never answered, or refused by a reset.

Who sees all packets of a connection knows it at once. Where accepted connections stay in the
kernel, what the kernel counted tells it when they end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_collector.records import ConnectionExceptionReport, Direction
from trireme_datapath.flows import FlowState
from trireme_datapath.identity import TCP

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from trireme_collector.records import Record
    from trireme_datapath.flows import Flow
    from trireme_datapath.kernel.conntrack import ConnectionRow

__all__ = ["EXPIRED", "RESET", "SYN_ACK_SENT", "SYN_SENT", "ExceptionReporter"]

EXPIRED: Final = "expired"
"""The reason of a connection that nobody answered, or whose answer nobody took."""
RESET: Final = "reset"
"""The reason of a connection that the server refused."""
SYN_SENT: Final = "TCPSynSend"
"""The state, as Trireme calls it, of a connection of which only the client was heard."""
SYN_ACK_SENT: Final = "TCPSynAckSend"
"""The state of a connection whose server answered, and whose client fell silent."""

_SECOND_NS: Final = 1_000_000_000
_KERNEL_SYN_RECEIVED: Final = 2  # enum tcp_conntrack: the server answered
# A reset that answers a SYN is bare; an answer that accepts has options.
_BARE_BYTES: Final = {4: 40, 16: 60}


class ExceptionReporter:
    """Makes the reports, at most so many in a second.

    Args:
        counters: Where they are counted.
        max_per_second: How many; the rest is for the counters alone.
    """

    def __init__(self, counters: Counter[str], max_per_second: int) -> None:
        """Start with none."""
        self._counters = counters
        self._max = max_per_second
        self._second = -1
        self._made = 0
        self._records: list[Record] = []

    def answered_by_reset(self, flow: Flow, now_ns: int) -> None:
        """Note that the first answer of a server is a reset."""
        if not flow.denied:
            self._report(flow, SYN_SENT, RESET, flow.packets, now_ns)

    def departed(self, flows: Iterable[tuple[Flow, bool]], now_ns: int) -> None:
        """Look at flows that left the table, of which all packets were seen.

        Args:
            flows: Each with whether it had to make room: then nobody knows how it went on.
            now_ns: Nanoseconds since 1970 UTC.
        """
        for flow, evicted in flows:
            if flow.protocol == TCP and flow.state == FlowState.NEW and not evicted:
                self._report(flow, SYN_SENT, EXPIRED, flow.packets, now_ns)

    def ended(self, flow: Flow, row: ConnectionRow, now_ns: int) -> None:
        """Look at a connection that the kernel let go of."""
        if row[0] != TCP or flow.denied:
            return
        sent, answered, answered_bytes = row[5], row[7], row[8]
        if not answered:
            if sent:  # 0 where the kernel does not count
                self._report(flow, SYN_SENT, EXPIRED, sent, now_ns)
        elif row[12] == _KERNEL_SYN_RECEIVED:
            self._report(flow, SYN_ACK_SENT, EXPIRED, sent, now_ns)
        elif (
            answered == 1
            and answered_bytes == _BARE_BYTES[len(row[1])]
            and flow.state in {FlowState.NEW, FlowState.OPEN}  # else its reset was seen
        ):
            self._report(flow, SYN_SENT, RESET, sent, now_ns)

    def take_records(self) -> list[Record]:
        """Give the reports that were made since the last call."""
        records, self._records = self._records, []
        return records

    def _report(self, flow: Flow, state: str, reason: str, attempts: int, now_ns: int) -> None:
        self._counters[f"connections_{reason}"] += 1
        second = now_ns // _SECOND_NS
        if second != self._second:
            self._second, self._made = second, 0
        if self._made >= self._max:
            self._counters["exception_reports_suppressed"] += 1
            return
        self._made += 1
        ruling = flow.ruling
        outcome = ruling.outcome
        outward = outcome.direction is Direction.EGRESS
        client, server = ruling.client(0), ruling.server
        self._records.append(
            ConnectionExceptionReport(
                timestamp_ns=now_ns,
                puid=(client if outward else server).id,
                namespace=outcome.record.namespace,
                protocol=ruling.protocol,
                source_ip=client.ip,
                destination_ip=server.ip,
                destination_port=server.port,
                state=state,
                reason=reason,
                value=attempts,
            )
        )
