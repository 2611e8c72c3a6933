"""Rules that somebody changed are noticed once, and put right again where that is wanted."""

from __future__ import annotations

import itertools
import os
import threading
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from trireme_collector.errors import DatapathError
from trireme_collector.records import Record, TraceReport
from trireme_datapath.agent._rule_watch import RuleWatch


class Rules:
    """Rules that a test takes away."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.installs = 0
        self.error: Exception | None = None
        self.unreadable = False
        self.stubborn = False
        self.looked = threading.Event()

    def install(self) -> None:
        if self.error is not None:
            raise self.error
        self.installs += 1
        if not self.stubborn:
            self.problems = []

    def remove(self) -> None:
        raise AssertionError("nobody asked for it")

    def verify(self) -> list[str]:
        self.looked.set()
        if self.unreadable:
            raise DatapathError("iptables does not end")
        return list(self.problems)


class Told:
    """Tells of changes when a test says so."""

    def __init__(self) -> None:
        self._event = os.eventfd(0)
        self.ours = True
        self.heard_of = threading.Event()
        self.closed = threading.Event()

    def tell(self) -> None:
        os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        return self._event

    def heard(self) -> bool:
        os.eventfd_read(self._event)
        self.heard_of.set()
        return self.ours

    def close(self) -> None:
        os.close(self._event)
        self.closed.set()


class Bench:
    def __init__(self, *, repair: bool, seconds: float = 3, told: Told | None = None) -> None:
        self.rules = Rules()
        self.records: list[Record] = []
        self.watch = RuleWatch(
            lambda: self.rules,
            seconds=seconds,
            repair=repair,
            report=self.records.append,
            changes=lambda: told,
        )

    @property
    def told(self) -> list[tuple[str, ...]]:
        return [one.lines for one in self.records if isinstance(one, TraceReport)]


def test_what_is_as_it_should_be_is_left_alone() -> None:
    bench = Bench(repair=True)
    assert bench.watch.look() == ()
    assert (bench.rules.installs, bench.records) == (0, [])


def test_a_change_is_repaired_and_recorded() -> None:
    bench = Bench(repair=True)
    for time in (1, 2):
        bench.rules.problems = ["the jump in INPUT is missing"]
        with capture_logs() as logs:
            assert bench.watch.look() == ()
        assert [entry["event"] for entry in logs] == ["rules_changed", "rules_repaired"]
        assert (bench.rules.installs, bench.watch.repairs) == (time, time)
    assert (
        bench.told
        == [("trireme-collector rules=changed repaired=yes", "the jump in INPUT is missing")] * 2
    )


def test_without_repair_it_is_told_once_as_long_as_it_lasts() -> None:
    bench = Bench(repair=False)
    bench.rules.problems = ["gone"]
    with capture_logs() as logs:
        assert [bench.watch.look() for _ in range(3)] == [("gone",)] * 3
        bench.rules.problems = []
        assert bench.watch.look() == ()
    assert [entry["event"] for entry in logs] == ["rules_changed", "rules_in_place_again"]
    assert bench.told == [("trireme-collector rules=changed repaired=no", "gone")]
    assert bench.rules.installs == 0


@pytest.mark.parametrize("kind", ["refused", "stubborn", "unreadable"])
def test_what_cannot_be_repaired_is_said(kind: str) -> None:
    bench = Bench(repair=True)
    bench.rules.problems = ["gone"]
    if kind == "refused":
        bench.rules.error = DatapathError("CAP_NET_ADMIN is missing")
    bench.rules.stubborn = kind == "stubborn"
    bench.rules.unreadable = kind == "unreadable"
    problems = bench.watch.look()
    assert {
        "refused": "they cannot be put in place again: CAP_NET_ADMIN is missing",
        "stubborn": "gone",
        "unreadable": "they cannot be read: iptables does not end",
    }[kind] in problems
    assert bench.watch.repairs == 0
    assert bench.told[0][0].endswith("repaired=no")


def test_it_looks_by_itself_until_it_is_stopped() -> None:
    bench = Bench(repair=False, seconds=0.001)
    bench.rules.problems = ["gone"]
    assert list(bench.watch.health()) == []
    bench.watch.start()
    assert bench.rules.looked.wait(10)
    with bench.watch.lock:
        pass
    (check,) = bench.watch.health()
    while not bench.records:
        continue
    (check,) = bench.watch.health()
    assert not check.ok
    assert check.detail == "not enforcing: gone"
    assert not check.vital
    bench.watch.stop()
    bench.rules.looked.clear()
    assert list(bench.watch.health()) == []
    assert not bench.rules.looked.is_set()


def test_nobody_looks_where_it_is_not_wanted() -> None:
    bench = Bench(repair=True, seconds=0)
    bench.watch.start()
    bench.watch.stop()
    assert not bench.rules.looked.is_set()


def test_what_the_kernel_tells_of_is_looked_at_at_once() -> None:
    told = Told()
    bench = Bench(repair=True, seconds=3_600, told=told)
    bench.watch.start()
    bench.rules.problems = ["gone"]
    told.tell()
    assert bench.rules.looked.wait(10)
    while not bench.records:
        continue
    assert bench.rules.installs == 1
    bench.rules.looked.clear()
    told.ours = False  # somebody else's table
    told.heard_of.clear()
    told.tell()
    assert told.heard_of.wait(10)
    bench.watch.stop()
    assert not bench.rules.looked.is_set()
    assert told.closed.is_set()


def test_a_slow_machine_delays_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(step=100)  # each glance at the clock is much later
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr("trireme_datapath.agent._rule_watch.time", clock)
    bench = Bench(repair=True, seconds=0.02, told=Told())
    bench.watch.start()
    for _ in range(3):
        assert bench.rules.looked.wait(5)
        bench.rules.looked.clear()
    bench.watch.stop()
