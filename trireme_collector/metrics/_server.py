"""The server of metrics and health: one thread, bounded in every way.

A busy thread takes the interpreter from the one that judges packets. So it answers a bounded number
of requests a second, reads the counters at most once a second, and waits for nobody.
"""

from __future__ import annotations

import selectors
import socket
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from trireme_collector._bounded_server import BoundedServer, Connection
from trireme_collector.metrics._config import MetricsConfig, parse_listen
from trireme_collector.metrics._model import Metric, MetricKind, MetricSpec
from trireme_collector.metrics._render import Renderer, render_health
from trireme_collector.metrics._requests import Request, read_request, write_response
from trireme_collector.metrics._socket import ListeningSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trireme_collector.metrics._model import HealthSource, MetricSource

__all__ = ["SERVER_METRICS", "MetricsServer", "ServerLimits"]

_NANOSECONDS = 1_000_000_000
_READ_BYTES = 4096
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"

_REQUESTS: Final = MetricSpec(
    "trireme_metrics_requests", MetricKind.COUNTER, "Requests answered, by status.", ("status",)
)
_CUT: Final = MetricSpec(
    "trireme_metrics_connections_cut",
    MetricKind.COUNTER,
    "Connections ended without a whole answer, by reason.",
    ("reason",),
)
SERVER_METRICS: Final = (_REQUESTS, _CUT)
"""Every metric of the server itself."""


class ServerLimits(NamedTuple):
    """What clients may cost.

    Attributes:
        connections: How many at once; one more ends the oldest.
        accepted_per_second: How many new ones in a second; others wait in the kernel.
        reads: In how many pieces a request may come.
        lifetime_seconds: How long a connection lives, from its first byte to its last.
        fresh_seconds: How old an answer may be: the counters are not read more often.
    """

    connections: int = 16
    accepted_per_second: int = 50
    reads: int = 32
    lifetime_seconds: float = 5.0
    fresh_seconds: float = 1.0


class _Client(Connection):
    def __init__(self, peer: socket.socket, end_ns: int) -> None:
        super().__init__(peer, end_ns)
        self.answered = False


