"""The contract accepts a collector that keeps it, and finds out one that does not."""

from __future__ import annotations

import contextlib
import inspect
import subprocess
import sys
import threading
import unittest
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from trireme_collector import PermanentDeliveryError, RetryableDeliveryError
from trireme_collector.testing import CollectorContract, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trireme_collector import FlowRecord, Record


class Harness:
    """A list behind a collector of a class that can be chosen."""

    def __init__(self, kind: type[Collector]) -> None:
        self.kind = kind
        self.arrived: list[int] = []
        self.fault: Fault | None = None

    def build(self) -> object:
        return self.kind(self)

    def received(self) -> Sequence[int]:
        return self.arrived

    @contextlib.contextmanager
    def _failing(self, fault: Fault) -> Iterator[None]:
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None

    def fail(self, fault: Fault) -> contextlib.AbstractContextManager[object] | None:
        return self._failing(fault)


class Collector:
    """Keeps the contract."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness

    def deliver(self, batch: Sequence[Record]) -> None:
        if self.harness.fault is Fault.AWAY:
            raise RetryableDeliveryError("away")
        if self.harness.fault is Fault.REFUSES:
            raise PermanentDeliveryError("no")
        self.harness.arrived.extend(record.sequence or 0 for record in batch)


class TestAGoodCollector(CollectorContract):
    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        with capture_logs():
            yield Harness(Collector)


class SimpleCollector:
    """The simple form of the same."""

    def __init__(self, harness: Harness) -> None:
        self.collector = Collector(harness)

    def collect_flow_event(self, record: FlowRecord) -> None:
        self.collector.deliver([record])


class SimpleHarness(Harness):
    def build(self) -> object:
        return SimpleCollector(self)


class TestASimpleCollector(CollectorContract):
    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        with capture_logs():
            yield SimpleHarness(Collector)


class NeverFails(Harness):
    def fail(self, fault: Fault) -> None:
        del fault


class LosesTheLast(Collector):
    def deliver(self, batch: Sequence[Record]) -> None:
        super().deliver(batch[:-1])


class SendsTwice(Collector):
    def deliver(self, batch: Sequence[Record]) -> None:
        super().deliver([*batch, *batch])


class Reverses(Collector):
    def deliver(self, batch: Sequence[Record]) -> None:
        super().deliver(batch[::-1])


class SwallowsErrors(Collector):
    def deliver(self, batch: Sequence[Record]) -> None:
        with contextlib.suppress(RetryableDeliveryError, PermanentDeliveryError):
            super().deliver(batch)


class RaisesWhatItGets(Collector):
    def deliver(self, batch: Sequence[Record]) -> None:
        if self.harness.fault is not None:
            raise ConnectionResetError
        super().deliver(batch)


class SaysNothing(Collector):
    def deliver(self, batch: Sequence[Record]) -> None:
        if self.harness.fault is not None:
            raise RetryableDeliveryError("")
        super().deliver(batch)


class GivesUp(Collector):
    def deliver(self, batch: Sequence[Record]) -> None:
        if self.harness.fault is Fault.AWAY:
            raise PermanentDeliveryError("away")
        super().deliver(batch)


class NeverGivesUp(Collector):
    def deliver(self, batch: Sequence[Record]) -> None:
        if self.harness.fault is Fault.REFUSES:
            raise RetryableDeliveryError("no")
        super().deliver(batch)


class NeedsOpening(Collector):
    connection: object = None

    def open(self) -> None:
        self.connection = self

    def close(self) -> None:
        if self.connection is None:
            raise ValueError("not open")
        self.connection = None


class BelongsToItsThread(Collector):
    owner: threading.Thread | None = None

    def open(self) -> None:
        self.owner = threading.current_thread()

    def deliver(self, batch: Sequence[Record]) -> None:
        if self.owner is not threading.current_thread():
            raise RuntimeError("another thread")
        super().deliver(batch)


class ForgetsAtReopen(Collector):
    def reopen(self) -> None:
        self.harness.arrived.clear()


class ChokesOnText(Collector):
    def deliver(self, batch: Sequence[Record]) -> None:
        for record in batch:
            str(record.to_dict() if hasattr(record, "to_dict") else record).encode()
            getattr(record, "namespace", "").encode()
        super().deliver(batch)


BROKEN: dict[type[Collector], str] = {
    LosesTheLast: "test_a_batch_arrives_whole_and_in_order",
    SendsTwice: "test_a_batch_arrives_whole_and_in_order",
    Reverses: "test_a_batch_arrives_whole_and_in_order",
    SwallowsErrors: "test_a_receiver_that_is_away_costs_time_only",
    RaisesWhatItGets: "test_a_receiver_that_is_away_costs_time_only",
    SaysNothing: "test_a_receiver_that_is_away_costs_time_only",
    GivesUp: "test_a_receiver_that_is_away_costs_time_only",
    NeverGivesUp: "test_a_receiver_that_refuses_is_not_asked_again",
    NeedsOpening: "test_building_and_closing_need_no_opening",
    BelongsToItsThread: "test_it_belongs_to_no_thread",
    ForgetsAtReopen: "test_reopening_between_batches_loses_nothing",
    ChokesOnText: "test_what_a_network_sends_does_no_harm",
}


def run(name: str, harness: Harness) -> None:
    test: Callable[[Harness], None] = getattr(CollectorContract(), name)
    with capture_logs():
        test(harness)


@pytest.mark.parametrize(("kind", "name"), BROKEN.items())
def test_who_breaks_it_is_found_out(kind: type[Collector], name: str) -> None:
    with pytest.raises(AssertionError):
        run(name, Harness(kind))


def test_a_lost_record_is_named() -> None:
    with pytest.raises(AssertionError, match=r"the receiver lacks \[1, 101, 124\], 3 in all"):
        run("test_a_batch_arrives_whole_and_in_order", Harness(LosesTheLast))


def test_a_failure_that_cannot_be_is_skipped() -> None:
    with pytest.raises(unittest.SkipTest, match="never away"):
        run("test_a_receiver_that_is_away_costs_time_only", NeverFails(Collector))


def test_every_test_says_what_it_holds() -> None:
    tests = inspect.getmembers(CollectorContract, inspect.isfunction)
    assert len(tests) >= 11
    assert all(name.startswith("test_") and inspect.getdoc(test) for name, test in tests)


def test_it_can_be_imported_without_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import trireme_collector.testing as t"
    code += "; assert t.CollectorContract and 'unittest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
