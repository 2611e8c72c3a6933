"""What every collector must do, as tests that its own tests inherit."""

from __future__ import annotations

import enum
import functools
import threading
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from trireme_collector.aggregation import AggregationConfig
from trireme_collector.collector import COLLECT_METHODS
from trireme_collector.delivery import DeliveryConfig, adapt
from trireme_collector.errors import PermanentDeliveryError
from trireme_collector.pipeline import Pipeline
from trireme_collector.records import RECORD_TYPES, EndPoint, FlowRecord, TraceReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import NoReturn, TypeVar

    from trireme_collector.delivery import Adapter, Outcome
    from trireme_collector.records import Record

    ResultT = TypeVar("ResultT")

__all__ = ["CollectorContract", "CollectorHarness", "Fault"]

_PATIENCE_SECONDS = 30.0  # only a collector that breaks the contract makes anybody wait so long
_NASTY = '"quotes" [brackets] \\ \n\r\t\0\x1b[31m \x9b \u202e \u2028 \ufeff \ud800 é 字 😀'


class Fault(enum.Enum):
    """How a receiver fails."""

    AWAY = "away"
    """It cannot be reached, or has no room: sending again later works."""
    REFUSES = "refuses"
    """It will not take these records, now or later."""


class CollectorHarness(Protocol):
    """A receiver for one test, and the way to make collectors that send to it."""

    def build(self) -> object:
        """Make a collector that sends to the receiver. Open nothing: the contract does."""
        ...

    def received(self) -> Sequence[int]:
        """Give the ``sequence`` of every record that the receiver has, as it came."""
        ...

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        """Make the receiver fail for the time of a context; None when it never fails like that."""
        ...


