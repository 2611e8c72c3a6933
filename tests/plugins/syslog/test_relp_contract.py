"""The syslog collector keeps the contract of collectors over RELP."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme
from structlog.testing import capture_logs

from tests.plugins.syslog.relp_server import RelpServer
from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_syslog import SyslogCollector, SyslogOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path


class RelpHarness:
    """A RELP server in threads."""

    def __init__(self, context: ssl.SSLContext | None = None, **options: object) -> None:
        self.server = RelpServer(context)
        self.options = options
        self.collectors: list[SyslogCollector] = []

    def build(self) -> object:
        table = {"send_timeout_seconds": 5, **self.options, "port": self.server.port}
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
    @pytest.fixture(params=["relp", "relp+tls"])
    def harness(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RelpHarness]:
        if request.param == "relp":
            harness = RelpHarness(transport="relp")
        else:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            harness = RelpHarness(
                context, transport="relp+tls", ca_file=str(tmp_path / "ca.pem"), settle_seconds=0.05
            )
        with capture_logs():
            yield harness
        for collector in harness.collectors:
            collector.close()
        harness.server.close()
