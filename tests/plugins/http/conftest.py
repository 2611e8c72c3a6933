"""Servers and collectors for the tests of the HTTP collector, closed after each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme

from tests.plugins.http.servers import HonestServer, ScriptedServer, server_context
from trireme_collector.testing import FakeClock
from trireme_collector_http import HttpCollector, HttpOptions

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    return server_context(authority.issue_cert("127.0.0.1", "receiver.example"))


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def honest() -> Iterator[HonestServer]:
    server = HonestServer()
    yield server
    server.close()


@pytest.fixture
def make(clock: FakeClock) -> Iterator[Callable[..., HttpCollector]]:
    made: list[HttpCollector] = []

    def build(url: str, **options: object) -> HttpCollector:
        config = msgspec.convert({"url": url, **options}, HttpOptions)
        collector = HttpCollector(config, name="h", time_ns=clock.time_ns)
        made.append(collector)
        collector.open()
        return collector

    yield build
    for collector in made:
        collector.close()
