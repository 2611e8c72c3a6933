"""A Loki and collectors for each test, closed after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.plugins.loki.receiver import LokiReceiver
from trireme_collector.testing import FakeClock
from trireme_collector_loki import LokiCollector, LokiOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def loki() -> Iterator[LokiReceiver]:
    receiver = LokiReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def make(clock: FakeClock) -> Iterator[Callable[..., LokiCollector]]:
    made: list[LokiCollector] = []

    def build(url: str, **options: object) -> LokiCollector:
        config = msgspec.convert({"url": url, **options}, LokiOptions)
        collector = LokiCollector(config, name="l", time_ns=clock.time_ns)
        made.append(collector)
        collector.open()
        return collector

    yield build
    for collector in made:
        collector.close()
