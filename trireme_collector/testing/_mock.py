"""A collector that expects its calls, as a mock that was generated from the interface would."""

from __future__ import annotations

import difflib
import itertools
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from trireme_collector.records import (
    RECORD_TYPES,
    Checkpoint,
    ConnectionExceptionReport,
    ContainerRecord,
    CounterReport,
    DNSRequestReport,
    FlowRecord,
    IPTablesTrace,
    PacketReport,
    PingReport,
    TraceReport,
    UserRecord,
)
from trireme_collector.testing._collectors import MemoryCollector
from trireme_collector.testing._expectations import Expectation, method_of
from trireme_collector.testing._matchers import like, said

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self, TypeAlias

    from trireme_collector.records import Record

    Expected: TypeAlias = object
    """A record, a matcher, a mapping of some fields, or a function that is given the record."""

__all__ = ["Expectations", "MockCollector", "UnexpectedCallError"]

_PACKAGE: Final = str(Path(__file__).parent)
_MOST_SHOWN: Final = 20


class UnexpectedCallError(AssertionError):
    """A `MockCollector` was called in a way that its test does not expect."""


class _Call(NamedTuple):
    record: Record
    thread: str

    def __str__(self) -> str:
        shown = said(self.record).partition("(")[2].removesuffix(")")
        thread = "" if self.thread == "MainThread" else f" in thread {self.thread}"
        return f"{method_of(type(self.record))}({shown}){thread}"


class Expectations:
    """The calls that a `MockCollector` can expect: one method for each of the collector's.

    Each takes what is expected of the record: some of its fields by name, and before them
    perhaps one thing that says it of the whole: a record that it has to equal, a matcher, or a
    function that is given the record and says whether it will do. The call is expected once,
    unless what is returned is told otherwise.
    """

    def __init__(
        self, add: Callable[[type[Record], object, dict[str, object]], Expectation]
    ) -> None:
        """Keep what adds an expectation; `MockCollector.expect` makes this."""
        self._add = add

    def collect_flow_event(self, record: Expected = None, /, **fields: object) -> Expectation:
        """Expect a flow."""
        return self._add(FlowRecord, record, fields)

    def collect_container_event(self, record: Expected = None, /, **fields: object) -> Expectation:
        """Expect a container event."""
        return self._add(ContainerRecord, record, fields)

    def collect_user_event(self, record: Expected = None, /, **fields: object) -> Expectation:
        """Expect a user."""
        return self._add(UserRecord, record, fields)

    def collect_trace_event(self, record: Expected = None, /, **fields: object) -> Expectation:
        """Expect trace lines, which are the field ``lines`` of a `TraceReport`."""
        return self._add(TraceReport, record, fields)

    def collect_packet_event(self, record: Expected = None, /, **fields: object) -> Expectation:
        """Expect a packet."""
        return self._add(PacketReport, record, fields)

    def collect_counter_event(self, record: Expected = None, /, **fields: object) -> Expectation:
        """Expect counters."""
        return self._add(CounterReport, record, fields)

    def collect_dns_requests(self, record: Expected = None, /, **fields: object) -> Expectation:
        """Expect a DNS request."""
        return self._add(DNSRequestReport, record, fields)

    def collect_ping_event(self, record: Expected = None, /, **fields: object) -> Expectation:
        """Expect a step of a ping."""
        return self._add(PingReport, record, fields)

    def collect_connection_exception_report(
        self, record: Expected = None, /, **fields: object
    ) -> Expectation:
        """Expect a connection that was never answered."""
        return self._add(ConnectionExceptionReport, record, fields)

    def collect_iptables_trace(self, record: Expected = None, /, **fields: object) -> Expectation:
        """Expect a parsed trace."""
        return self._add(IPTablesTrace, record, fields)

    def collect_checkpoint(self, record: Expected = None, /, **fields: object) -> Expectation:
        """Expect the counts of the collectors."""
        return self._add(Checkpoint, record, fields)


