"""Brokers that fail, move, go away or refuse: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.plugins.kafka.mock_cluster import INIT_PRODUCER_ID, PRODUCE
from tests.plugins.kafka.topics import read
from trireme_collector import (
    DeliveryConfig,
    EndPoint,
    FlowRecord,
    PacketReport,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
    TraceReport,
)
from trireme_collector.delivery import DeliveryWorker, adapt
from trireme_collector_kafka import collector as collector_module
from trireme_collector_kafka._configuration import library_configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.plugins.kafka.mock_cluster import MockCluster
    from trireme_collector import Record
    from trireme_collector_kafka import KafkaCollector, KafkaOptions

_NOT_LEADER, _TIMED_OUT, _TOO_LARGE, _NOT_ENOUGH, _TOPIC_DENIED = 6, 7, 10, 19, 29
_CLUSTER_DENIED, _INVALID_RECORD, _UNKNOWN_TOPIC = 31, 87, 3
_PATIENCE_SECONDS = 40.0


def flows(count: int, first: int = 1) -> list[FlowRecord]:
    """Make flows between many pairs of addresses, so that every partition gets some."""
    return [
        FlowRecord(
            source=EndPoint(ip=f"10.0.{n % 7}.{n % 250}"),
            destination=EndPoint(ip="192.0.2.1", port=443),
            count=1,
            instance="test",
            epoch=1,
            sequence=n,
        )
        for n in range(first, first + count)
    ]


def numbers(cluster: MockCluster, topic: str = "records") -> list[int]:
    return sorted(json.loads(m.value)["sequence"] for m in read(cluster.brokers, topic))


class Running:
    """A collector behind its worker, in a thread, as the pipeline runs it."""

    def __init__(self, collector: KafkaCollector) -> None:
        config = DeliveryConfig(
            batch_records=50,
            batch_age_seconds=0.01,
            retry_initial_seconds=0.05,
            retry_max_seconds=0.1,
        )
        self.worker = DeliveryWorker("k", adapt(collector, name="k"), config)
        self.worker.start()

    def put(self, records: Sequence[Record]) -> None:
        self.worker.put(records, [100] * len(records))

    def wait(self) -> None:
        mark = self.worker.request_flush()
        status = self.worker.status
        assert self.worker.wait_settled(mark, _PATIENCE_SECONDS), status()

    def close(self) -> None:
        self.worker.request_close(0)
        assert self.worker.join(_PATIENCE_SECONDS)


@pytest.fixture
def running(fragile: MockCluster, make: Callable[..., KafkaCollector]) -> Running:
    return Running(make(fragile.brokers, timeout_seconds=0.5))


def test_leaders_that_fail_and_move(fragile: MockCluster, running: Running) -> None:
    """Every error here is one that a broker gives before it writes anything."""
    running.put(flows(200))
    running.wait()
    for round_ in range(1, 5):
        codes = [_NOT_LEADER, _NOT_ENOUGH, _NOT_LEADER, _NOT_ENOUGH, _NOT_LEADER]
        fragile.fail(PRODUCE, codes)
        for partition in range(6):
            fragile.lead("records", partition, 1 + (partition + round_) % 3)
        running.put(flows(200, 1 + 200 * round_))
        running.wait()
    running.close()
    assert running.worker.status().delivered == 1000
    assert numbers(fragile) == list(range(1, 1001))


def test_one_broker_is_down(fragile: MockCluster, running: Running) -> None:
    running.put(flows(300))
    running.wait()
    fragile.down(2)
    running.put(flows(300, 301))
    time.sleep(0.7)  # longer than a batch may take
    fragile.up(2)
    running.wait()
    running.close()
    assert numbers(fragile) == list(range(1, 601))


def test_all_brokers_are_down_for_a_while(fragile: MockCluster, running: Running) -> None:
    """The batch fails again and again meanwhile, and is on its way all the time."""
    running.put(flows(300))
    running.wait()
    fragile.down()
    running.put(flows(300, 301))
    while running.worker.status().failed_attempts < 3:
        time.sleep(0.01)
    assert "no broker can be reached" in running.worker.status().last_error
    fragile.up()
    running.wait()
    running.close()
    status = running.worker.status()
    assert (status.delivered, status.dead_lettered, status.dropped) == (600, 0, 0)
    assert numbers(fragile) == list(range(1, 601))


def test_brokers_that_are_slow_cost_time_only(
    fragile: MockCluster, make: Callable[..., KafkaCollector]
) -> None:
    """Acknowledgements come after the batch was given up, and count all the same."""
    running = Running(make(fragile.brokers, timeout_seconds=0.2))
    fragile.slow(400)
    running.put(flows(100))
    running.wait()
    running.close()
    status = running.worker.status()
    assert status.delivered == 100
    assert status.failed_attempts > 0
    fragile.slow(0)
    assert numbers(fragile) == list(range(1, 101))


def test_intake_never_waits(fragile: MockCluster, running: Running) -> None:
    fragile.down()
    begin = time.monotonic()
    for start in range(1, 5001, 500):
        running.put(flows(500, start))
    assert time.monotonic() - begin < 1
    running.close()
    account = running.worker.status()
    assert account.queued + account.delivered == 5000


def test_a_large_record_costs_itself_alone(
    cluster: MockCluster, topic: str, make: Callable[..., KafkaCollector]
) -> None:
    running = Running(make(cluster.brokers, topic, max_message_bytes=4096))
    batch: list[Record] = list(flows(30))
    batch[7] = TraceReport(lines=("x" * 5000,), instance="test", epoch=1, sequence=8)
    running.put(batch)
    running.wait()
    running.close()
    status = running.worker.status()
    assert (status.delivered, status.dropped_by_reason) == (29, {"refused": 1})
    assert "larger than allowed" in status.last_error
    assert numbers(cluster, topic) == [n for n in range(1, 31) if n != 8]


def test_a_refused_batch_is_divided(
    cluster: MockCluster, topic: str, make: Callable[..., KafkaCollector]
) -> None:
    """A broker refuses the batch that it gets; nobody knows which of the messages it means."""
    running = Running(make(cluster.brokers, topic))
    cluster.fail(PRODUCE, [_TOO_LARGE, _TOO_LARGE])
    running.put(flows(30))
    running.wait()
    running.close()
    assert running.worker.status().delivered == 30
    assert numbers(cluster, topic) == list(range(1, 31))


def test_a_record_that_is_refused_alone_is_named(
    cluster: MockCluster, topic: str, make: Callable[..., KafkaCollector]
) -> None:
    collector = make(cluster.brokers, topic)
    cluster.fail(PRODUCE, [_INVALID_RECORD])
    with pytest.raises(PermanentDeliveryError, match="the brokers refuse the message") as caught:
        collector.deliver(flows(1))
    assert (caught.value.delivered, caught.value.rejected) == (0, 1)
    collector.deliver(flows(1, 2))
    assert numbers(cluster, topic) == [2]


def test_a_topic_without_rights_pauses(
    cluster: MockCluster, topic: str, make: Callable[..., KafkaCollector]
) -> None:
    collector = make(cluster.brokers, topic)
    cluster.fail(PRODUCE, [_TOPIC_DENIED])
    with pytest.raises(RefusedCredentialsError, match="give it the right WRITE") as caught:
        collector.deliver(flows(5))
    assert caught.value.delivered == 0
    collector.deliver(flows(5))
    assert numbers(cluster, topic) == [1, 2, 3, 4, 5]


def test_a_user_who_may_not_produce_idempotently(
    cluster: MockCluster, topic: str, make: Callable[..., KafkaCollector]
) -> None:
    """The library cannot be used any more after that: another producer takes over."""
    cluster.fail(INIT_PRODUCER_ID, [_CLUSTER_DENIED])
    collector = make(cluster.brokers, topic)
    with pytest.raises(RefusedCredentialsError, match="IDEMPOTENT_WRITE"):
        collector.deliver(flows(5))
    collector.deliver(flows(5))
    assert numbers(cluster, topic) == [1, 2, 3, 4, 5]


def test_a_topic_that_is_not_there_is_waited_for(
    cluster: MockCluster,
    topic: str,
    make: Callable[..., KafkaCollector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hurried(options: KafkaOptions) -> dict[str, object]:
        return {**library_configuration(options), "topic.metadata.propagation.max.ms": 100}

    monkeypatch.setattr(collector_module, "library_configuration", hurried)
    cluster.refuse(topic, _UNKNOWN_TOPIC)
    made = make(cluster.brokers, topic)
    with pytest.raises(RetryableDeliveryError, match=r"the topic does not exist.*create it"):
        made.deliver(flows(5))
    cluster.refuse(topic, 0)
    for _ in range(20):
        try:
            made.deliver(flows(5))
            break
        except RetryableDeliveryError:
            time.sleep(0.1)
    assert numbers(cluster, topic) == [1, 2, 3, 4, 5]


def test_what_was_given_up_does_not_arrive_later(
    fragile: MockCluster, make: Callable[..., KafkaCollector]
) -> None:
    collector = make(fragile.brokers, timeout_seconds=5)
    collector.deliver(flows(10))
    fragile.down()
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(flows(10, 11))
    fragile.up()
    # The worker gave those to the dead letters, and goes on with others.
    for _ in range(50):
        try:
            collector.deliver(flows(10, 21))
            break
        except RetryableDeliveryError:
            continue
    collector.close()
    assert numbers(fragile) == [*range(1, 11), *range(21, 31)]


def test_a_longer_batch_goes_on_with_what_was_begun(
    fragile: MockCluster, make: Callable[..., KafkaCollector]
) -> None:
    collector = make(fragile.brokers, timeout_seconds=0.1)
    fragile.slow(250)
    done, batch = 0, flows(20)
    for size in (10, 15, *[20] * 50):
        try:
            collector.deliver(batch[done:size])
            done = size
            if size == 20:
                break
        except RetryableDeliveryError as error:
            done += error.delivered
    assert done == 20
    fragile.slow(0)
    assert numbers(fragile) == list(range(1, 21))


def test_a_forked_process_gets_a_producer_of_its_own(
    cluster: MockCluster, topic: str, make: Callable[..., KafkaCollector]
) -> None:
    collector = make(cluster.brokers, topic)
    collector.deliver(flows(5))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            collector.deliver(flows(5, 6))
            collector.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    collector.deliver(flows(5, 11))
    assert numbers(cluster, topic) == list(range(1, 16))


def test_the_terminal_stays_clean(
    fragile: MockCluster,
    make: Callable[..., KafkaCollector],
    capfd: pytest.CaptureFixture[str],
) -> None:
    fragile.down()
    collector = make(fragile.brokers, timeout_seconds=0.3)
    with pytest.raises(RetryableDeliveryError):
        collector.deliver([PacketReport(packet_id=1)])
    collector.close()
    assert capfd.readouterr() == ("", "")


def test_no_thread_of_python_is_left(
    cluster: MockCluster, topic: str, make: Callable[..., KafkaCollector]
) -> None:
    before = threading.active_count()
    collector = make(cluster.brokers, topic)
    collector.deliver(flows(5))
    collector.close()
    assert threading.active_count() == before
