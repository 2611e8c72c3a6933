"""Servers that are away, slow, broken or hostile: nothing is lost, and nobody waits for ever."""

from __future__ import annotations

import gzip
import logging
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.plugins.http.servers import HonestServer, ScriptedServer, Step, answer
from trireme_collector import PacketReport, PermanentDeliveryError, RetryableDeliveryError
from trireme_collector.http_client import MAX_ANSWER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector_http import HttpCollector

pytest.importorskip("httpx2", reason="the extra http is not installed")

BATCH = [PacketReport(packet_id=1)]
# A whole kernel buffer may be on its way when the reader stops.
BUFFERS = 16 * 1024 * 1024


def test_nobody_listens(make: Callable[..., HttpCollector]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    collector = make(f"http://127.0.0.1:{port}/records?tenant=7")
    with pytest.raises(RetryableDeliveryError, match="nothing listens there") as caught:
        collector.deliver(BATCH)
    assert f"collector 'h' cannot deliver to http://127.0.0.1:{port}/records: " in str(caught.value)


def test_the_name_cannot_be_resolved(make: Callable[..., HttpCollector]) -> None:
    with pytest.raises(RetryableDeliveryError, match="its name cannot be resolved"):
        make("http://collector.invalid/").deliver(BATCH)


@pytest.mark.parametrize(
    "step",
    [
        Step(b"", then_close=True),
        Step(b"HTTP/1.1 200 OK\r\nContent-Le", then_close=True),
        Step(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", then_close=True),
        Step(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", then_close=True
        ),
        Step(b"\x00\xff garbage \r\n\r\n", then_close=True),
        Step(b"220 mail.example ESMTP\r\n", then_close=True),
        Step(b"HTTP/1.1 999999 No\r\n\r\n"),
        Step(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        Step(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab"),
        Step(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        Step(b"SSH-2.0-OpenSSH_9.2\r\n", endless=b"x" * 65_536),
        Step(b"HTTP/1.1 200 OK\r\n", endless=b"X-Endless: " + b"y" * 65_536 + b"\r\n"),
    ],
)
def test_an_answer_that_is_none_delivers_nothing(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, step: Step
) -> None:
    scripted.script = [step]
    collector = make(scripted.url)
    with pytest.raises(RetryableDeliveryError, match="cannot deliver to http://127"):
        collector.deliver(BATCH)
    # The next attempt is on a new connection, which nothing is left over on.
    collector.deliver(BATCH)
    assert [request.connection for request in scripted.requests] == [1, 2]


@pytest.mark.parametrize(
    ("step", "status"),
    [
        (Step(b"HTTP/1.1 200 OK\r\n\r\n", endless=b"x" * 65_536), 200),
        (
            Step(
                b"HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                endless=b"1000\r\n" + b"x" * 4096 + b"\r\n",
            ),
            201,
        ),
        (
            Step(b"HTTP/1.1 404 No\r\nContent-Length: 99999999999\r\n\r\n", endless=b"x" * 65_536),
            404,
        ),
    ],
)
def test_endless_answers_are_cut(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, step: Step, status: int
) -> None:
    scripted.script = [step]
    collector = make(scripted.url)
    if status < 300:
        collector.deliver(BATCH)
    else:
        with pytest.raises(PermanentDeliveryError, match="status 404: xxx"):
            collector.deliver(BATCH)
    collector.deliver(BATCH)
    assert [request.connection for request in scripted.requests] == [1, 2]
    assert scripted.sent < BUFFERS


def test_compressed_answers_are_not_unpacked(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    assert len(bomb) < MAX_ANSWER_BYTES
    scripted.script = [answer(400, bomb, Content_Encoding="gzip")]
    with pytest.raises(PermanentDeliveryError, match="status 400") as caught:
        make(scripted.url).deliver(BATCH)
    assert len(str(caught.value)) < 2500
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "step",
    [
        Step(b"", endless=b"\r", pause_seconds=30),
        Step(b"HTTP/1.1 200 OK\r\nX-Drip: ", endless=b"x", pause_seconds=0.02),
        Step(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", endless=b"x", pause_seconds=0.02),
        Step(b"", endless=b"HTTP/1.1 100 Continue\r\n\r\n", pause_seconds=0.02),
    ],
    ids=["silent", "drips a header", "drips a body", "never comes to the point"],
)
def test_slow_answers_are_given_up(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, step: Step
) -> None:
    scripted.script = [step]
    collector = make(scripted.url, timeout_seconds=0.3)
    before = time.monotonic()
    with pytest.raises(RetryableDeliveryError, match=r"no complete answer within 0\.3 s"):
        collector.deliver(BATCH)
    assert time.monotonic() - before < 5
    collector.deliver(BATCH)
    assert scripted.requests[-1].connection == 2


def test_a_slow_first_request_does_not_shorten_the_next(
    make: Callable[..., HttpCollector], honest: HonestServer
) -> None:
    collector = make(honest.url, timeout_seconds=0.2)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        collector.deliver(BATCH)
    assert len({request.connection for request in honest.requests}) == 1


def test_a_peer_that_does_not_read_is_given_up(make: Callable[..., HttpCollector]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        collector = make(url, timeout_seconds=0.3, max_body_bytes=1_073_741_824)
        report = PacketReport(payload=b"x" * 30_000_000)
        with pytest.raises(RetryableDeliveryError, match="no complete answer"):
            collector.deliver([report])


def test_proxies_of_the_environment_are_not_used(
    make: Callable[..., HttpCollector],
    scripted: ScriptedServer,
    honest: HonestServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, scripted.url)
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    make(honest.url).deliver(BATCH)
    assert (len(honest.requests), len(scripted.requests)) == (1, 0)
    make(honest.url, proxy_from_environment=True).deliver(BATCH)
    assert (len(honest.requests), len(scripted.requests)) == (1, 1)
    assert scripted.requests[0].target == honest.url
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    make(honest.url, proxy_from_environment=True).deliver(BATCH)
    assert (len(honest.requests), len(scripted.requests)) == (2, 1)


def test_a_configured_proxy_is_used(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    proxy = scripted.url.removesuffix("/records")
    make("http://collector.invalid/records", proxy=proxy).deliver(BATCH)
    assert scripted.requests[0].target == "http://collector.invalid/records"


def test_a_proxy_that_refuses_is_told(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    scripted.script = [answer(407)]
    proxy = scripted.url.removesuffix("/records")
    with pytest.raises(RetryableDeliveryError, match="the proxy refuses: 407"):
        make("https://collector.invalid/records", proxy=proxy).deliver(BATCH)
    assert (scripted.requests[0].method, scripted.requests[0].target) == (
        "CONNECT",
        "collector.invalid:443",
    )


def test_no_log_holds_a_secret(
    make: Callable[..., HttpCollector],
    scripted: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN_HERE", "s3cr3t-value")
    with caplog.at_level(logging.DEBUG):
        make(scripted.url, token_env="TOKEN_HERE").deliver(BATCH)
    assert scripted.requests[0].headers["authorization"] == "Bearer s3cr3t-value"
    assert "s3cr3t" not in caplog.text
