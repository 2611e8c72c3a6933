"""Records of what a flow carried, from what the kernel said about its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET, structs

from trireme_collector.records import FlowPhase

if TYPE_CHECKING:
    from trireme_collector.records import FlowRecord
    from trireme_datapath.flows import Flow
    from trireme_datapath.kernel.conntrack import ConnectionRow
    from trireme_datapath.rulings import Ruling

__all__ = ["ICMP", "NOTHING", "account_record", "account_summary", "turned_row"]

ICMP: Final = frozenset({1, 58})
NOTHING: Final = (0, 0, 0, 0)
"""Packets and bytes of the client and of the server of a flow that was not reported yet."""


def turned_row(row: ConnectionRow) -> ConnectionRow:
    """Swap client and server."""
    a, b, c, d, e, f, g, h, i, *rest = row
    return (a, c, b, e, d, h, i, f, g, *rest)  # type: ignore[return-value]  # four more numbers


def account_record(
    ruling: Ruling,
    phase: FlowPhase,
    row: ConnectionRow,
    before: tuple[int, int, int, int],
    now_ns: int,
) -> FlowRecord:
    """Report what a connection carried since it was last reported."""
    _, _, _, port, _, sent, sent_bytes, answered, answered_bytes, start_ns, stop_ns, _, _ = row
    protocol = ruling.protocol
    if before is not NOTHING:
        sent -= before[0]
        sent_bytes -= before[1]
        answered -= before[2]
        answered_bytes -= before[3]
    record = structs.replace(
        ruling.outcome.record,
        source=ruling.client(0 if protocol in ICMP else int.from_bytes(port)),
        destination=ruling.server,
        count=1,
        l4_protocol=protocol,
        packets=sent + answered,
        bytes=sent_bytes + answered_bytes,
        start_time_ns=start_ns or UNSET,
        end_time_ns=stop_ns or now_ns,
        phase=phase,
        source_packets=sent,
        source_bytes=sent_bytes,
        destination_packets=answered,
        destination_bytes=answered_bytes,
    )
    return ruling.with_icmp(record) if protocol in ICMP else record


def account_summary(flow: Flow, phase: FlowPhase, now_ns: int) -> FlowRecord:
    """Report a flow that the kernel says nothing about now."""
    account = flow.account
    ruling = flow.ruling if account is None else account.ruling
    row = (0, b"", b"", flow.key[-4:-2], b"", 0, 0, 0, 0, 0, flow.last_seen_ns, 0, 0)
    record = account_record(ruling, phase, row, NOTHING, now_ns)
    if account is not None or phase is FlowPhase.EVICTED:
        return record
    # Nothing was reported of it: what is known is what came to the engine.
    return structs.replace(
        record,
        packets=flow.packets,
        bytes=flow.bytes,
        source_packets=UNSET,
        source_bytes=UNSET,
        destination_packets=UNSET,
        destination_bytes=UNSET,
    )
