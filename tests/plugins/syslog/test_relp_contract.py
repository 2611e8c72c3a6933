"""The syslog collector keeps the contract of collectors over RELP."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.plugins.syslog.relp_server import RelpServer
from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_syslog import SyslogCollector, SyslogOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager


class RelpHarness:
    """A RELP server in threads."""

    def __init__(self) -> None:
        self.server = RelpServer()
        self.collectors: list[SyslogCollector] = []

    def build(self) -> object:
        table = {"transport": "relp", "port": self.server.port, "send_timeout_seconds": 5}
        config = msgspec.convert(table, SyslogOptions)
        self.collectors.append(SyslogCollector(config, name="contract"))
        return self.collectors[-1]

    def received(self) -> Sequence[int]:
        # What the server has acknowledged it has: there is nothing to wait for.
        return self.server.taken

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        return self._away() if fault is Fault.AWAY else self._refuses()

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        self.server.close()
        try:
            yield
        finally:
            self.server.listen()

    @contextlib.contextmanager
    def _refuses(self) -> Iterator[None]:
        self.server.refuses_all = True
        try:
            yield
        finally:
            self.server.refuses_all = False


class TestRelp(CollectorContract):
    @pytest.fixture
    def harness(self) -> Iterator[RelpHarness]:
        harness = RelpHarness()
        with capture_logs():
            yield harness
        for collector in harness.collectors:
            collector.close()
        harness.server.close()
