"""What Loki answers, and what becomes of the records then."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.plugins.loki.flows import BASE, SECOND, flows
from trireme_collector import (
    DeliveryConfig,
    FlowRecord,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
)
from trireme_collector.delivery import DeliveryWorker, adapt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.plugins.loki.decoding import Line
    from tests.plugins.loki.receiver import LokiReceiver
    from trireme_collector import Record
    from trireme_collector.testing import FakeClock
    from trireme_collector_loki import LokiCollector

pytest.importorskip("httpx2", reason="the extra loki is not installed")
pytest.importorskip("cramjam", reason="the extra loki is not installed")


def numbers(loki: LokiReceiver) -> list[int]:
    return [int(line.metadata["trireme_sequence"]) for line in loki.lines]


class Dropped:
    """Dead letters, kept here."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.place = "here"

    def open(self) -> None:
        """Do nothing."""

    def add(
        self, records: Sequence[Record], *, reason: str, time_ns: int, attempts: int
    ) -> dict[str, int]:
        del reason, time_ns, attempts
        self.numbers += [record.sequence for record in records if record.sequence]
        return {}


def drive(collector: LokiCollector, records: Sequence[Record], clock: FakeClock) -> Dropped:
    """Deliver behind a worker until nothing waits."""
    dropped = Dropped()
    worker = DeliveryWorker(
        "l",
        adapt(collector, name="l"),
        DeliveryConfig(batch_records=1000, batch_age_seconds=0),
        dead_letters=dropped,
        clock=clock,
        random=lambda: 0.0,
    )
    worker.put(records, [1] * len(records))
    with capture_logs():
        for _ in range(10_000):
            again_ns = worker.step(clock.monotonic_ns())
            if not worker.status().queued:
                return dropped
            if again_ns is not None and again_ns > clock.monotonic_ns():
                clock.advance((again_ns - clock.monotonic_ns()) / SECOND)
    raise AssertionError(worker.status())


def test_a_push_is_one_request(loki: LokiReceiver, make: Callable[..., LokiCollector]) -> None:
    make(loki.url + "/", tenant="north").deliver(flows(10))
    assert loki.targets == ["/loki/api/v1/push"]
    assert loki.tenants == ["north"]
    assert numbers(loki) == list(range(1, 11))
    assert [line.time_ns for line in loki.lines] == [BASE + n for n in range(1, 11)]


def test_a_path_before_the_push_is_kept(
    loki: LokiReceiver, make: Callable[..., LokiCollector]
) -> None:
    make(loki.url + "/api/logs/v1/network/").deliver(flows(1))
    assert loki.targets == ["/api/logs/v1/network/loki/api/v1/push"]
    assert loki.tenants == [None]


def test_lines_of_a_stream_are_in_order(
    loki: LokiReceiver, make: Callable[..., LokiCollector]
) -> None:
    batch = flows(10)
    make(loki.url, encoding="json").deliver([*batch[5:], *batch[:5]])
    assert numbers(loki) == list(range(1, 11))


def test_a_large_batch_is_several_requests(
    loki: LokiReceiver, make: Callable[..., LokiCollector]
) -> None:
    make(loki.url, max_body_bytes=1024).deliver(flows(50))
    assert loki.pushes > 5
    assert numbers(loki) == list(range(1, 51))


@pytest.mark.parametrize("status", [404, 405, 302, 429, 500, 502, 503, 504])
def test_what_is_not_about_lines_waits(
    loki: LokiReceiver, make: Callable[..., LokiCollector], status: int
) -> None:
    collector = make(loki.url)
    loki.script = [(status, {"Retry-After": "7"}, b"ingestion rate limit exceeded")]
    with pytest.raises(RetryableDeliveryError, match=f"status {status}") as caught:
        collector.deliver(flows(10))
    assert caught.value.delivered == 0
    assert caught.value.retry_after == 7
    collector.deliver(flows(10))
    assert numbers(loki) == list(range(1, 11))


def test_what_exceeds_a_burst_is_divided_until_it_fits(
    loki: LokiReceiver, make: Callable[..., LokiCollector]
) -> None:
    """A Loki refuses what is more than its burst at once, and would for ever."""
    burst = 12
    sizes: list[int] = []
    take = loki.take

    def take_a_burst(lines: list[Line]) -> tuple[int, bytes]:
        sizes.append(len(lines))
        return (429, b"ingestion rate limit exceeded") if len(lines) > burst else take(lines)

    loki.take = take_a_burst  # type: ignore[method-assign]  # this one alone
    collector = make(loki.url)
    waiting = flows(100)
    attempts = 0
    while waiting:
        attempts += 1
        assert attempts < 40
        try:
            collector.deliver(waiting)
        except RetryableDeliveryError as refused:
            waiting = waiting[refused.delivered :]
        else:
            waiting = []
    assert numbers(loki) == list(range(1, 101))
    assert sizes[0] == 100
    assert min(sizes[:-1]) >= burst // 3


def test_refused_credentials_pause(loki: LokiReceiver, make: Callable[..., LokiCollector]) -> None:
    collector = make(loki.url)
    loki.script = [(401, {}, b"no org id")]
    with pytest.raises(RefusedCredentialsError, match="no org id; set tenant: this Loki") as caught:
        collector.deliver(flows(10))
    assert "password" not in str(caught.value)
    loki.script = [(401, {}, b"unauthorized")]
    with pytest.raises(RefusedCredentialsError, match="the token, the password or the certificate"):
        collector.deliver(flows(10))


