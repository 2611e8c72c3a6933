"""The Kafka collector keeps the contract of collectors."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.plugins.kafka.topics import read
from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_kafka import KafkaCollector, KafkaOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from tests.plugins.kafka.mock_cluster import MockCluster

_INVALID_RECORD = 87
_PRODUCE = 0
_TABLES: dict[str, dict[str, object]] = {
    "json": {},
    "netobserv": {"format": "netobserv", "compression": "zstd", "partitioner": "fnv1a"},
}


class KafkaHarness:
    """A topic of the mock cluster."""

    def __init__(self, cluster: MockCluster, topic: str, table: dict[str, object]) -> None:
        self.cluster = cluster
        self.topic = topic
        self.table = table
        self.collectors: list[KafkaCollector] = []

    def build(self) -> object:
        table = {
            "brokers": self.cluster.brokers,
            "topic": self.topic,
            "timeout_seconds": 5,
            **self.table,
        }
        collector = KafkaCollector(msgspec.convert(table, KafkaOptions), name="contract")
        self.collectors.append(collector)
        return collector

    def received(self) -> Sequence[int]:
        messages = read(self.cluster.brokers, self.topic)
        if self.table:
            return [int(message.headers["trireme-sequence"]) for message in messages]
        return [json.loads(message.value)["sequence"] for message in messages]

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        return self._away() if fault is Fault.AWAY else self._refuses()

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        self.cluster.down()
        try:
            yield
        finally:
            self.cluster.up()

    @contextlib.contextmanager
    def _refuses(self) -> Iterator[None]:
        self.cluster.fail(_PRODUCE, [_INVALID_RECORD])
        try:
            yield
        finally:
            self.cluster.heal(_PRODUCE)


class TestKafkaCollector(CollectorContract):
    @pytest.fixture(params=_TABLES)
    def harness(
        self, request: pytest.FixtureRequest, cluster: MockCluster, topic: str
    ) -> Iterator[KafkaHarness]:
        harness = KafkaHarness(cluster, topic, _TABLES[request.param])
        yield harness
        for collector in harness.collectors:
            collector.close()
