"""The mock takes what it expects, refuses the rest, and says both."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from trireme_collector import (
    COLLECT_METHODS,
    RECORD_TYPES,
    BatchCollector,
    CounterReport,
    EventCollector,
    Pipeline,
    RetryableDeliveryError,
)
from trireme_collector.records import (
    ActionType,
    ContainerRecord,
    EndPoint,
    FlowRecord,
    PacketReport,
    Record,
    TraceReport,
)
from trireme_collector.testing import (
    FakeClock,
    MockCollector,
    UnexpectedCallError,
    contains,
    like,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector.testing import Expectation

WEB = FlowRecord(destination=EndPoint(ip="10.0.0.2", port=443), action=ActionType.ACCEPT)
SSH = FlowRecord(destination=EndPoint(ip="10.0.0.2", port=22), action=ActionType.REJECT)


def hand_over(collector: MockCollector, record: Record) -> None:
    method = getattr(collector, COLLECT_METHODS[str(record.__struct_config__.tag)])
    method(record.lines if isinstance(record, TraceReport) else record)


def refusal(collector: MockCollector) -> str:
    with pytest.raises(AssertionError) as caught:
        collector.verify()
    return str(caught.value)


def test_it_can_stand_anywhere() -> None:
    assert isinstance(MockCollector(), EventCollector)
    assert isinstance(MockCollector(), BatchCollector)


@pytest.mark.parametrize("tag", RECORD_TYPES)
def test_every_kind_of_record_can_be_expected(tag: str) -> None:
    collector = MockCollector()
    expectation = getattr(collector.expect, COLLECT_METHODS[tag])()
    assert f"-> {COLLECT_METHODS[tag]}(anything): expected exactly once, came never" in refusal(
        collector
    )
    hand_over(collector, RECORD_TYPES[tag]())
    collector.verify()
    assert expectation.calls == 1
    with pytest.raises(UnexpectedCallError, match="it came once already"):
        hand_over(collector, RECORD_TYPES[tag]())


@pytest.mark.parametrize("tag", RECORD_TYPES)
def test_nothing_is_allowed_that_is_not_expected(tag: str) -> None:
    collector = MockCollector()
    collector.verify()
    method = COLLECT_METHODS[tag]
    with pytest.raises(UnexpectedCallError, match=f"no call of {method} is expected"):
        hand_over(collector, RECORD_TYPES[tag]())
    assert "came, and is not expected" in refusal(collector)


@pytest.mark.parametrize(
    ("say", "allowed", "said"),
    [
        (lambda e: e, {1}, "exactly once"),
        (lambda e: e.once(), {1}, "exactly once"),
        (lambda e: e.times(2), {2}, "exactly twice"),
        (lambda e: e.times(0), {0}, "never"),
        (lambda e: e.never(), {0}, "never"),
        (lambda e: e.any_times(), {0, 1, 2, 3, 4}, "any number of times"),
        (lambda e: e.at_least(2), {2, 3, 4}, "at least twice"),
        (lambda e: e.at_most(2), {0, 1, 2}, "at most twice"),
        (lambda e: e.at_least(1).at_most(3), {1, 2, 3}, "1 to 3 times"),
        (lambda e: e.at_most(3).at_least(2), {2, 3}, "2 to 3 times"),
    ],
)
@pytest.mark.parametrize("came", range(5))
def test_how_often_it_comes_is_counted(
    say: Callable[[Expectation], Expectation], allowed: set[int], said: str, came: int
) -> None:
    collector = MockCollector()
    say(collector.expect.collect_flow_event())
    for _ in range(came):
        try:
            collector.collect_flow_event(WEB)
        except UnexpectedCallError:
            assert came > max(allowed)
    if came in allowed:
        collector.verify()
    else:
        assert f"expected {said}, came " in refusal(collector)


def test_limits_that_contradict_each_other_are_refused() -> None:
    expectation = MockCollector().expect.collect_flow_event()
    with pytest.raises(ValueError, match="at least 3 and at most 1"):
        expectation.at_most(1).at_least(3)
    with pytest.raises(ValueError, match="at least -1"):
        expectation.times(-1)


def test_expectations_are_asked_in_their_order() -> None:
    collector = MockCollector()
    first = collector.expect.collect_flow_event(action="accept")
    rest = collector.expect.collect_flow_event().any_times()
    for record in (WEB, SSH, WEB, WEB):
        collector.collect_flow_event(record)
    assert (first.calls, rest.calls) == (1, 3)
    collector.verify()


def test_what_must_never_come_is_refused_whatever_else_would_take_it() -> None:
    collector = MockCollector()
    collector.expect.collect_flow_event(action="reject").never()
    collector.allow()
    collector.collect_flow_event(WEB)
    with pytest.raises(UnexpectedCallError, match="must never come: collect_flow_event"):
        collector.collect_flow_event(SSH)


def test_noise_is_allowed_last() -> None:
    collector = MockCollector()
    collector.allow(FlowRecord, "collect_counter_event")
    expected = collector.expect.collect_flow_event(action="accept")
    for record in (WEB, WEB, SSH):
        collector.collect_flow_event(record)
    collector.collect_counter_event(CounterReport())
    assert expected.calls == 1
    collector.verify()
    with pytest.raises(UnexpectedCallError):
        collector.collect_packet_event(PacketReport())
    with pytest.raises(ValueError, match="did you mean collect_flow_event"):
        collector.allow("collect_flow_events")


def test_a_whole_record_a_matcher_or_a_function_will_do() -> None:
    collector = MockCollector()
    collector.expect.collect_flow_event(WEB)
    collector.expect.collect_flow_event(like(FlowRecord, action="reject"))
    collector.expect.collect_flow_event(lambda record: record.count == 7)
    collector.expect.collect_trace_event(lines=contains("b"))
    for record in (FlowRecord(count=7), SSH, WEB):
        collector.collect_flow_event(record)
    collector.collect_trace_event(["a", "b"])
    collector.verify()
    with pytest.raises(TypeError, match="either fields by name or one thing"):
        collector.expect.collect_flow_event(WEB, count=1)
    with pytest.raises(TypeError, match="did you mean count"):
        collector.expect.collect_flow_event(cuont=1)


def test_order_is_kept_where_it_is_asked_for() -> None:
    collector = MockCollector()
    start = collector.expect.collect_container_event(event="start")
    flow = collector.expect.collect_flow_event().at_least(1)
    stop = collector.expect.collect_container_event(event="delete")
    collector.in_order(start, flow, stop)
    with pytest.raises(UnexpectedCallError, match="expected only after collect_flow_event"):
        collector.collect_container_event(ContainerRecord(event="delete"))
    with pytest.raises(UnexpectedCallError, match="expected only after collect_container_event"):
        collector.collect_flow_event(WEB)
    collector.collect_container_event(ContainerRecord(event="start"))
    collector.collect_flow_event(WEB)
    collector.collect_flow_event(WEB)
    collector.collect_container_event(ContainerRecord(event="delete"))
    with pytest.raises(UnexpectedCallError, match="its turn was over"):
        collector.collect_flow_event(WEB)
    with pytest.raises(ValueError, match="after itself"):
        stop.after(stop)


def test_a_call_can_do_something() -> None:
    collector = MockCollector()
    seen: list[Record] = []
    collector.expect.collect_flow_event().does(seen.append)
    collector.expect.collect_flow_event().raises(RetryableDeliveryError("away"))
    collector.collect_flow_event(WEB)
    with pytest.raises(RetryableDeliveryError, match="away"):
        collector.collect_flow_event(WEB)
    assert seen == [WEB]
    collector.verify()


def test_a_function_that_fails_is_told() -> None:
    collector = MockCollector()
    collector.expect.collect_flow_event(lambda record: record.nothing)
    with pytest.raises(UnexpectedCallError, match="cannot be compared: AttributeError"):
        collector.collect_flow_event(WEB)


def test_the_report_says_what_was_expected_and_what_came() -> None:
    collector = MockCollector()
    collector.expect.collect_flow_event(destination={"port": 443}).times(2)
    collector.expect.collect_packet_event().any_times()
    collector.allow(CounterReport)
    collector.collect_flow_event(WEB)
    with pytest.raises(UnexpectedCallError):
        collector.collect_flow_event(SSH)
    lines = refusal(collector).splitlines()
    (first, second) = (
        line for line in lines if "test_mock.py:" in line and "expected" in line[:60]
    )
    assert first.startswith("  -> collect_flow_event(destination={'port': 443}): expected exactly")
    assert second.startswith("  ")
    assert lines[0] == "the collector was not called as expected"
    assert "      destination.port: expected 443, got 22" in lines
    assert lines[-2].startswith(
        "  1. collect_flow_event(destination=EndPoint(ip='10.0.0.2', port=4"
    )
    assert not any("collect_counter_event" in line for line in lines)


def test_a_long_report_is_cut() -> None:
    collector = MockCollector()
    collector.expect.collect_user_event()
    for number in range(50):
        with pytest.raises(UnexpectedCallError):
            collector.collect_flow_event(FlowRecord(count=number))
    said = refusal(collector)
    assert said.count("no call of collect_flow_event") == 20
    assert said.count("  and 30 more") == 2


def test_a_context_verifies_at_its_end() -> None:
    with pytest.raises(AssertionError, match="came never"), MockCollector() as collector:
        collector.expect.collect_flow_event()


def test_a_context_leaves_the_first_error_alone() -> None:
    def fail(collector: MockCollector) -> None:
        with collector:
            collector.expect.collect_flow_event()
            raise KeyError

    with pytest.raises(KeyError):
        fail(MockCollector())


def test_a_swallowed_refusal_comes_up_again() -> None:
    collector = MockCollector()
    with pytest.raises(UnexpectedCallError):
        collector.collect_flow_event(WEB)
    assert "no call of collect_flow_event is expected" in refusal(collector)


def test_a_batch_is_judged_record_by_record() -> None:
    collector = MockCollector()
    collector.expect.collect_flow_event(action="accept")
    collector.expect.collect_packet_event()
    collector.deliver([WEB, PacketReport()])
    collector.verify()
    assert collector.batches == [(WEB, PacketReport())]
    with pytest.raises(UnexpectedCallError):
        collector.deliver([SSH])


def test_it_works_behind_a_pipeline() -> None:
    clock = FakeClock()
    collector = MockCollector()
    collector.expect.collect_flow_event(destination={"port": 443}, count=2)
    pipeline = Pipeline({"mock": collector}, clock=clock, threads=False).start()
    for _ in range(2):
        pipeline.collect_flow_event(FlowRecord(destination=EndPoint(port=443), count=1))
    assert pipeline.close(5.0).complete
    collector.verify()


def test_what_a_pipeline_swallows_comes_up_at_the_end() -> None:
    collector = MockCollector()
    collector.expect.collect_flow_event(action="accept")
    with Pipeline({"mock": collector}) as pipeline:
        pipeline.collect_flow_event(SSH)
    assert "nearest is collect_flow_event(action='accept')" in refusal(collector)


def test_many_threads_may_call_it() -> None:
    collector = MockCollector()
    expectation = collector.expect.collect_flow_event().times(400)

    def work() -> None:
        for _ in range(100):
            collector.collect_flow_event(WEB)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    collector.wait()
    for thread in threads:
        thread.join()
    assert expectation.calls == 400
    assert len(collector.flows) == 400


def test_waiting_ends_when_something_is_refused() -> None:
    collector = MockCollector()
    collector.expect.collect_flow_event().times(2)

    def work() -> None:
        with pytest.raises(UnexpectedCallError, match="in thread worker"):
            collector.collect_packet_event(PacketReport())

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    with pytest.raises(AssertionError, match="no call of collect_packet_event"):
        collector.wait(timeout_seconds=60)
    thread.join()


def test_waiting_for_what_does_not_come_says_so() -> None:
    collector = MockCollector()
    collector.expect.collect_flow_event()
    with pytest.raises(AssertionError, match="nothing came"):
        collector.wait(timeout_seconds=0)
