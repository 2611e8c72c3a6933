"""The same against a Kafka of yours, if TRIREME_TEST_KAFKA names its brokers.

The topic ``trireme-test`` must exist, or be created by the brokers when it is asked for. Topics
for groups are created, if need be in the same way, and named anew each time.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.plugins.kafka.instances import Group
from tests.plugins.kafka.test_faults import flows
from tests.plugins.kafka.topics import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trireme_collector_kafka import KafkaCollector

BROKERS = [text for text in os.environ.get("TRIREME_TEST_KAFKA", "").split(",") if text]
TOPIC = "trireme-test"

pytestmark = pytest.mark.skipif(not BROKERS, reason="TRIREME_TEST_KAFKA names no brokers")


def test_records_arrive_once(make: Callable[..., KafkaCollector]) -> None:
    collector = make(BROKERS, TOPIC, compression="zstd")
    first = time.time_ns()  # what is in the topic already is told apart by its numbers
    for start in range(first, first + 1000, 100):
        collector.deliver(flows(100, start))
    found = [json.loads(message.value).get("sequence", 0) for message in read(BROKERS, TOPIC)]
    assert sorted(n for n in found if n >= first) == list(range(first, first + 1000))


def create(*topics: str) -> None:
    """Create topics with the tools for it, or by asking for them."""
    import confluent_kafka.admin  # noqa: PLC0415  belongs to the extra
    from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415

    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": ",".join(BROKERS)})
    wanted = [
        NewTopic(topic, 6, config={"cleanup.policy": "compact"} if topic.endswith("state") else {})
        for topic in topics
    ]
    for topic, future in admin.create_topics(wanted).items():
        try:
            future.result(15)
        except (confluent_kafka.KafkaException, TimeoutError):
            admin.list_topics(topic, timeout=30)


def test_a_group_with_a_kill(tmp_path: Path) -> None:
    name = f"trireme-{time.time_ns()}"
    create(*(f"{name}-{topic}" for topic in ("flows", "state", "out")))
    group = Group(BROKERS, tmp_path, name)
    try:
        group.send(500)
        victim, other = group.start(), group.start()
        time.sleep(10)
        group.send(500)
        time.sleep(1)
        victim.kill()
        group.send(500)
        outcome = group.settled()
        assert outcome.flow_logs() == group.sent
        assert not outcome.differing
        group.stop(other)
    finally:
        group.close()
