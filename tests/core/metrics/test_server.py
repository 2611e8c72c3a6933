"""The server answers who asks, and nobody can hold it up."""

from __future__ import annotations

import json
import socket
import stat
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trireme_collector import ConfigError
from trireme_collector.metrics import (
    HealthCheck,
    Metric,
    MetricKind,
    MetricsConfig,
    MetricSpec,
    MetricsServer,
    ServerLimits,
)
from trireme_collector.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest.importorskip("prometheus_client")

SPEC = MetricSpec("trireme_reads", MetricKind.COUNTER, "How often it was read.")
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Source:
    """Counts how often it is read; may be broken or huge."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: Exception | None = None
        self.size = 0
        self.checks = [HealthCheck("loop", ok=True, vital=True), HealthCheck("queue", ok=True)]

    def metrics(self) -> Iterator[Metric]:
        if self.error is not None:
            raise self.error
        self.reads += 1
        yield Metric(SPEC, [((), self.reads)])
        if self.size:
            spec = MetricSpec("trireme_big", MetricKind.GAUGE, "Big.", ("name",))
            yield Metric(spec, [((f"{n}-" + "x" * self.size,), n) for n in range(500)])

    def health(self) -> list[HealthCheck]:
        if self.error is not None:
            raise self.error
        return self.checks


class Site:
    """A server without a thread, and clients that take turns with it."""

    def __init__(self, path: Path, limits: ServerLimits | None = None) -> None:
        self.clock = FakeClock()
        self.source = Source()
        self.path = path
        self.server = MetricsServer(
            MetricsConfig(listen=f"unix:{path}"),
            (self.source,),
            (self.source,),
            limits=limits,
            clock=self.clock.monotonic_ns,
        )
        self.server.open()
        self.clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.path))
        client.setblocking(False)
        self.clients.append(client)
        return client

    def turn(self, times: int = 4) -> None:
        for _ in range(times):
            self.server.step(0)

    def ask(self, request: bytes = GET) -> bytes:
        client = self.connect()
        client.send(request)
        self.turn()
        return self.receive(client)

    def receive(self, client: socket.socket) -> bytes:
        found = b""
        for _ in range(100):
            try:
                data = client.recv(1 << 20)
            except BlockingIOError:
                self.turn(1)
                continue
            if not data:
                break
            found += data
            self.turn(1)
        return found

    def is_open(self, client: socket.socket) -> bool:
        try:
            return bool(client.recv(1))
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False

    def cut(self) -> dict[str, float]:
        (_, cut) = self.server.metrics()
        return {labels[0]: value for labels, value in cut.samples}

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.server.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def build(**limits: float) -> Site:
        site = Site(tmp_path / f"{len(sites)}.sock", ServerLimits(**limits))  # type: ignore[arg-type]  # ints are floats
        sites.append(site)
        return site

    yield build
    for site in sites:
        site.close()


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def test_it_answers_with_openmetrics(make: Callable[..., Site]) -> None:
    answer = make().ask()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text")
    assert b"trireme_reads_total 1.0\n" in answer
    assert answer.endswith(b"# EOF\n")


def test_it_speaks_the_older_form_where_only_that_is_read(make: Callable[..., Site]) -> None:
    answer = make().ask(b"GET /metrics HTTP/1.1\r\nAccept: text/plain\r\n\r\n")
    assert b"Content-Type: text/plain; version=0.0.4" in answer
    assert b"trireme_reads_total 1.0\n" in answer


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", 404),
        (b"POST /metrics HTTP/1.1", 405),
        (b"nonsense", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1", 431),
    ],
)
def test_other_requests_are_refused(
    make: Callable[..., Site], request_line: bytes, status: int
) -> None:
    site = make()
    answer = site.ask(request_line + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b'trireme_metrics_requests_total{status="%d"} 1.0' % status in site.ask()


def test_a_head_request_gets_no_body(make: Callable[..., Site]) -> None:
    answer = make().ask(GET.replace(b"GET", b"HEAD"))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert body(answer) == b""


@pytest.mark.parametrize(
    ("loop", "queue", "alive", "ready"),
    [(True, True, 200, 200), (True, False, 200, 503), (False, True, 503, 503)],
)
def test_health_and_readiness(
    make: Callable[..., Site], *, loop: bool, queue: bool, alive: int, ready: int
) -> None:
    site = make()
    site.source.checks = [
        HealthCheck("loop", ok=loop, vital=True),
        HealthCheck("queue", ok=queue, detail="seen"),
    ]
    for path, status in ((b"/healthz", alive), (b"/readyz", ready)):
        answer = site.ask(b"GET " + path + b" HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert json.loads(body(answer))["checks"]["queue"] == {"ok": queue, "detail": "seen"}


def test_what_is_not_essential_degrades_and_harms_no_readiness(make: Callable[..., Site]) -> None:
    site = make()
    site.source.checks = [
        HealthCheck("loop", ok=True, vital=True),
        HealthCheck("spool", ok=False, detail="the disk failed", essential=False),
    ]
    for path, word in ((b"/healthz", "degraded"), (b"/readyz", "degraded")):
        answer = site.ask(b"GET " + path + b" HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert json.loads(body(answer))["status"] == word


def test_counters_are_read_once_a_second_at_most(make: Callable[..., Site]) -> None:
    site = make()
    for _ in range(5):
        assert b"trireme_reads_total 1.0\n" in site.ask()
    site.clock.advance(1.0)
    assert b"trireme_reads_total 2.0\n" in site.ask()


@pytest.mark.parametrize("path", [b"/metrics", b"/readyz"])
def test_a_broken_source_is_an_answer_not_an_end(make: Callable[..., Site], path: bytes) -> None:
    site = make()
    site.source.error = RuntimeError("secret detail")
    answer = site.ask(b"GET " + path + b" HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
    site.source.error = None
    assert site.ask().startswith(b"HTTP/1.1 200 ")


def test_a_large_answer_leaves_in_pieces_while_others_are_served(
    make: Callable[..., Site],
) -> None:
    site = make()
    site.source.size = 4000
    slow = site.connect()
    slow.send(GET)
    site.turn()
    assert site.ask(b"GET /healthz HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    answer = site.receive(slow)
    assert len(body(answer)) > 500 * 4000
    assert answer.endswith(b"# EOF\n")


def test_who_says_nothing_is_cut_off(make: Callable[..., Site]) -> None:
    site = make(lifetime_seconds=5.0)
    silent, drip = site.connect(), site.connect()
    drip.send(b"GET /")
    site.turn()
    site.clock.advance(4.9)
    site.turn()
    assert site.is_open(silent)
    site.clock.advance(0.2)
    site.turn()
    assert not site.is_open(silent)
    assert not site.is_open(drip)
    assert site.cut() == {"slow": 2}


def test_who_reads_nothing_is_cut_off(make: Callable[..., Site]) -> None:
    site = make()
    site.source.size = 4000
    site.connect().send(GET)
    site.turn()
    site.clock.advance(5.0)
    site.turn()
    assert site.cut() == {"slow": 1}


def test_a_request_in_crumbs_is_cut_off(make: Callable[..., Site]) -> None:
    site = make(reads=8)
    client = site.connect()
    for _ in range(9):
        client.send(b"G")
        site.turn(2)
    assert not site.is_open(client)
    assert site.cut() == {"slow": 1}


def test_one_too_many_ends_the_oldest(make: Callable[..., Site]) -> None:
    site = make(connections=3)
    clients = []
    for _ in range(4):
        clients.append(site.connect())
        site.turn(1)
    assert [site.is_open(client) for client in clients] == [False, True, True, True]
    assert site.ask().startswith(b"HTTP/1.1 200 ")
    assert site.cut() == {"too_many": 2}


def test_a_flood_waits_in_the_kernel_until_the_second_is_over(make: Callable[..., Site]) -> None:
    site = make(accepted_per_second=3)
    clients = [site.connect() for _ in range(5)]
    for client in clients:
        client.send(GET)
    site.turn(20)
    assert site.source.reads == 1
    served = [client for client in clients if site.receive(client)]
    assert served == clients[:3]
    site.clock.advance(1.0)
    site.turn(20)
    assert all(site.receive(client) for client in clients[3:])


def test_a_client_that_leaves_early_is_forgotten(make: Callable[..., Site]) -> None:
    site = make()
    client = site.connect()
    client.send(b"GET /")
    site.turn()
    client.close()
    site.turn()
    assert site.cut() == {"lost": 1}
    assert site.ask().startswith(b"HTTP/1.1 200 ")


def test_the_unix_socket_is_closed_to_others_and_removed(make: Callable[..., Site]) -> None:
    site = make()
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o600
    site.close()
    assert not site.path.exists()


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    server = MetricsServer(MetricsConfig(listen=f"unix:{path}", socket_mode="0660"), ())
    server.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    second = MetricsServer(MetricsConfig(listen=f"unix:{path}"), ())
    with pytest.raises(ConfigError, match="already in use; another program has it"):
        second.open()
    second.close()
    assert path.exists()
    server.close()


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("precious")
    server = MetricsServer(MetricsConfig(listen=f"unix:{path}"), ())
    with pytest.raises(ConfigError, match="already in use"):
        server.open()
    server.close()
    assert path.read_text() == "precious"


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    server = MetricsServer(MetricsConfig(listen=f"unix:{tmp_path}/none/m.sock"), ())
    with pytest.raises(ConfigError, match="no such file or directory; create its directory"):
        server.open()
    server.close()


def test_it_runs_in_a_thread_on_loopback() -> None:
    source = Source()
    server = MetricsServer(MetricsConfig(listen="127.0.0.1:0"), (source,), (source,))
    server.open()
    server.start()
    try:
        assert any(thread.name == "trireme-metrics" for thread in threading.enumerate())
        url = f"http://127.0.0.1:{server.port}/metrics"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=10) as answer:
            assert b"trireme_reads_total 1.0" in answer.read()
    finally:
        server.close()
    assert not any(thread.name == "trireme-metrics" for thread in threading.enumerate())


def test_closing_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    site = Site(tmp_path / "m.sock")
    site.connect()
    site.turn()
    site.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
