"""A receiver and collectors for each test, closed after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.plugins.otlp.receiver import OtlpReceiver
from trireme_collector.testing import FakeClock
from trireme_collector_otlp import OtlpCollector, OtlpOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def make(clock: FakeClock) -> Iterator[Callable[..., OtlpCollector]]:
    made: list[OtlpCollector] = []

    def build(url: str, **options: object) -> OtlpCollector:
        config = msgspec.convert({"url": url, **options}, OtlpOptions)
        collector = OtlpCollector(config, name="o", instance="host-7", time_ns=clock.time_ns)
        made.append(collector)
        collector.open()
        return collector

    yield build
    for collector in made:
        collector.close()