def test_what_was_taken_before_a_failure_is_delivered(
    loki: LokiReceiver, make: Callable[..., LokiCollector]
) -> None:
    collector = make(loki.url, max_body_bytes=1024)
    loki.script = [(503, {}, b"")]
    loki.script.insert(0, (204, {}, b""))
    with pytest.raises(RetryableDeliveryError) as caught:
        collector.deliver(flows(50))
    assert 0 < caught.value.delivered < 50


def test_lines_that_are_too_old_cost_themselves_alone(
    loki: LokiReceiver, make: Callable[..., LokiCollector], clock: FakeClock
) -> None:
    """After a long outage a spool begins with them: they do not cost a request each."""
    loki.oldest_ns = BASE
    old = flows(400, time_ns=BASE - 900 * SECOND)
    dropped = drive(make(loki.url), [*old, *flows(400, 401)], clock)
    assert dropped.numbers == list(range(1, 401))
    assert numbers(loki) == list(range(401, 801))
    assert loki.pushes <= 4


def test_old_lines_among_others(
    loki: LokiReceiver, make: Callable[..., LokiCollector], clock: FakeClock
) -> None:
    loki.oldest_ns = BASE
    batch = flows(100)
    for index in (0, 17, 18, 50, 99):
        batch[index] = flows(1, index + 1, time_ns=BASE - 900 * SECOND)[0]
    dropped = drive(make(loki.url), batch, clock)
    assert dropped.numbers == [1, 18, 19, 51, 100]
    assert sorted(numbers(loki)) == [n for n in range(1, 101) if n not in dropped.numbers]


def test_a_bad_line_costs_itself_alone(
    loki: LokiReceiver, make: Callable[..., LokiCollector], clock: FakeClock
) -> None:
    """Loki takes the others of such a push; those that come again it knows."""
    loki.refuses = lambda line: (
        "entry with timestamp ignored, reason: 'entry out of order'"
        if line.metadata["trireme_sequence"] in {"7", "61"}
        else ""
    )
    dropped = drive(make(loki.url), flows(100), clock)
    assert dropped.numbers == [7, 61]
    assert sorted(numbers(loki)) == [n for n in range(1, 101) if n not in {7, 61}]


def test_lines_without_a_time_come_again_with_the_same(
    loki: LokiReceiver, make: Callable[..., LokiCollector], clock: FakeClock
) -> None:
    """An answer that got lost must not make two lines of one."""
    collector = make(loki.url)
    batch = [FlowRecord(count=1, instance="test", epoch=1, sequence=n) for n in range(1, 21)]
    take = loki.take
    loki.take = lambda lines: (take(lines), (503, b""))[1]  # type: ignore[method-assign]  # it takes, and does not say so
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(batch)
    loki.take = take  # type: ignore[method-assign]  # as it was
    clock.advance(5)
    collector.deliver(batch)
    assert numbers(loki) == list(range(1, 21))
    clock.advance(5)
    collector.deliver([FlowRecord(count=1, instance="test", epoch=1, sequence=21)])
    assert loki.lines[-1].time_ns > loki.lines[0].time_ns + 9 * SECOND


def test_a_blocked_tenant_is_not_a_delivery(
    loki: LokiReceiver, make: Callable[..., LokiCollector]
) -> None:
    collector = make(loki.url)
    loki.script = [(260, {}, b"ingestion blocked")]
    with pytest.raises(PermanentDeliveryError, match="status 260") as caught:
        collector.deliver(flows(10))
    assert (caught.value.delivered, caught.value.rejected) == (0, 10)


def test_a_loki_without_structured_metadata(
    loki: LokiReceiver, make: Callable[..., LokiCollector]
) -> None:
    collector = make(loki.url)
    complaint = b"stream '{}' includes structured metadata, but this feature is disallowed."
    loki.script = [(400, {}, complaint)]
    with capture_logs() as logs:
        collector.deliver(flows(10))
    assert [entry["event"] for entry in logs] == ["structured_metadata_refused"]
    assert len(loki.lines) == 10
    assert all(line.metadata == {} for line in loki.lines)
    collector.reopen()
    collector.deliver(flows(1, 11))
    assert loki.lines[-1].metadata["trireme_sequence"] == "11"


def test_a_push_that_is_too_large_is_divided_and_told(
    loki: LokiReceiver, make: Callable[..., LokiCollector]
) -> None:
    collector = make(loki.url)
    loki.script = [(413, {}, b"request entity too large")]
    with (
        capture_logs() as logs,
        pytest.raises(PermanentDeliveryError, match="status 413") as caught,
    ):
        collector.deliver(flows(10))
    assert caught.value.rejected is None
    assert [entry["event"] for entry in logs] == ["body_too_large"]


def test_native_records(loki: LokiReceiver, make: Callable[..., LokiCollector]) -> None:
    make(loki.url, format="json", labels=["type"], static_labels={"site": "north"}).deliver(
        flows(2)
    )
    assert loki.lines[0].stream == (("site", "north"), ("type", "flow"))
    assert json.loads(loki.lines[0].text)["sequence"] == 1