class CollectorContract:
    """The contract of a collector: a class of tests that pytest runs where it is inherited.

    The class that inherits it has a fixture ``harness`` that gives a `CollectorHarness`::

        class TestMyCollector(CollectorContract):
            @pytest.fixture
            def harness(self, tmp_path):
                return MyHarness(tmp_path)

    The collector MUST pass all of it. Delivering something twice is allowed only where a
    delivery failed in between.
    """

    def test_building_and_closing_need_no_opening(self, harness: CollectorHarness) -> None:
        """A collector that was never opened can be closed, and there may be two."""
        for adapter in (_adapt(harness), _adapt(harness)):
            _quiet(adapter, "close")

    def test_it_can_be_closed_more_than_once(self, harness: CollectorHarness) -> None:
        """``close()`` may come after a failed ``open()``, or again."""
        adapter = _adapt(harness)
        adapter.open()
        _quiet(adapter, "close")
        _quiet(adapter, "close")

    def test_a_batch_arrives_whole_and_in_order(self, harness: CollectorHarness) -> None:
        """What ``deliver()`` returns from is with the receiver, once, in the order given."""
        adapter = _adapt(harness)
        adapter.open()
        for start in (1, 2, 102):
            batch = _records(adapter, start, {1: 1, 2: 100, 102: 23}[start])
            _expect_delivered(adapter.deliver(batch), len(batch))
        _quiet(adapter, "flush")
        _quiet(adapter, "close")
        _expect_received(harness, range(1, 125))

    def test_every_kind_of_record_is_taken(self, harness: CollectorHarness) -> None:
        """A collector takes every kind that it has a method for; a batched one all of them."""
        adapter = _adapt(harness)
        adapter.open()
        kinds = [kind for kind in RECORD_TYPES.values() if kind in adapter.kinds]
        batch = [replace(kind(), **_identity(n)) for n, kind in enumerate(kinds, 1)]
        _expect_delivered(adapter.deliver(batch), len(batch))
        _quiet(adapter, "close")
        _expect_received(harness, range(1, len(kinds) + 1))

    def test_what_a_network_sends_does_no_harm(self, harness: CollectorHarness) -> None:
        """Control characters, line ends, escapes and lone surrogates make no second record."""
        adapter = _adapt(harness)
        if FlowRecord not in adapter.kinds:
            _skip("it takes no flows")
        adapter.open()
        end = EndPoint(id=_NASTY, uri=_NASTY, ip=_NASTY)
        flows = [
            FlowRecord(source=end, destination=end, namespace=_NASTY, policy_id=_NASTY, count=1),
            FlowRecord(count=1),
        ]
        batch = [replace(flow, **_identity(n)) for n, flow in enumerate(flows, 1)]
        _expect_delivered(adapter.deliver(batch), 2)
        _quiet(adapter, "close")
        _expect_received(harness, [1, 2])

    def test_a_receiver_that_is_away_costs_time_only(self, harness: CollectorHarness) -> None:
        """The failure is a `RetryableDeliveryError`; what it does not call delivered comes again.

        Nothing is lost, and the collector works again by itself.
        """
        fault = harness.fail(Fault.AWAY) or _skip("its receiver is never away")
        adapter = _adapt(harness)
        adapter.open()
        first, second = _records(adapter, 1, 10), _records(adapter, 11, 10)
        _expect_delivered(adapter.deliver(first), 10)
        with fault:
            outcome = adapter.deliver(second)
        _expect_error(outcome)
        _require(outcome.retry, f"sending later would work, but it raised {outcome.error!r}")
        rest = second[outcome.delivered :]
        for _ in range(10):  # a new connection may take an attempt or two
            outcome = adapter.deliver(rest)
            rest = rest[outcome.delivered :]
            if not rest:
                break
        _expect_delivered(outcome, outcome.delivered)
        _require(not rest, f"the receiver is back, but it raised {outcome.error!r}")
        _quiet(adapter, "close")
        _expect_received(harness, range(1, 21), twice=True)

    def test_a_receiver_that_refuses_is_not_asked_again(self, harness: CollectorHarness) -> None:
        """The failure is a `PermanentDeliveryError`, and later records are not its victims."""
        fault = harness.fail(Fault.REFUSES) or _skip("its receiver never refuses records")
        adapter = _adapt(harness)
        adapter.open()
        with fault:
            outcome = adapter.deliver(_records(adapter, 1, 1))
        _expect_error(outcome)
        _require(
            isinstance(outcome.error, PermanentDeliveryError),
            f"sending again would fail again, but it raised {outcome.error!r}",
        )
        _expect_delivered(adapter.deliver(_records(adapter, 2, 3)), 3)
        _quiet(adapter, "close")
        _expect_received(harness, [2, 3, 4])

    def test_reopening_between_batches_loses_nothing(self, harness: CollectorHarness) -> None:
        """``reopen()``, as after a log rotation, comes between two batches at any time."""
        adapter = _adapt(harness)
        adapter.open()
        for number in range(1, 4):
            _expect_delivered(adapter.deliver(_records(adapter, number, 1)), 1)
            _quiet(adapter, "reopen")
        _quiet(adapter, "close")
        _expect_received(harness, [1, 2, 3])

    def test_it_belongs_to_no_thread(self, harness: CollectorHarness) -> None:
        """Its methods come from different threads, though never two at once."""
        adapter = _adapt(harness)
        _in_a_thread(adapter.open)
        for number in (1, 2):
            batch = _records(adapter, number, 1)
            _expect_delivered(_in_a_thread(functools.partial(adapter.deliver, batch)), 1)
            _in_a_thread(functools.partial(_quiet, adapter, "flush"))
            _in_a_thread(functools.partial(_quiet, adapter, "reopen"))
        _in_a_thread(functools.partial(_quiet, adapter, "close"))
        _expect_received(harness, [1, 2])

    def test_all_that_was_taken_arrives_with_its_identity(self, harness: CollectorHarness) -> None:
        """Behind a pipeline, from several threads: every number arrives once, none is missing.

        The shutdown delivers what waits.
        """
        pipeline = _pipeline(harness).start()
        kind = _kind(_adapt(harness))

        def work() -> None:
            for _ in range(100):
                _hand_in(pipeline, kind)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report = pipeline.close(_PATIENCE_SECONDS)
        account = report.status.collectors[0]
        _require(report.complete, f"{report.undelivered} records were left: {account.last_error}")
        _require(account.delivered == 300, f"{account.delivered} of 300 were delivered")
        _expect_received(harness, range(1, 301))

    def test_trouble_does_not_hold_up_the_intake(self, harness: CollectorHarness) -> None:
        """Nobody waits for a receiver that is away, and a shutdown ends in spite of it."""
        fault = harness.fail(Fault.AWAY) or _skip("its receiver is never away")
        pipeline = _pipeline(harness)
        kind = _kind(_adapt(harness))
        with fault:
            pipeline.start()
            for _ in range(200):
                _hand_in(pipeline, kind)
            _in_a_thread(functools.partial(pipeline.close, 0.0))
        account = pipeline.status().collectors[0]
        kept = account.delivered + account.queued
        _require(
            (account.accepted, kept) == (200, 200),
            f"of 200 records {account.accepted} were accepted and {kept} delivered or queued:"
            f" {account.last_error}",
        )


