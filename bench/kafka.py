"""How many records a second one core produces to Kafka, encoding included.

The brokers are the mock ones of the library, in another process, so the processor time is the
producer's alone: encoding, handing over, compressing, sending, and taking the reports.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from bench.figures import interleave, show
from bench.pipeline import make_records
from trireme_collector_kafka import KafkaCollector, KafkaOptions
from trireme_collector_kafka._messages import message_form

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugins.kafka.mock_cluster import MockCluster
    from trireme_collector import FlowRecord

RUNS = 5
TARGET_RECORDS = 100_000  # a second of processor time
_PARTITIONS = 6


def run() -> bool:
    """Measure both formats in batches of several sizes."""
    # The cluster belongs to the tests, and needs the extra.
    from tests.plugins.kafka.mock_cluster import MockCluster

    records = make_records()
    with MockCluster() as cluster:
        contenders: dict[str, Callable[[], float]] = {}
        for layout in ("json", "netobserv"):
            contenders[f"{layout}, encoding alone"] = _encoding(records, layout)
            for size in (500, 5_000):
                name = f"{layout}-{size}"
                cluster.create(name, _PARTITIONS)
                contenders[f"{layout}, batches of {size}"] = _producing(
                    records, cluster, name, layout, size
                )
        figures = interleave(RUNS, contenders)
    met = True
    for name, values in figures.items():
        rate = show(name, [value / 1000 for value in values], "k/s")
        if "batches" in name:
            met = met and rate * 1000 >= TARGET_RECORDS
    print(
        f"  target {TARGET_RECORDS // 1000} k records/s of one core: {'met' if met else 'MISSED'};"
        f" a record is {len(message_form('json', keyed=True)(records[0])[0].value)} bytes"
    )
    return met


def _encoding(records: list[FlowRecord], layout: str) -> Callable[[], float]:
    render = message_form(layout, keyed=True)

    def once() -> float:
        begin = time.process_time()
        for record in records:
            render(record)
        return len(records) / (time.process_time() - begin)

    return once


def _producing(
    records: list[FlowRecord], cluster: MockCluster, topic: str, layout: str, size: int
) -> Callable[[], float]:
    table = {"brokers": cluster.brokers, "topic": topic, "format": layout}
    options = msgspec.convert(table, KafkaOptions)

    def once() -> float:
        collector = KafkaCollector(options, name="bench")
        collector.open()
        collector.deliver(records[:1])  # until here it connects
        begin = time.process_time()
        for start in range(0, len(records), size):
            collector.deliver(records[start : start + size])
        spent = time.process_time() - begin
        collector.close()
        return len(records) / spent

    return once
