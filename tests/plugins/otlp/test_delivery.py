"""What a receiver answers, and what becomes of the records then."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from trireme_collector import (
    FlowRecord,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugins.otlp.receiver import OtlpReceiver
    from trireme_collector_otlp import OtlpCollector

pytest.importorskip("httpx2", reason="the extra otlp is not installed")
pytest.importorskip("google.protobuf", reason="protobuf is not installed")

JSON = "application/json"


def flows(count: int, first: int = 1) -> list[FlowRecord]:
    return [
        FlowRecord(count=1, instance="test", epoch=1, sequence=n)
        for n in range(first, first + count)
    ]


def numbers(server: OtlpReceiver) -> list[object]:
    return [log.attributes["trireme.sequence"] for log in server.seen]


def partial(rejected: int, message: str) -> bytes:
    body = {"partialSuccess": {"rejectedLogRecords": str(rejected), "errorMessage": message}}
    return json.dumps(body).encode()


def test_a_request_says_who_sends_it(
    server: OtlpReceiver, make: Callable[..., OtlpCollector]
) -> None:
    make(server.url + "/", resource={"service.name": "edge", "site": "north"}).deliver(flows(2))
    assert server.targets == ["/v1/logs"]
    assert server.seen[0].resource == {
        "service.name": "edge",
        "service.instance.id": "host-7",
        "site": "north",
    }
    assert server.seen[0].time_ns == 0
    assert server.seen[0].observed_ns > 0
    assert numbers(server) == [1, 2]


def test_a_large_batch_is_several_requests(
    server: OtlpReceiver, make: Callable[..., OtlpCollector]
) -> None:
    make(server.url, max_body_bytes=4096, compression="gzip").deliver(flows(50))
    assert len(server.targets) > 5
    assert numbers(server) == list(range(1, 51))


def test_a_rejected_part_is_kept_and_not_sent_again(
    server: OtlpReceiver, make: Callable[..., OtlpCollector]
) -> None:
    collector = make(server.url)
    server.script = [(200, JSON, partial(2, "too large\x1b[31m"))]
    with pytest.raises(PermanentDeliveryError, match="rejected 2 log records") as caught:
        collector.deliver(flows(10))
    assert (caught.value.delivered, caught.value.rejected) == (0, 10)
    assert str(caught.value).isprintable()


def test_a_warning_rejects_nothing(
    server: OtlpReceiver, make: Callable[..., OtlpCollector]
) -> None:
    collector = make(server.url)
    server.script = [(200, JSON, partial(0, "use another attribute"))]
    with capture_logs() as logs:
        collector.deliver(flows(10))
    assert [entry["event"] for entry in logs] == ["receiver_warns"]
    assert "use another attribute" in str(logs)


@pytest.mark.parametrize("status", [404, 405, 307, 429, 500, 503])
def test_what_is_not_about_records_waits(
    server: OtlpReceiver, make: Callable[..., OtlpCollector], status: int
) -> None:
    collector = make(server.url)
    server.script = [(status, JSON, b"")]
    with pytest.raises(RetryableDeliveryError, match=f"status {status}"):
        collector.deliver(flows(10))
    collector.deliver(flows(10))
    assert numbers(server) == list(range(1, 11))


def test_refused_credentials_pause(
    server: OtlpReceiver, make: Callable[..., OtlpCollector]
) -> None:
    collector = make(server.url)
    server.script = [(401, JSON, b"")]
    with pytest.raises(RefusedCredentialsError):
        collector.deliver(flows(10))


@pytest.mark.parametrize(("status", "events"), [(400, []), (413, ["body_too_large"])])
def test_refused_records_are_divided(
    server: OtlpReceiver, make: Callable[..., OtlpCollector], status: int, events: list[str]
) -> None:
    collector = make(server.url)
    server.script = [(status, JSON, b""), (status, JSON, b"")]
    with capture_logs() as logs, pytest.raises(PermanentDeliveryError) as caught:
        collector.deliver(flows(10))
    assert caught.value.rejected is None
    with pytest.raises(PermanentDeliveryError) as caught:
        collector.deliver(flows(1))
    assert caught.value.rejected == 1
    assert [entry["event"] for entry in logs] == events
