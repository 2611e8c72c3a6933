"""The pipeline takes every event, numbers every record, and keeps collectors apart."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from structlog.testing import capture_logs

from trireme_collector import (
    COLLECT_METHODS,
    RECORD_TYPES,
    ActionType,
    AggregationConfig,
    CollectorContext,
    CollectorSpec,
    ConfigError,
    DeliveryConfig,
    EndPoint,
    EventCollector,
    FlowRecord,
    NullCollector,
    PacketReport,
    Pipeline,
    PluginError,
    Record,
    Registry,
    RetryableDeliveryError,
    TraceReport,
    UserRecord,
    build_pipeline,
    hookimpl,
    stats_user_hash,
)
from trireme_collector.testing import FailingCollector, FakeClock, MemoryCollector
from trireme_collector.testing.strategies import NASTY_TEXT, records

if TYPE_CHECKING:
    from collections.abc import Sequence


def flow(number: int = 0) -> FlowRecord:
    return FlowRecord(
        source=EndPoint(ip="10.0.0.1"),
        destination=EndPoint(ip="10.0.0.2", port=number),
        action=ActionType.ACCEPT,
        count=1,
    )


def make(
    *collectors: object,
    aggregation: AggregationConfig | None = None,
    delivery: DeliveryConfig | None = None,
) -> tuple[Pipeline, FakeClock]:
    clock = FakeClock()
    pipeline = Pipeline(
        collectors,
        instance="host-1",
        clock=clock,
        threads=False,
        aggregation=aggregation,
        delivery=delivery,
    )
    return pipeline.start(), clock


def hand_in(pipeline: EventCollector, record: Record) -> None:
    tag = str(type(record).__struct_config__.tag)
    argument = record.lines if isinstance(record, TraceReport) else record
    getattr(pipeline, COLLECT_METHODS[tag])(argument)


def test_it_is_an_event_collector() -> None:
    pipeline, _ = make()
    assert isinstance(pipeline, EventCollector)
    assert all(callable(getattr(pipeline, method)) for method in COLLECT_METHODS.values())


def test_a_second_of_like_flows_becomes_one_record() -> None:
    memory = MemoryCollector()
    pipeline, clock = make(memory)
    pipeline.tick()
    for _ in range(5):
        pipeline.collect_flow_event(flow())
    pipeline.tick(clock.advance(0.9))
    assert pipeline.status().flows_pending == 1
    pipeline.tick(clock.advance(0.1))
    pipeline.tick(clock.advance(0.2))
    (record,) = memory.flows
    assert record.count == 5
    status = pipeline.status()
    assert (status.flows_received, status.flows_merged, status.flows_pending) == (5, 4, 0)


@pytest.mark.parametrize("tag", RECORD_TYPES)
def test_each_kind_arrives_as_it_was_but_for_its_identity(tag: str) -> None:
    memory = MemoryCollector()
    pipeline, _ = make(memory)
    record = RECORD_TYPES[tag]()
    if isinstance(record, FlowRecord):
        record = msgspec.structs.replace(record, count=1)
    elif isinstance(record, UserRecord):
        record = UserRecord(id="7")
    hand_in(pipeline, record)
    assert pipeline.flush()
    assert memory.records == [
        msgspec.structs.replace(record, instance="host-1", epoch=pipeline.epoch, sequence=1)
    ]


@settings(max_examples=20)
@given(records(text=NASTY_TEXT))
def test_any_record_passes(record: Record) -> None:
    memory = MemoryCollector()
    pipeline, _ = make(memory)
    hand_in(pipeline, record)
    assert pipeline.flush()
    assert len(memory.records) == 1
    assert pipeline.status().malformed == 0


def test_numbers_rise_without_a_gap_in_every_collector() -> None:
    one, two = MemoryCollector(), MemoryCollector()
    pipeline, _ = make(one, two)
    for number in range(600):
        pipeline.collect_flow_event(flow(number))
        if not number % 100:
            pipeline.collect_packet_event(PacketReport())
    pipeline.flush()
    expected = list(range(1, 607))
    assert [record.sequence for record in one.records] == expected
    assert [record.sequence for record in two.records] == expected
    assert {(r.instance, r.epoch) for r in one.records} == {("host-1", pipeline.epoch)}


def test_a_user_without_an_id_gets_it() -> None:
    memory = MemoryCollector()
    pipeline, _ = make(memory)
    pipeline.collect_user_event(UserRecord(claims=("b=2", "a=1"), namespace="/ns"))
    pipeline.collect_user_event(UserRecord(id="mine", claims=("b=2",)))
    pipeline.flush()
    expected = stats_user_hash(UserRecord(claims=("b=2", "a=1"), namespace="/ns"))
    assert [user.id for user in memory.users] == [expected.id, "mine"]
    assert memory.users[0].claims == ("a=1", "b=2")


class OnlyUsers:
    def __init__(self) -> None:
        self.users: list[UserRecord] = []

    def collect_user_event(self, record: UserRecord) -> None:
        self.users.append(record)


def test_a_simple_collector_is_accounted_for_what_it_takes() -> None:
    users = OnlyUsers()
    pipeline, _ = make(users)
    pipeline.collect_flow_event(flow())
    pipeline.collect_user_event(UserRecord(id="1"))
    assert pipeline.flush()
    (account,) = pipeline.status().collectors
    assert (account.name, account.accepted, account.delivered) == ("only-users", 1, 1)
    assert len(users.users) == 1


def test_the_trouble_of_one_collector_is_not_that_of_another() -> None:
    memory = MemoryCollector()
    away = FailingCollector(always=lambda: RetryableDeliveryError("away"))
    broken = FailingCollector(always=lambda: ValueError("oops"))
    pipeline, _ = make(away, broken, memory)
    with capture_logs():
        for number in range(10):
            pipeline.collect_flow_event(flow(number))
        assert not pipeline.flush()
    assert len(memory.flows) == 10
    accounts = {account.name: account for account in pipeline.status().collectors}
    assert accounts["failing"].queued == 10
    assert accounts["failing-2"].dropped_by_reason == {"refused": 10}
    assert accounts["memory"].delivered == 10


@pytest.mark.parametrize("method", COLLECT_METHODS.values())
@pytest.mark.parametrize("nonsense", [None, 3, "text", object()])
def test_what_is_no_record_is_counted_and_never_raises(method: str, nonsense: object) -> None:
    memory = MemoryCollector()
    pipeline, _ = make(memory)
    with capture_logs():
        getattr(pipeline, method)(nonsense)
        pipeline.collect_packet_event(PacketReport())
        assert pipeline.flush()
    takes_text = method == "collect_trace_event" and isinstance(nonsense, str)
    assert pipeline.status().malformed == (0 if takes_text else 1)
    assert len(memory.packets) == 1


def test_one_malformed_flow_costs_one_flow() -> None:
    memory = MemoryCollector()
    pipeline, _ = make(memory)
    bad = msgspec.structs.replace(flow(1), tags=5)
    for record in (flow(0), bad, flow(2)):
        pipeline.collect_flow_event(record)
    with capture_logs() as logs:
        assert pipeline.flush()
    assert [record.destination.port for record in memory.flows] == [0, 2]
    assert [record.sequence for record in memory.flows] == [1, 2]
    assert pipeline.status().malformed == 1
    assert [log["event"] for log in logs] == ["record_malformed"]


def test_the_table_is_bounded_and_nothing_is_lost() -> None:
    memory = MemoryCollector()
    pipeline, _ = make(memory, aggregation=AggregationConfig(max_keys=10))
    for number in range(100):
        pipeline.collect_flow_event(flow(number))
    status = pipeline.status()
    assert status.flows_pending <= 10
    assert status.flows_evicted + status.flows_pending == 100
    pipeline.flush()
    assert {record.destination.port for record in memory.flows} == set(range(100))


def test_without_a_window_a_flow_passes_at_once() -> None:
    memory = MemoryCollector()
    pipeline, clock = make(memory, aggregation=AggregationConfig(window_seconds=0))
    pipeline.collect_flow_event(flow())
    pipeline.collect_flow_event(flow())
    pipeline.tick(clock.advance(0))
    pipeline.tick(clock.advance(0.2))
    assert [record.count for record in memory.flows] == [1, 1]


def test_closing_delivers_what_waits_and_stops_the_intake() -> None:
    memory = MemoryCollector()
    pipeline, _ = make(memory)
    pipeline.collect_flow_event(flow())
    report = pipeline.close()
    assert report.complete
    assert report.undelivered == 0
    assert len(memory.flows) == 1
    assert memory.calls == ["open", "flush", "close"]
    pipeline.collect_flow_event(flow())
    pipeline.collect_packet_event(PacketReport())
    (account,) = pipeline.status().collectors
    assert account.dropped_by_reason == {"closed": 2}
    assert pipeline.status().flows_pending == 0
    assert pipeline.close() is report


def test_closing_says_how_much_is_left() -> None:
    away = FailingCollector(always=lambda: RetryableDeliveryError("away"))
    pipeline, _ = make(away)
    with capture_logs():
        for number in range(7):
            pipeline.collect_flow_event(flow(number))
        report = pipeline.close(1)
    assert not report.complete
    assert report.undelivered == 7
    assert report.stuck == ()


def test_reopen_reaches_every_collector() -> None:
    one, two = MemoryCollector(), MemoryCollector()
    pipeline, _ = make(one, two)
    pipeline.reopen()
    assert one.calls == two.calls == ["open", "reopen"]


class CannotOpen(MemoryCollector):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def open(self) -> None:
        raise self.error


def test_a_collector_that_can_never_work_stops_the_start() -> None:
    memory = MemoryCollector()
    pipeline = Pipeline([memory, CannotOpen(ConfigError("no such directory"))], threads=False)
    with pytest.raises(ConfigError, match="no such directory"):
        pipeline.start()
    assert memory.calls == ["open", "flush", "close"]


def test_a_collector_whose_receiver_is_away_does_not_stop_the_start() -> None:
    away = CannotOpen(RetryableDeliveryError("away"))
    pipeline = Pipeline([away], threads=False)
    with capture_logs() as logs:
        pipeline.start()
    assert [(log["event"], log["name"]) for log in logs] == [("open_failed", "cannot-open")]
    pipeline.collect_packet_event(PacketReport())
    assert pipeline.flush()
    assert len(away.records) == 1


def test_records_wait_for_the_start() -> None:
    memory = MemoryCollector()
    pipeline = Pipeline({"m": memory}, threads=False)
    pipeline.collect_packet_event(PacketReport())
    assert not pipeline.flush()
    pipeline.start()
    assert pipeline.flush()
    assert len(memory.records) == 1


def test_with_threads_everything_arrives_in_order() -> None:
    memory = MemoryCollector()
    count = 2_000
    with Pipeline([memory], aggregation=AggregationConfig(window_seconds=0)) as pipeline:

        def work(offset: int) -> None:
            for number in range(count):
                pipeline.collect_packet_event(PacketReport(packet_id=offset + number))

        threads = [threading.Thread(target=work, args=(n * count,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pipeline.flush(30)
        assert [record.sequence for record in memory.records] == list(range(1, 3 * count + 1))
    assert memory.calls[-1] == "close"
    by_thread: dict[int, list[int]] = {}
    for report in memory.packets:
        by_thread.setdefault(report.packet_id // count, []).append(report.packet_id)
    assert all(ids == sorted(ids) for ids in by_thread.values())


def test_with_threads_the_window_ends_by_itself() -> None:
    arrived = threading.Event()

    class Signal(NullCollector):
        def collect_flow_event(self, record: FlowRecord) -> None:
            assert record.count == 1
            arrived.set()

    delivery = DeliveryConfig(batch_age_seconds=0)
    aggregation = AggregationConfig(window_seconds=0.01)
    with Pipeline([Signal()], aggregation=aggregation, delivery=delivery) as pipeline:
        pipeline.collect_flow_event(flow())
        assert arrived.wait(30)


class Stuck(MemoryCollector):
    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.release = threading.Event()

    def deliver(self, batch: Sequence[Record]) -> None:
        self.entered.set()
        self.release.wait(30)
        super().deliver(batch)


def test_a_collector_that_hangs_is_named_in_the_report() -> None:
    stuck, memory = Stuck(), MemoryCollector()
    pipeline = Pipeline({"stuck": stuck, "good": memory}).start()
    pipeline.collect_packet_event(PacketReport())
    assert not pipeline.flush(0)
    assert stuck.entered.wait(30)
    report = pipeline.close(0)
    stuck.release.set()
    assert report.stuck == ("stuck",)
    assert report.undelivered == 1
    assert len(memory.records) == 1


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the collector of these tests takes."""

    limit: int
    label: str = ""


