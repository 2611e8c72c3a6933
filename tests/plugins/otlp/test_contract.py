"""The OTLP collector keeps the contract of collectors, in both formats and both encodings."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.plugins.otlp.receiver import OtlpReceiver
from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_otlp import OtlpCollector, OtlpOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

pytest.importorskip("httpx2", reason="the extra otlp is not installed")
pytest.importorskip("google.protobuf", reason="protobuf is not installed")

_TABLES: dict[str, dict[str, object]] = {
    "protobuf": {},
    "json": {"encoding": "json", "compression": "gzip", "max_body_bytes": 8192},
    "netobserv": {"format": "netobserv"},
}


class OtlpHarness:
    """A receiver that decodes what it gets."""

    def __init__(self, table: dict[str, object]) -> None:
        self.table = table
        self.receiver = OtlpReceiver()
        self.collectors: list[OtlpCollector] = []

    def build(self) -> object:
        table = {"url": self.receiver.url, **self.table}
        collector = OtlpCollector(msgspec.convert(table, OtlpOptions), name="contract")
        self.collectors.append(collector)
        return collector

    def received(self) -> Sequence[int]:
        return [int(str(log.attributes["trireme.sequence"])) for log in self.receiver.seen]

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        return self.receiver.away() if fault is Fault.AWAY else self._refuses()

    @contextlib.contextmanager
    def _refuses(self) -> Iterator[None]:
        self.receiver.status = 400
        try:
            yield
        finally:
            self.receiver.status = 200


class TestOtlpCollector(CollectorContract):
    @pytest.fixture(params=_TABLES)
    def harness(self, request: pytest.FixtureRequest) -> Iterator[OtlpHarness]:
        harness = OtlpHarness(_TABLES[request.param])
        with capture_logs():
            yield harness
        for collector in harness.collectors:
            collector.close()
        harness.receiver.stop()
