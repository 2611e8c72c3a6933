"""Collecting processes and collectors for each test, closed after it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.plugins.ipfix.receivers import TcpReceiver, UdpReceiver
from trireme_collector_ipfix import IpfixCollector, IpfixOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def tcp() -> Iterator[TcpReceiver]:
    receiver = TcpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def udp() -> Iterator[UdpReceiver]:
    receiver = UdpReceiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def make() -> Iterator[Callable[..., IpfixCollector]]:
    made: list[IpfixCollector] = []

    def build(
        port: int, transport: str, monotonic: Callable[[], float] | None = None, **options: object
    ) -> IpfixCollector:
        table = {"host": "127.0.0.1", "port": port, "transport": transport, **options}
        config = msgspec.convert(table, IpfixOptions)
        collector = IpfixCollector(config, name="i", monotonic=monotonic or time.monotonic)
        made.append(collector)
        return collector

    yield build
    for collector in made:
        collector.close()
