"""Every form of collector looks alike to its worker."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, NoReturn

import pytest

from trireme_collector import (
    RECORD_TYPES,
    ConfigError,
    DeliveryError,
    FlowRecord,
    NullCollector,
    PacketReport,
    PermanentDeliveryError,
    PluginError,
    RefusedCredentialsError,
    RetryableDeliveryError,
    TraceReport,
)
from trireme_collector.delivery import Outcome, adapt
from trireme_collector.testing import FailingCollector, MemoryCollector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector import Record

BATCH = [PacketReport(packet_id=number) for number in range(4)]


class OnlyPackets:
    def __init__(self, errors: dict[int, Exception] | None = None) -> None:
        self.errors = errors or {}
        self.seen: list[int] = []

    def collect_packet_event(self, report: PacketReport) -> None:
        if report.packet_id in self.errors:
            raise self.errors[report.packet_id]
        self.seen.append(report.packet_id)


class OnlyTraces:
    def __init__(self) -> None:
        self.lines: list[Sequence[str]] = []

    def collect_trace_event(self, records: Sequence[str]) -> None:
        self.lines.append(records)


def test_a_simple_collector_takes_the_kinds_it_has_methods_for() -> None:
    assert adapt(OnlyPackets(), name="x").kinds == {PacketReport}
    assert adapt(NullCollector(), name="x").kinds == set(RECORD_TYPES.values())
    assert adapt(MemoryCollector(), name="x").kinds == set(RECORD_TYPES.values())


def test_a_batched_collector_takes_all_kinds_or_those_that_it_names() -> None:
    class OnlyFlows(MemoryCollector):
        kinds = frozenset({FlowRecord})

    assert adapt(OnlyFlows(), name="x").kinds == {FlowRecord}
    assert adapt(FailingCollector([]), name="x").kinds == set(RECORD_TYPES.values())


def test_a_simple_collector_gets_one_record_at_a_time() -> None:
    collector = OnlyPackets()
    assert adapt(collector, name="x").deliver(BATCH) == Outcome(delivered=4)
    assert collector.seen == [0, 1, 2, 3]


def test_trace_lines_arrive_as_lines() -> None:
    collector = OnlyTraces()
    adapt(collector, name="x").deliver([TraceReport(lines=("a", "b"))])
    assert collector.lines == [("a", "b")]


def test_a_simple_collector_that_wants_to_try_again() -> None:
    error = RetryableDeliveryError("later", retry_after=7)
    outcome = adapt(OnlyPackets({2: error}), name="x").deliver(BATCH)
    assert outcome == Outcome(delivered=2, error=error, retry=True, retry_after=7)


@pytest.mark.parametrize(
    ("error", "is_bug"), [(PermanentDeliveryError("no"), False), (ValueError("oops"), True)]
)
def test_a_simple_collector_that_refuses_one_record(error: Exception, is_bug: bool) -> None:
    outcome = adapt(OnlyPackets({1: error}), name="x").deliver(BATCH)
    assert outcome == Outcome(delivered=1, rejected=1, error=error, is_bug=is_bug)


@pytest.mark.parametrize(
    ("error", "delivered", "rejected", "retry"),
    [
        (RetryableDeliveryError("x"), 0, 0, True),
        (RetryableDeliveryError("x", delivered=3), 3, 0, True),
        (RetryableDeliveryError("x", delivered=99), 4, 0, True),
        (RetryableDeliveryError("x", delivered=-1), 0, 0, True),
        (PermanentDeliveryError("x", splittable=False), 0, 4, False),
        (PermanentDeliveryError("x", delivered=1, splittable=False), 1, 3, False),
        (PermanentDeliveryError("x", delivered=3), 3, 1, False),
        (PermanentDeliveryError("x", delivered=1, rejected=1), 1, 1, False),
        (PermanentDeliveryError("x", delivered=1, rejected=99), 1, 3, False),
        (PermanentDeliveryError("x", delivered=0, rejected=0), 0, 1, False),
    ],
)
def test_what_a_batch_collector_raises_is_kept_within_its_batch(
    error: Exception, delivered: int, rejected: int, retry: bool
) -> None:
    outcome = adapt(FailingCollector([error]), name="x").deliver(BATCH)
    assert (outcome.delivered, outcome.rejected, outcome.retry) == (delivered, rejected, retry)
    assert outcome.error is error
    assert (outcome.is_bug, outcome.split, outcome.refused) == (False, False, False)


@pytest.mark.parametrize(
    ("error", "delivered"),
    [
        (PermanentDeliveryError("x"), 0),
        (PermanentDeliveryError("x", delivered=2), 2),
        (DeliveryError("x", delivered=1), 1),
        (ValueError("x"), 0),
    ],
)
def test_what_is_refused_together_is_to_be_divided(error: Exception, delivered: int) -> None:
    outcome = adapt(FailingCollector([error]), name="x").deliver(BATCH)
    is_bug = isinstance(error, ValueError)
    assert outcome == Outcome(delivered=delivered, error=error, split=True, is_bug=is_bug)


class Raises:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def deliver(self, batch: Sequence[Record]) -> None:
        del batch
        raise self.error


def test_what_is_no_number_is_no_claim() -> None:
    later = RetryableDeliveryError("x")
    later.__dict__.update(delivered="2", retry_after="soon")
    expected = Outcome(delivered=0, error=later, retry=True)
    assert adapt(Raises(later), name="x").deliver(BATCH) == expected
    assert adapt(OnlyPackets({0: later}), name="x").deliver(BATCH) == expected
    never = PermanentDeliveryError("x", rejected=1)
    never.__dict__.update(delivered=None, rejected="all")
    outcome = adapt(Raises(never), name="x").deliver(BATCH)
    assert (outcome.delivered, outcome.rejected) == (0, 1)


@pytest.mark.parametrize("error", [PermanentDeliveryError("x"), KeyError("x")])
def test_a_single_record_cannot_be_divided(error: Exception) -> None:
    outcome = adapt(FailingCollector([error]), name="x").deliver(BATCH[:1])
    assert (outcome.rejected, outcome.split) == (1, False)


@pytest.mark.parametrize("collector", [OnlyPackets, FailingCollector])
def test_refused_credentials_are_not_the_fault_of_the_records(collector: type) -> None:
    error = RefusedCredentialsError("who are you?")
    given = {0: error} if collector is OnlyPackets else [error]
    outcome = adapt(collector(given), name="x").deliver(BATCH)
    assert outcome == Outcome(delivered=0, error=error, retry=True, refused=True)


@pytest.mark.parametrize("nothing", [object(), 3, None])
def test_what_takes_no_records_is_refused(nothing: object) -> None:
    with pytest.raises(PluginError, match=r"collector 'x' .* takes no records: give it deliver"):
        adapt(nothing, name="x")


def test_lifecycle_methods_are_called_if_they_are_there() -> None:
    collector = MemoryCollector()
    adapter = adapt(collector, name="x")
    adapter.open()
    assert [adapter.call(name) for name in ("flush", "reopen", "close")] == [None] * 3
    assert collector.calls == ["open", "flush", "reopen", "close"]
    plain = adapt(OnlyPackets(), name="x")
    plain.open()
    assert plain.call("close") is None


class Stubborn(NullCollector):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def open(self) -> None:
        raise self.error

    def close(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [ConfigError("bad"), RetryableDeliveryError("not yet")])
def test_what_open_may_raise_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        adapt(Stubborn(error), name="x").open()
    assert caught.value is error


def test_what_open_may_not_raise_is_the_plugins_mistake() -> None:
    with pytest.raises(PluginError, match="'x' cannot be opened: KeyError: 'k'; this is a mist"):
        adapt(Stubborn(KeyError("k")), name="x").open()


def test_what_close_raises_is_given_back() -> None:
    error = KeyError("k")
    assert adapt(Stubborn(error), name="x").call("close") is error


def test_a_flow_reaches_only_those_who_take_flows() -> None:
    assert FlowRecord not in adapt(OnlyPackets(), name="x").kinds


class Held:
    """Something large, in the hands of whoever failed."""


@pytest.mark.parametrize("form", ["batch", "simple", "close"])
def test_a_failure_holds_nothing_of_what_was_tried(form: str) -> None:
    held: list[weakref.ref[Held]] = []

    def fail() -> NoReturn:
        large = Held()
        held.append(weakref.ref(large))
        try:
            raise OSError("first")
        except OSError as first:
            error = RetryableDeliveryError("second")
            error.kept = error  # type: ignore[attr-defined]  # as a local variable would
            raise error from first

    class Batch:
        def deliver(self, batch: Sequence[Record]) -> None:
            body = Held()
            held.append(weakref.ref(body))
            assert batch
            fail()

        def close(self) -> None:
            fail()

    class Simple:
        def collect_packet_event(self, report: PacketReport) -> None:
            assert report == PacketReport()
            fail()

    adapter = adapt(Simple() if form == "simple" else Batch(), name="x")
    gc.disable()
    try:
        if form == "close":
            assert adapter.call("close") is not None
        else:
            assert adapter.deliver([PacketReport()]).retry
        assert held
        assert all(reference() is None for reference in held)
    finally:
        gc.enable()
