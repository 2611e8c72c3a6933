"""The HTTP collector keeps the contract of collectors, in both formats and over TLS."""

from __future__ import annotations

import contextlib
import gzip
import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.plugins.push_receiver import PushAnswer, PushReceiver
from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_http import HttpCollector, HttpOptions

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

pytest.importorskip("httpx2", reason="the extra http is not installed")

_TABLES: dict[str, dict[str, object]] = {
    "json": {},
    "ndjson": {"format": "ndjson", "compression": "gzip"},
    "small-bodies": {"max_body_bytes": 4096},
    "tls": {},
}


class Receiver(PushReceiver):
    """Keeps the numbers of the records of each request, as far as it is there and takes them."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.sequences: list[int] = []
        self.status = 204
        super().__init__(context)

    def answer(self, headers: Mapping[str, str], body: bytes) -> PushAnswer:
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        is_lines = headers["Content-Type"] == "application/x-ndjson"
        records = [json.loads(line) for line in body.splitlines()] if is_lines else json.loads(body)
        if self.status == 204:
            self.sequences += [record["sequence"] for record in records]
        return self.status, {}, b""


class HttpHarness:
    """A server of the standard library."""

    def __init__(self, context: ssl.SSLContext | None, table: dict[str, object]) -> None:
        self.table = table
        self.receiver = Receiver(context)
        self.collectors: list[HttpCollector] = []

    def build(self) -> object:
        table = {"url": f"{self.receiver.url}/records", **self.table}
        collector = HttpCollector(msgspec.convert(table, HttpOptions), name="contract")
        self.collectors.append(collector)
        return collector

    def received(self) -> Sequence[int]:
        # What was answered with 204 is in the list: there is nothing to wait for.
        return self.receiver.sequences

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        return self.receiver.away() if fault is Fault.AWAY else self._refuses()

    @contextlib.contextmanager
    def _refuses(self) -> Iterator[None]:
        self.receiver.status = 422
        try:
            yield
        finally:
            self.receiver.status = 204


class TestHttpCollector(CollectorContract):
    @pytest.fixture(params=_TABLES)
    def harness(
        self, request: pytest.FixtureRequest, tls: ssl.SSLContext, ca_file: str
    ) -> Iterator[HttpHarness]:
        table = _TABLES[request.param]
        if request.param == "tls":
            harness = HttpHarness(tls, {**table, "ca_file": ca_file})
        else:
            harness = HttpHarness(None, table)
        with capture_logs():
            yield harness
        for collector in harness.collectors:
            collector.close()
        harness.receiver.stop()
