"""What a filter costs for each record, before anything is queued."""

from __future__ import annotations

import time

import msgspec

from bench.figures import interleave, show
from trireme_collector import ActionType, EndPoint, FlowRecord, encode_json
from trireme_collector.filters import FilterConfig, RecordFilter

RUNS = 7
RECORDS = 50_000
TARGET_MICROSECONDS = 2.0
ENCODE_MICROSECONDS = 0.6
TYPICAL = (
    'type == "flow" and action == "reject" and destination.port in [22, 23]'
    ' and source.ip in "10.0.0.0/8" and not policy_id =~ "test-*"'
)


def _records() -> list[FlowRecord]:
    """Make flows that are looked at to the end of the expression."""
    return [
        FlowRecord(
            context_id="ctx-web",
            source=EndPoint(id="office", ip=f"10.0.{n >> 8 & 255}.{n & 255}", port=n & 0xFFFF),
            destination=EndPoint(id="web", ip="10.0.0.2", port=22),
            policy_id="office-http",
            action=ActionType.REJECT,
            l4_protocol=6,
            count=1,
        )
        for n in range(RECORDS)
    ]


def _sift(records: list[FlowRecord], settings: dict[str, object]) -> float:
    chosen = RecordFilter(msgspec.convert(settings, FilterConfig))
    sizes = [100] * len(records)
    begin = time.process_time()
    passed, _, _ = chosen.sift(records, sizes)
    spent = (time.process_time() - begin) / len(records) * 1e6
    if not passed:
        raise SystemExit("the filter left nothing")
    return spent


def _encode(records: list[FlowRecord]) -> float:
    begin = time.process_time()
    for record in records:
        encode_json(record)
    return (time.process_time() - begin) / len(records) * 1e6


def run() -> bool:
    """Measure a typical expression, sampling and masks; the first has a target."""
    records = _records()
    mask = {"blank": ["destination.uri"], "hash": ["source.ip"]}
    figures = interleave(
        RUNS,
        {
            "encode": lambda: _encode(records),
            "expression": lambda: _sift(records, {"allow": [TYPICAL]}),
            "sample": lambda: _sift(records, {"sample": {"reject": 0.5}}),
            "mask": lambda: _sift(records, {"mask": mask}),
        },
    )
    encoded = show("msgspec encodes the record", figures["encode"], "us")
    expression = show("an expression of five comparisons", figures["expression"], "us")
    show("sampling", figures["sample"], "us")
    show("one field blanked, one hashed", figures["mask"], "us")
    allowed = TARGET_MICROSECONDS * encoded / ENCODE_MICROSECONDS
    print(
        f"  allowed on this machine: {allowed:.2f} us, that is {TARGET_MICROSECONDS} us where"
        f" encoding takes {ENCODE_MICROSECONDS} us"
    )
    return expression <= allowed