def _require(condition: bool, message: str) -> None:  # noqa: FBT001  it reads like an assertion
    if not condition:
        raise AssertionError(message)


def _skip(reason: str) -> NoReturn:
    # pytest obeys it, and so does everybody else; it is not there before it is needed.
    import unittest  # noqa: PLC0415

    raise unittest.SkipTest(reason)


def _adapt(harness: CollectorHarness) -> Adapter:
    return adapt(harness.build(), name="contract")


def _identity(number: int) -> dict[str, object]:
    return {"instance": "contract", "epoch": 1, "sequence": number}


def _kind(adapter: Adapter) -> type[Record]:
    if FlowRecord in adapter.kinds:
        return FlowRecord
    return next(kind for kind in RECORD_TYPES.values() if kind in adapter.kinds)


def _records(adapter: Adapter, first: int, count: int) -> Sequence[Record]:
    record = _kind(adapter)()
    return tuple(replace(record, **_identity(n)) for n in range(first, first + count))


def _pipeline(harness: CollectorHarness) -> Pipeline:
    return Pipeline(
        {"contract": harness.build()},
        aggregation=AggregationConfig(window_seconds=0),
        delivery=DeliveryConfig(batch_records=64, batch_age_seconds=0.01),
    )


def _hand_in(pipeline: Pipeline, kind: type[Record]) -> None:
    record = kind()
    method: Callable[[object], None] = getattr(
        pipeline, COLLECT_METHODS[str(kind.__struct_config__.tag)]
    )
    method(record.lines if isinstance(record, TraceReport) else record)


def _quiet(adapter: Adapter, method: str) -> None:
    error = adapter.call(method)
    _require(error is None, f"{method}() raised {error!r}")


def _expect_delivered(outcome: Outcome, count: int) -> None:
    _require(outcome.error is None, f"deliver() raised {outcome.error!r}")
    _require(outcome.delivered == count, f"{outcome.delivered} of {count} were delivered")


def _expect_error(outcome: Outcome) -> None:
    error = outcome.error
    _require(error is not None, "deliver() returned although the receiver failed")
    _require(not outcome.is_bug, f"{error!r} is neither of the two errors that deliver() may raise")
    _require(bool(str(error).strip()), f"{type(error).__name__} does not say what failed")


def _expect_received(
    harness: CollectorHarness, expected: Sequence[int], *, twice: bool = False
) -> None:
    received = list(harness.received())
    wanted = list(expected)
    missing = sorted(set(wanted) - set(received))
    _require(not missing, f"the receiver lacks {missing[:10]}, {len(missing)} in all")
    seen = list(dict.fromkeys(received)) if twice else received
    _require(seen == wanted, f"the receiver has {seen[:20]}... instead of {wanted[:20]}...")


def _in_a_thread(work: Callable[[], ResultT]) -> ResultT:
    """Do something in a thread of its own; that it comes back is part of the contract."""
    results: list[ResultT] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  it is raised where it can be seen
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_PATIENCE_SECONDS)
    if errors:
        raise errors[0]
    _require(not thread.is_alive(), f"it did not come back within {_PATIENCE_SECONDS:.0f} s")
    return results[0]
