"""How much memory a record takes, near enough for a bound and cheap enough for every record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.records import (
    Checkpoint,
    ContainerRecord,
    CounterReport,
    FlowRecord,
    IPTablesTrace,
    PacketReport,
    TraceReport,
    UserRecord,
)

if TYPE_CHECKING:
    from trireme_collector.records import Record

__all__ = ["estimate_size"]

# Measured on 64-bit CPython: the struct, its endpoints, their short texts, a place in a queue.
_FLOW = 750
_OTHER = 500
_TEXT = 56  # the header of a str object
_COUNTER = 64
_ACCOUNT = 250
_TRACE_STEP = 600


def estimate_size(record: Record) -> int:
    """Estimate the bytes of memory that a record keeps alive."""
    if type(record) is FlowRecord:
        destination = record.destination
        size = _FLOW + len(destination.uri) + len(destination.id) + len(record.source.id)
        # Tags are the unit's own and mostly shared between its flows, but they need not be.
        return size + sum(map(len, record.tags)) if record.tags else size
    return _OTHER + _estimate_lists(record)


def _estimate_lists(record: Record) -> int:
    match record:
        case TraceReport():
            return sum(_TEXT + len(line) for line in record.lines)
        case PacketReport():
            return len(record.payload) + sum(_TEXT + len(claim) for claim in record.claims)
        case UserRecord():
            return sum(_TEXT + len(claim) for claim in record.claims)
        case ContainerRecord():
            texts = (*record.tags, *record.ip_address, *record.ip_address.values())
            return sum(_TEXT + len(text) for text in texts)
        case CounterReport():
            return _COUNTER * len(record.counters)
        case Checkpoint():
            return _ACCOUNT * len(record.collectors)
        case IPTablesTrace():
            return _TRACE_STEP * len(record.records)
    return 0