class Configured(MemoryCollector):
    def __init__(self, options: Options, context: CollectorContext) -> None:
        super().__init__()
        if options.label == "fail":
            raise KeyError(options.label)
        if options.label == "conflict":
            raise ConfigError("label and limit do not go together")
        self.options = options
        self.context = context


class Plugin:
    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec[Options]]:
        return [CollectorSpec(name="probe", factory=Configured, config_type=Options)]


@pytest.fixture
def registry() -> Registry:
    registry = Registry(entry_points=[])
    registry.register(Plugin(), name="probe")
    return registry


def test_a_pipeline_is_built_from_tables(registry: Registry) -> None:
    tables = {
        "a": {"type": "probe", "limit": 3, "delivery": {"batch_records": 7}},
        "probe": {"limit": 4, "label": "x"},
    }
    pipeline = build_pipeline(tables, registry, instance="me", threads=False)
    built = [worker._adapter._collector for worker in pipeline._workers]  # type: ignore[attr-defined]
    assert [collector.options for collector in built] == [Options(3), Options(4, "x")]
    assert built[0].context == CollectorContext(name="a", instance="me")
    assert [worker.config.batch_records for worker in pipeline._workers] == [7, 500]
    assert pipeline.instance == "me"
    assert [account.name for account in pipeline.status().collectors] == ["a", "probe"]


