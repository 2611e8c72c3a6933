"""The collector keeps the contract, its rate, and its secret."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from typing import TYPE_CHECKING

import pytest
from trireme_collector import (
    ActionType,
    ConfigError,
    DeliveryConfig,
    EndPoint,
    FlowRecord,
    PermanentDeliveryError,
    Pipeline,
    RefusedCredentialsError,
    Registry,
    RetryableDeliveryError,
    build_pipeline,
)
from trireme_collector.testing import CollectorContract, FakeClock, Fault

from trireme_collector_webhook import Options, WebhookCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

TOKEN = "T0/B0/secret"


def reject(port: int, sequence: int = 0, **fields: str) -> FlowRecord:
    return FlowRecord(
        sequence=sequence,
        source=EndPoint(ip="192.0.2.1"),
        destination=EndPoint(ip=fields.get("ip", "198.51.100.7"), port=port),
        action=ActionType.REJECT,
        drop_reason=fields.get("drop_reason", "policy"),
        count=1,
    )


class Handler(http.server.BaseHTTPRequestHandler):
    """Keeps the messages, unless the harness says otherwise."""

    harness: Harness

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.harness.status == 200:
            self.harness.messages.append(json.loads(body)["text"])
        self.send_response(self.harness.status)
        for name, value in self.harness.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


class Harness:
    """A room on loopback, and what its server answers."""

    def __init__(self, directory: Path) -> None:
        self.messages: list[str] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        handler = type("OwnHandler", (Handler,), {"harness": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url_file = directory / "url"
        self.url_file.write_text(f"http://127.0.0.1:{self.server.server_port}/{TOKEN}\n")

    def build(
        self,
        *,
        every_flow: bool = True,
        messages_per_minute: int = 600,
        max_lines: int = 200,
        monotonic: Callable[[], float] = lambda: 0.0,
    ) -> WebhookCollector:
        options = Options(
            url_file=str(self.url_file),
            every_flow=every_flow,
            messages_per_minute=messages_per_minute,
            max_lines=max_lines,
        )
        return WebhookCollector(options, monotonic=monotonic)

    def received(self) -> Sequence[int]:
        return [
            int(number)
            for text in self.messages
            for number in re.findall(r"#(\d+)$", text, re.MULTILINE)
        ]

    @contextlib.contextmanager
    def fail(self, fault: Fault) -> Iterator[None]:
        self.status = 503 if fault is Fault.AWAY else 400
        try:
            yield
        finally:
            self.status = 200


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    made = Harness(tmp_path)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


class TestContract(CollectorContract):
    """Every test of the contract, with the harness of this module."""


def test_only_rejects_are_told(harness: Harness) -> None:
    collector = harness.build(every_flow=False)
    collector.deliver([FlowRecord(action=ActionType.ACCEPT), FlowRecord()])
    assert harness.messages == []
    collector.deliver([FlowRecord(action=ActionType.ACCEPT), reject(22, 7)])
    (text,) = harness.messages
    assert "reject 192.0.2.1 -> 198.51.100.7:22" in text
    assert text.startswith("1 flow on ")
    assert harness.received() == [7]


def test_a_message_names_a_few_and_counts_the_others(harness: Harness) -> None:
    harness.build(max_lines=2).deliver([reject(port, port) for port in range(1, 6)])
    (text,) = harness.messages
    assert text.splitlines()[0].startswith("5 flows on ")
    assert text.splitlines()[-1] == "and 3 more records"
    assert harness.received() == [1, 2]


def test_nobody_is_called_by_the_text_of_a_network(harness: Harness) -> None:
    record = reject(1, ip="<!channel>&\x1b[31m" + "x" * 1000, drop_reason="<@U1|\n>")
    harness.build().deliver([record])
    (text,) = harness.messages
    assert not set("<\x1b") & set(text)
    assert "&lt;!channel&gt;&amp;" in text
    assert len(text.splitlines()) == 2
    assert len(text) < 300


def test_the_rate_is_kept_and_nothing_is_lost(harness: Harness) -> None:
    clock = FakeClock()

    def seconds() -> float:
        return clock.monotonic_ns() / 1e9

    collector = harness.build(messages_per_minute=2, monotonic=seconds)
    delivery = DeliveryConfig(batch_age_seconds=0.0, batch_records=1000)
    pipeline = Pipeline([collector], delivery=delivery, clock=clock, threads=False)
    with pipeline:
        for number in range(1, 61):  # a reject each second, for a minute
            pipeline.collect_flow_event(reject(number))
            clock.advance(1)
            pipeline.tick()
        assert len(harness.messages) == 2
        for _ in range(40):
            clock.advance(10)
            pipeline.tick()
        assert len(harness.messages) <= 4
    assert sorted(harness.received()) == list(range(1, 61))
    account = pipeline.status().collectors[0]
    assert (account.delivered, account.queued) == (60, 0)


def test_the_server_may_ask_for_time(harness: Harness) -> None:
    harness.status = 429
    harness.headers["Retry-After"] = "30"
    with pytest.raises(RetryableDeliveryError) as caught:
        harness.build().deliver([reject(1)])
    assert caught.value.retry_after == 30


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_webhook_that_was_taken_away_can_be_mended(harness: Harness, status: int) -> None:
    harness.status = status
    with pytest.raises(RefusedCredentialsError, match="make a new webhook"):
        harness.build().deliver([reject(1)])


def test_a_redirection_is_not_followed(harness: Harness) -> None:
    harness.status = 302
    harness.headers["Location"] = "/elsewhere"
    with pytest.raises(PermanentDeliveryError, match="answers 302"):
        harness.build().deliver([reject(1)])


def test_the_secret_is_in_no_message(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    collector = harness.build()
    collector.deliver([reject(1)])
    for status in (503, 404, 400):
        harness.status = status
        with pytest.raises(Exception, match=str(status)) as caught:
            collector.deliver([reject(1)])
        assert TOKEN not in str(caught.value)
    harness.url_file.write_text(f"http://127.0.0.1:1/{TOKEN}")
    with pytest.raises(RetryableDeliveryError, match="no answer") as gone:
        harness.build().deliver([reject(1)])
    assert TOKEN not in str(gone.value)
    assert TOKEN not in caplog.text
    assert len(harness.messages) == 1


def test_a_secret_that_is_none_is_told_at_the_start(harness: Harness) -> None:
    harness.url_file.write_text("hunter2\n")
    with pytest.raises(ConfigError, match="it is no URL") as caught:
        harness.build().open()
    assert "hunter2" not in str(caught.value)


def test_a_changed_url_is_used_at_once(harness: Harness) -> None:
    good = harness.url_file.read_text()
    collector = harness.build()
    harness.url_file.write_text("http://127.0.0.1:1/")
    with pytest.raises(RetryableDeliveryError):
        collector.deliver([reject(1)])
    harness.url_file.write_text(good)
    collector.deliver([reject(1)])
    assert len(harness.messages) == 1


@pytest.mark.parametrize("table", [{}, {"url_env": "A", "url_file": "/etc/hostname"}])
def test_the_url_has_one_place(table: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="one of url_file, url_env and url_credential"):
        build_pipeline({"webhook": table}, Registry())
