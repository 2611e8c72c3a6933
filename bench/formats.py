"""What rendering a flow record costs, for each format of the syslog collector."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.figures import interleave, show, show_ratio
from bench.pipeline import make_records
from trireme_collector import encode_json
from trireme_collector.formats import (
    Rfc3164Options,
    Rfc5424Options,
    render_rfc3164,
    render_rfc5424,
)
from trireme_collector.formats._structured_data import parameter_value, parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector import FlowRecord

RUNS = 7
TARGET_RATIO = 0.5  # of writing the fields alone, one by one


def _plainly(record: FlowRecord) -> bytes:
    """Write the fields without anything prepared: the measure for the formats."""
    return "".join(f' {n}="{parameter_value(v)}"' for n, v in parameters(record)).encode()


def run() -> bool:
    """Measure the processor time of each format, side by side."""
    records = make_records()[:20_000]
    new = Rfc5424Options(hostname="host-7", procid="42")
    old = Rfc3164Options(hostname="host-7", procid="42")

    def measure(render: Callable[[FlowRecord], bytes]) -> Callable[[], float]:
        def once() -> float:
            begin = time.process_time()
            for record in records:
                render(record)
            return (time.process_time() - begin) / len(records) * 1e6

        return once

    figures = interleave(
        RUNS,
        {
            "json": measure(encode_json),
            "plain": measure(_plainly),
            "rfc5424": measure(lambda record: render_rfc5424(record, new)),
            "rfc3164": measure(lambda record: render_rfc3164(record, old, now_ns=0)),
        },
    )
    show("msgspec encodes the record", figures["json"], "us")
    plain = show("fields alone, one by one", figures["plain"], "us")
    rfc5424 = show("render_rfc5424", figures["rfc5424"], "us")
    show("render_rfc3164", figures["rfc3164"], "us")
    return show_ratio("render_rfc5424 against the fields alone", rfc5424 / plain, TARGET_RATIO)
