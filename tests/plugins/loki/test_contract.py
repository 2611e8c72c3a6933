"""The Loki collector keeps the contract of collectors, in both formats and both encodings."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.plugins.loki.receiver import LokiReceiver
from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_loki import LokiCollector, LokiOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

pytest.importorskip("httpx2", reason="the extra loki is not installed")
pytest.importorskip("cramjam", reason="the extra loki is not installed")

# One stream each: Loki keeps an order within a stream only.
_TABLES: dict[str, dict[str, object]] = {
    "protobuf": {},
    "json": {"encoding": "json", "compression": "gzip"},
    "records": {"format": "json", "labels": [], "max_body_bytes": 4096},
}


class LokiHarness:
    """A receiver that decodes what is pushed."""

    def __init__(self, table: dict[str, object]) -> None:
        self.table = table
        self.receiver = LokiReceiver()
        self.collectors: list[LokiCollector] = []

    def build(self) -> object:
        table = {"url": self.receiver.url, **self.table}
        collector = LokiCollector(msgspec.convert(table, LokiOptions), name="contract")
        self.collectors.append(collector)
        return collector

    def received(self) -> Sequence[int]:
        return [int(line.metadata["trireme_sequence"]) for line in self.receiver.lines]

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        return self.receiver.away() if fault is Fault.AWAY else self._refuses()

    @contextlib.contextmanager
    def _refuses(self) -> Iterator[None]:
        self.receiver.refuses = lambda _: "line too long"
        try:
            yield
        finally:
            self.receiver.refuses = lambda _: ""


class TestLokiCollector(CollectorContract):
    @pytest.fixture(params=_TABLES)
    def harness(self, request: pytest.FixtureRequest) -> Iterator[LokiHarness]:
        harness = LokiHarness(_TABLES[request.param])
        with capture_logs():
            yield harness
        for collector in harness.collectors:
            collector.close()
        harness.receiver.stop()
