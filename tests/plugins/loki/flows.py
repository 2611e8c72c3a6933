"""Flows that Loki is given."""

from __future__ import annotations

from trireme_collector import EndPoint, FlowRecord

__all__ = ["BASE", "SECOND", "flows"]

SECOND = 1_000_000_000
BASE = 1_700_000_000 * SECOND


def flows(count: int, first: int = 1, *, time_ns: int = BASE) -> list[FlowRecord]:
    return [
        FlowRecord(
            source=EndPoint(ip="192.0.2.1", port=n % 60_000),
            l4_protocol=6,
            end_time_ns=time_ns + n,
            instance="test",
            epoch=1,
            sequence=n,
        )
        for n in range(first, first + count)
    ]