class MetricsServer:
    """Answers ``/metrics``, ``/healthz`` and ``/readyz``.

    `step` does the work and needs no thread; `start` runs it in one.

    Args:
        config: Where to listen.
        sources: What is measured.
        health: What knows whether it works.
        limits: What clients may cost.
        clock: A clock that does not jump, nanoseconds.

    Raises:
        MissingExtraError: The package prometheus-client is not installed.
    """

    def __init__(
        self,
        config: MetricsConfig,
        sources: Sequence[MetricSource],
        health: Sequence[HealthSource] = (),
        *,
        limits: ServerLimits | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Keep what to measure; open nothing."""
        self._config = config
        self._renderer = Renderer([*sources, self])
        self._health = tuple(health)
        self._limits = limits = limits or ServerLimits()
        self._clock = clock
        self._listening: ListeningSocket | None = None
        self._server: BoundedServer[_Client] = BoundedServer(
            self,
            name="trireme-metrics",
            connections=limits.connections,
            accepted_per_second=limits.accepted_per_second,
            seconds=limits.lifetime_seconds,
            clock=clock,
        )
        self._statuses: dict[int, int] = {}
        self._cut: dict[str, int] = {}
        self._fresh: dict[bool, tuple[int, tuple[str, bytes]]] = {}

    @property
    def port(self) -> int:
        """The port that it listens on; 0 for a unix socket, or none."""
        return 0 if self._listening is None else self._listening.port

    def open(self) -> None:
        """Listen.

        Raises:
            ConfigError: The address is in use, or not allowed.
        """
        listen = parse_listen(self._config.listen)
        self._listening = ListeningSocket(listen, int(self._config.socket_mode, base=8))
        self._server.open(self._listening.socket)

    def start(self) -> None:
        """Answer in a thread of its own from now on."""
        self._server.start()

    def step(self, timeout_seconds: float) -> None:
        """Wait for clients and serve those that are ready.

        Args:
            timeout_seconds: How long to wait at most.
        """
        self._server.step(timeout_seconds)

    def close(self) -> None:
        """End the thread, and every connection."""
        self._server.stop()
        self._server.close()
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def metrics(self) -> Iterator[Metric]:
        """Measure the server itself."""
        statuses = dict(self._statuses)
        yield Metric(_REQUESTS, [((str(status),), count) for status, count in statuses.items()])
        yield Metric(_CUT, [((reason,), count) for reason, count in dict(self._cut).items()])

    # What the server asks for.

    def admit(self, peer: socket.socket, end_ns: int) -> _Client:
        """Take a client."""
        return _Client(peer, end_ns)

    def make_room(self) -> bool:
        """End the oldest: who is slow came first."""
        self._cut_off(next(iter(self._server.connections.values())), "too_many")
        return True

    def serve(self, connection: _Client, events: int) -> None:
        """Read a request, and send its answer."""
        if events & selectors.EVENT_READ:
            self._read(connection)
        if connection.answer:
            self._write(connection)

    def lose(self, connection: _Client) -> None:
        """Count a connection that broke."""
        self._cut_off(connection, "lost")

    def look_after(self, connection: _Client, now_ns: int) -> None:
        """Give up who is too slow."""
        if now_ns >= connection.end_ns:
            self._cut_off(connection, "slow")

    def _read(self, connection: _Client) -> None:
        data = connection.socket.recv(_READ_BYTES)
        connection.reads += 1
        if not data:
            if connection.answered:
                self._server.end(connection)
            else:
                self._cut_off(connection, "lost")
            return
        if connection.reads > self._limits.reads:
            self._cut_off(connection, "slow")
            return
        if connection.answered:
            return
        connection.received += data
        request = read_request(connection.received)
        if request is not None:
            connection.answered = True
            connection.received.clear()
            connection.answer = memoryview(self._answer(request))

    def _write(self, connection: _Client) -> None:
        try:
            sent = connection.socket.send(connection.answer)
        except BlockingIOError:
            sent = 0
        connection.answer = connection.answer[sent:]
        if connection.answer:
            self._server.want(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
            return
        # The client closes first: closing before it has read everything could take it away again.
        connection.socket.shutdown(socket.SHUT_WR)
        self._server.want(connection, selectors.EVENT_READ)

    def _answer(self, request: Request) -> bytes:
        status, content_type, body = self._content(request)
        self._statuses[status] = self._statuses.get(status, 0) + 1
        return write_response(status, content_type, body, is_head=request.is_head)

    def _content(self, request: Request) -> tuple[int, str, bytes]:
        if request.status:
            return request.status, _TEXT, b"refused\n"
        try:
            match request.path:
                case "/metrics":
                    return 200, *self._metrics_text(request.accept)
                case "/healthz" | "/readyz":
                    checks = [check for source in self._health for check in source.health()]
                    vital_only = request.path == "/healthz"
                    ok, body = render_health(checks, vital_only=vital_only)
                    return 200 if ok else 503, _JSON, body
        except Exception:  # noqa: BLE001  a source is the embedder's code; the answer says that it failed
            return 500, _TEXT, b"the values cannot be read\n"
        return 404, _TEXT, b"there are /metrics, /healthz and /readyz\n"

    def _metrics_text(self, accept: str) -> tuple[str, bytes]:
        as_openmetrics = "openmetrics" in accept or "text/plain" not in accept
        now_ns = self._clock()
        until_ns, text = self._fresh.get(as_openmetrics, (0, ("", b"")))
        if now_ns >= until_ns:
            text = self._renderer.render(as_openmetrics=as_openmetrics)
            until_ns = now_ns + round(self._limits.fresh_seconds * _NANOSECONDS)
            self._fresh[as_openmetrics] = until_ns, text
        return text

    def _cut_off(self, connection: _Client, reason: str) -> None:
        if not connection.answered or connection.answer:
            self._cut[reason] = self._cut.get(reason, 0) + 1
        self._server.end(connection)