class MockCollector(MemoryCollector):
    """Expects its calls, and refuses all others.

    ::

        with MockCollector() as collector:
            collector.expect.collect_flow_event(action="reject", destination={"port": 22}).times(2)
            collector.allow(CounterReport)
            ...                                   # what is tested calls the collector

    A call that nothing expects raises `UnexpectedCallError` where it is made, and again in
    `verify`, because whoever called may have caught it. Expectations are asked in the order in
    which they were made; one that came as often as it may leaves the call to the next. Any
    thread may call. `deliver` is judged record by record, the other methods of a plugin are free.

    Attributes:
        expect: Where expectations are made.
        records: Every record that came, expected or not, as a `MemoryCollector` keeps it.
    """

    def __init__(self) -> None:
        """Expect nothing yet."""
        super().__init__()
        self.expect = Expectations(self._add)
        self._expectations: list[Expectation] = []
        self._unexpected: list[str] = []
        self._came_in_order: list[_Call] = []
        self._lock = threading.RLock()

    def allow(self, *kinds: type[Record] | str) -> None:
        """Allow calls that no expectation takes, as often as they come.

        Args:
            *kinds: Which: kinds of records, or names of methods; all of them when none is given.

        Raises:
            ValueError: There is no such method.
        """
        methods = {method_of(kind): kind for kind in RECORD_TYPES.values()}
        for kind in kinds or tuple(RECORD_TYPES.values()):
            if isinstance(kind, str) and kind not in methods:
                near = difflib.get_close_matches(kind, methods, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"collectors have no method {kind!r}{hint}")
            chosen = methods[kind] if isinstance(kind, str) else kind
            self._keep(Expectation(chosen, like(chosen), _caller(), is_default=True)).any_times()

    def in_order(self, *expectations: Expectation) -> None:
        """Expect these one after the other."""
        for earlier, later in itertools.pairwise(expectations):
            later.after(earlier)

    def deliver(self, batch: Sequence[Record]) -> None:
        """Judge every record of the batch."""
        with self._came:
            self.batches.append(tuple(batch))
        for record in batch:
            self._collect(record)

    def wait(self, *, timeout_seconds: float = 5.0) -> None:
        """Wait until every expectation has come as often as it has to, from other threads.

        Args:
            timeout_seconds: How long to wait at most; only a test that fails waits so long.

        Raises:
            AssertionError: Not all of it came in time, or something came that is not expected.
        """
        with self._came:
            self._came.wait_for(lambda: self._unexpected or self._are_met(), timeout_seconds)
        self.verify()

    def verify(self) -> None:
        """Check that everything came that has to, and nothing that may not.

        Raises:
            AssertionError: It says what was expected, what came, and what is nearest to what.
        """
        with self._lock:
            if self._unexpected or not self._are_met():
                raise AssertionError(self._report())

    def __enter__(self) -> Self:
        """Verify at the end of the context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Verify, unless an error says already what went wrong."""
        if kind is None:
            self.verify()

    def _add(self, kind: type[Record], whole: object, fields: dict[str, object]) -> Expectation:
        expected: object = like(kind, **fields)
        if whole is not None:
            if fields:
                raise TypeError("expect either fields by name or one thing of the whole record")
            expected = whole
        return self._keep(Expectation(kind, expected, _caller()))

    def _keep(self, expectation: Expectation) -> Expectation:
        with self._lock:
            self._expectations.append(expectation)
        return expectation

    def _are_met(self) -> bool:
        return all(expectation.is_met for expectation in self._expectations)

    def _collect(self, record: Record) -> None:
        with self._lock:
            action = self._judge(record)
        super()._collect(record)  # wakes who waits, now that the call is counted
        if isinstance(action, str):
            raise UnexpectedCallError(action)
        if action is not None:
            action(record)

    def _judge(self, record: Record) -> Callable[[Record], object] | str | None:
        """Count the call; give what to do, or why it is not expected."""
        call = _Call(record, threading.current_thread().name)
        self._came_in_order.append(call)
        candidates = [e for e in self._expectations if isinstance(record, e.kind)]
        fitting = [e for e in candidates if not e.differences(record)]
        if not any(e.refuses for e in fitting):
            for expectation in sorted(fitting, key=lambda e: e.is_default):
                if not expectation.objection():
                    return expectation.take()
        reason = _why_not(call, candidates, fitting)
        self._unexpected.append(reason)
        return reason

    def _report(self) -> str:
        missing = [e for e in self._expectations if not e.is_met]
        came = self._came_in_order
        lines = ["the collector was not called as expected", "expected:"]
        lines += [
            f"  {'  ' if e.is_met else '->'} {e.summary}"
            for e in self._expectations
            if not (e.is_default and not e.calls)
        ]
        if not self._expectations:
            lines.append("     nothing")
        if self._unexpected:
            lines.append("came, and is not expected:")
            for reason in self._unexpected[:_MOST_SHOWN]:
                lines += [f"  {line}" for line in reason.splitlines()]
            lines += _rest(len(self._unexpected))
        if missing:
            lines.append("came in all, in order:" if came else "nothing came")
            lines += [f"  {number}. {call}" for number, call in enumerate(came[:_MOST_SHOWN], 1)]
            lines += _rest(len(came))
        return "\n".join(lines)


def _rest(count: int) -> list[str]:
    return [f"  and {count - _MOST_SHOWN} more"] if count > _MOST_SHOWN else []


def _why_not(call: _Call, candidates: list[Expectation], fitting: list[Expectation]) -> str:
    lines = [str(call)]
    refusing = next((e for e in fitting if e.refuses), None)
    if refusing is not None:
        lines.append(f"  must never come: {refusing.summary}")
    elif fitting:
        lines += [f"  fits {e.summary}, but {e.objection()}" for e in fitting]
    elif candidates:
        nearest = min(candidates, key=lambda e: len(e.differences(call.record)))
        lines.append(f"  nearest is {nearest.summary}, but")
        lines += [f"    {line}" for line in nearest.differences(call.record)]
    else:
        lines.append(f"  no call of {method_of(type(call.record))} is expected")
    return "\n".join(lines)


def _caller() -> str:
    """Say where the test made an expectation."""
    frame = sys._getframe(1)  # noqa: SLF001  the frames of the caller, without reading sources
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
