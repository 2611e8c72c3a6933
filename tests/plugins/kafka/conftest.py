"""A cluster for all tests, one for those that break it, and collectors that are closed."""

from __future__ import annotations

import importlib.util
import itertools
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.plugins.kafka.mock_cluster import MockCluster
from trireme_collector_kafka import KafkaCollector, KafkaOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_numbers = itertools.count(1)


def _require_library() -> None:
    if importlib.util.find_spec("confluent_kafka") is None:
        pytest.skip("the extra kafka is not installed")


@pytest.fixture(scope="session")
def cluster() -> Iterator[MockCluster]:
    """Share a cluster: each test has a topic of its own."""
    _require_library()
    with MockCluster() as started:
        yield started


@pytest.fixture
def topic(cluster: MockCluster) -> str:
    """Make a topic with one partition, which keeps everything in order."""
    name = f"records-{next(_numbers)}"
    cluster.create(name)
    return name


@pytest.fixture
def fragile() -> Iterator[MockCluster]:
    """Start a cluster of three brokers that the test may break."""
    _require_library()
    with MockCluster(3) as started:
        started.create("records", 6)
        yield started


@pytest.fixture
def make() -> Iterator[Callable[..., KafkaCollector]]:
    made: list[KafkaCollector] = []

    def build(brokers: list[str], topic: str = "records", **options: object) -> KafkaCollector:
        table = {"brokers": brokers, "topic": topic, **options}
        collector = KafkaCollector(msgspec.convert(table, KafkaOptions), name="k")
        made.append(collector)
        collector.open()
        return collector

    yield build
    for collector in made:
        collector.close()
