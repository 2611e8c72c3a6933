"""It can be opened, reopened and closed in any order, and worked by a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from trireme_collector import PacketReport, RetryableDeliveryError
from trireme_collector.delivery import DeliveryConfig, DeliveryWorker, adapt
from trireme_collector_http import HttpCollector, HttpOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugins.http.servers import HonestServer, ScriptedServer

pytest.importorskip("httpx2", reason="the extra http is not installed")

BATCH = [PacketReport(packet_id=1)]


@pytest.mark.parametrize(
    "calls",
    [
        ["close"],
        ["close", "close"],
        ["reopen", "close"],
        ["open", "open", "close"],
        ["open", "close", "open", "close"],
        ["open", "reopen", "reopen", "close", "reopen"],
    ],
)
def test_any_order_is_harmless(honest: HonestServer, calls: list[str]) -> None:
    collector = HttpCollector(HttpOptions(url=honest.url), name="h")
    for name in calls:
        getattr(collector, name)()
    assert honest.requests == []
    collector.deliver(BATCH)
    collector.close()
    assert honest.taken == [1]


def test_building_one_touches_nothing() -> None:
    options = HttpOptions(url="https://collector.example/", token_file="/none", ca_file="/none")
    HttpCollector(options, name="h").close()


def test_a_closed_connection_leaves_no_thread(
    make: Callable[..., HttpCollector], honest: HonestServer
) -> None:
    collector = make(honest.url)
    collector.deliver(BATCH)
    collector.close()
    watchers = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    for watcher in watchers:
        watcher.join(5)
    assert not any(watcher.is_alive() for watcher in watchers)


def test_a_worker_thread_delivers_all_and_ends(
    make: Callable[..., HttpCollector], honest: HonestServer
) -> None:
    worker = DeliveryWorker(
        "h",
        adapt(make(honest.url), name="h"),
        DeliveryConfig(batch_records=10, batch_age_seconds=0),
    )
    worker.open()
    worker.start()
    for start in range(0, 100, 20):
        worker.put([PacketReport(packet_id=n) for n in range(start, start + 20)], [1] * 20)
    assert worker.wait_settled(worker.request_flush(), 20)
    worker.request_close(2**62)
    assert worker.join(20)
    assert honest.taken == list(range(100))
    assert worker.status().delivered == 100


def test_a_repeated_failure_tells_the_same_each_time(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    """Messages that differ at each attempt would not be counted together."""
    url = scripted.url
    scripted.close()
    collector = make(url)
    told = set()
    for _ in range(3):
        with pytest.raises(RetryableDeliveryError) as caught:
            collector.deliver(BATCH)
        told.add(str(caught.value))
    assert len(told) == 1
