"""Estimated sizes are near enough for a bound."""

from __future__ import annotations

import pytest
from hypothesis import given

from trireme_collector import (
    RECORD_TYPES,
    ContainerRecord,
    Counter,
    CounterReport,
    EndPoint,
    FlowRecord,
    IPTablesTrace,
    IPTablesTraceRecord,
    PacketReport,
    Record,
    TraceReport,
    UserRecord,
)
from trireme_collector.delivery import estimate_size
from trireme_collector.testing.strategies import records


@given(records())
def test_every_record_has_a_size(record: Record) -> None:
    assert 400 <= estimate_size(record) < 10_000


@pytest.mark.parametrize(
    "record",
    [
        FlowRecord(destination=EndPoint(uri="x" * 100_000)),
        FlowRecord(tags=("x" * 100_000,)),
        TraceReport(lines=("x",) * 5_000),
        UserRecord(claims=("x" * 100_000,)),
        PacketReport(payload=b"x" * 100_000),
        ContainerRecord(ip_address={"eth0": "x" * 100_000}),
        CounterReport(counters=(Counter(name="x", value=1),) * 5_000),
        IPTablesTrace(records=(IPTablesTraceRecord(),) * 500),
    ],
    ids=lambda record: type(record).__name__,
)
def test_what_makes_a_record_large_makes_its_size_large(record: Record) -> None:
    assert estimate_size(record) >= 100_000


def test_no_kind_is_forgotten() -> None:
    assert all(estimate_size(kind()) for kind in RECORD_TYPES.values())