def test_every_mistake_in_the_tables_is_listed_with_its_path(registry: Registry) -> None:
    tables: dict[str, dict[str, object]] = {
        "a": {"type": "probe", "limt": 3},
        "b": {"type": "probe", "limit": "many", "delivery": {"batch_records": 0}},
        "c": {"type": 3},
        "d": {"type": "probe", "limit": 1, "label": "conflict"},
        "e": {"type": "probe", "limit": True},
    }
    with pytest.raises(ConfigError) as caught:
        build_pipeline(tables, registry)
    problems = caught.value.problems
    assert [problem.partition(":")[0] for problem in problems] == [
        "collectors.a.limt",
        "collectors.a.limit",
        "collectors.b.delivery.batch_records",
        "collectors.b.limit",
        "collectors.c.type",
        "collectors.d",
        "collectors.e.limit",
    ]
    assert "did you mean limit?" in problems[0]
    assert "label and limit do not go together" in problems[5]


def test_an_unknown_or_broken_plugin_is_named(registry: Registry) -> None:
    with pytest.raises(PluginError, match="there is no plugin 'nothing'; installed are: probe"):
        build_pipeline({"a": {"type": "nothing"}}, registry)
    with pytest.raises(PluginError, match="'a': the factory of plugin 'probe' failed: KeyError"):
        build_pipeline({"a": {"type": "probe", "limit": 1, "label": "fail"}}, registry)


def test_collectors_without_names_get_different_ones() -> None:
    pipeline = Pipeline([MemoryCollector(), NullCollector(), MemoryCollector()], threads=False)
    names = [account.name for account in pipeline.status().collectors]
    assert names == ["memory", "null", "memory-2"]
    assert len(names) == len(set(names))
    assert all(a != b for a, b in itertools.combinations(names, 2))
