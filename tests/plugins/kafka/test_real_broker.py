"""The same against a Kafka of yours, if TRIREME_TEST_KAFKA names its brokers.

The topic ``trireme-test`` must exist, or be created by the brokers when it is asked for.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.plugins.kafka.test_faults import flows
from tests.plugins.kafka.topics import read

if TYPE_CHECKING:
    from collections.abc import Callable

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
