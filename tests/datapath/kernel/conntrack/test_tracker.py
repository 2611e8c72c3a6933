"""What the tracker makes of events and lists, with a kernel that does what a test says."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, cast

import pytest

from tests.datapath.test_accounting import CLIENT, MARK, ONLY_80, SERVER, Account, row
from trireme_collector.records import FlowPhase
from trireme_datapath.kernel.conntrack import (
    ConnectionEvents,
    ConnectionTable,
    ConnectionTracker,
    TrackerSettings,
)
from trireme_datapath.testing import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trireme_datapath.kernel.conntrack import ConnectionRow


class FakeEvents:
    """Ends of connections that wait."""

    def __init__(self) -> None:
        self.waiting: list[ConnectionRow] = []
        self.overruns = 0
        self._pipe = os.pipe()

    def fileno(self) -> int:
        return self._pipe[0]

    def wake(self) -> None:
        os.write(self._pipe[1], b".")

    def drain(self) -> list[ConnectionRow]:
        found, self.waiting = self.waiting, []
        return found

    def close(self) -> None:
        for one in self._pipe:
            os.close(one)


class FakeListing:
    """A part of a list."""

    def __init__(self, rows: list[ConnectionRow]) -> None:
        self.rows = rows

    def seconds_left(self, _index: int) -> int:
        return 60

    def connection(self, index: int) -> ConnectionRow:
        return self.rows[index]


class FakeTable(FakeEvents):
    """The kernel's table: each read gives one part of the list."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[list[ConnectionRow]] = []
        self.deleted: list[ConnectionRow] = []
        self.held: set[int | None] = set()
        self.begun: list[tuple[int, int]] = []
        self.failures: list[OSError] = []
        self.refusals: list[OSError] = []
        self.settled = 0
        self.listing = False
        self.incomplete = 0
        self.errors: dict[int, int] = {}

    def begin_list(self, mark: int = 0, mask: int = 0) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.begun.append((mark, mask))
        self.listing = True

    def read(self) -> FakeListing:
        if self.refusals:
            self.listing = False
            raise self.refusals.pop(0)
        part = self.parts.pop(0) if self.parts else []
        self.listing = bool(self.parts)
        return FakeListing(part)

    def settle(self) -> None:
        assert not self.listing
        self.settled += 1

    def delete(self, connections: Iterable[ConnectionRow], *, held: int | None = None) -> int:
        found = list(connections)
        self.held.add(held)
        if self.failures:
            raise self.failures.pop(0)
        self.deleted += found
        return len(found)


class Bench:
    """An account, a tracker and a fake kernel."""

    def __init__(self, *, reliable: bool = True, told_until_ns: int = 0) -> None:
        self.account = Account()
        self.events, self.table = FakeEvents(), FakeTable()
        self.tracker = ConnectionTracker(
            self.account.account,
            cast("ConnectionEvents", self.events),
            cast("ConnectionTable", self.table),
            TrackerSettings(list_seconds=10, reliable=reliable),
            MARK,
            told_until_ns=told_until_ns,
        )

    def turn(self, seconds: float = 0) -> list[str]:
        """Let time pass, and give the phases of the records that come of it."""
        self.account.wait(seconds)
        self.tracker.tick(self.account.now)
        records = self.tracker.drain(self.account.now)
        return [str(getattr(one, "phase", "")) for one in records]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.tracker.close()


def test_lists_come_at_once_and_then_at_their_time(bench: Bench) -> None:
    bench.turn()
    assert bench.table.begun == [(MARK.accepted, MARK.mask)]
    for _ in range(9):
        bench.turn(1)
    assert len(bench.table.begun) == 1
    bench.turn(1)
    assert len(bench.table.begun) == 2
    bench.turn(-100_000)
    bench.turn(1)
    bench.turn(10)
    assert len(bench.table.begun) >= 3, "a clock that was set back stops nothing"


def test_a_list_that_takes_long_comes_less_often(bench: Bench) -> None:
    bench.table.parts = [[], [], []]
    for _ in range(3):
        bench.turn(2)
    assert not bench.table.listing
    bench.turn(60)
    assert len(bench.table.begun) == 1
    bench.turn(25)
    assert len(bench.table.begun) == 2


def test_ends_are_told(bench: Bench) -> None:
    bench.turn()
    bench.account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    bench.events.waiting = [row(CLIENT, SERVER, (6, 420, 4, 516))]
    assert bench.turn() == [FlowPhase.ENDED]


def test_a_change_of_policy_lists_at_once_and_forgets_what_is_revoked(bench: Bench) -> None:
    secure = row(CLIENT, "10.0.0.2#443", (1, 60, 1, 60))
    bench.turn()
    bench.account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:443 S")
    bench.account.enforce(ONLY_80)
    bench.table.parts = [[row(CLIENT, SERVER, (1, 60, 1, 60)), secure]]
    bench.turn()
    assert bench.table.deleted == [secure]
    assert bench.table.held == {MARK.mask}
    assert bench.account.engine.counters["connections_revoked"] == 1
    assert bench.account.settled()


@pytest.mark.parametrize(
    ("listed_ago", "phases"), [(0, []), (30, []), (70, [FlowPhase.ENDED])], ids=str
)
def test_what_ended_in_the_time_of_another_is_told_once(
    listed_ago: int, phases: list[FlowPhase]
) -> None:
    now_ns = Account().now
    bench = Bench(told_until_ns=now_ns - listed_ago * SECOND_NS if listed_ago else 0)
    done = row(CLIENT, SERVER, (6, 420, 4, 516), start_ns=now_ns - 90 * SECOND_NS, tcp_state=7)
    young = (*done[:9], now_ns - 59 * SECOND_NS, *done[10:])
    bench.table.parts = [[young]]
    assert bench.tracker.listed_ns == 0
    found = bench.turn()
    assert bench.tracker.listed_ns == now_ns
    bench.table.parts = [[young]]
    found += bench.turn(10)  # what it heard itself is no other's
    bench.events.waiting = [young]
    found += bench.turn()
    assert found == phases
    bench.tracker.close()


@pytest.mark.parametrize("listing", [False, True])
def test_a_last_list_tells_what_has_ended(bench: Bench, *, listing: bool) -> None:
    bench.account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    bench.turn()
    done = row(CLIENT, SERVER, (6, 420, 4, 516), tcp_state=7)
    if listing:  # one that began before it ended
        bench.tracker.tick(bench.account.now + 10 * SECOND_NS)
        bench.table.parts = [[], [done]]
        bench.events.wake()
    else:
        bench.table.parts = [[done]]
    told = bench.tracker.last_list()
    assert [getattr(one, "phase", "") for one in told] == [FlowPhase.ENDED]
    assert len(bench.table.begun) == 2 + listing
    assert bench.tracker.last_list() == []


def test_a_last_list_takes_no_longer_than_it_may(bench: Bench) -> None:
    bench.tracker.tick(bench.account.now)
    assert bench.tracker.last_list(0.01) == []
    bench.table.failures = [OSError(errno.EBADF, "gone")]
    bench.table.listing = False
    assert bench.tracker.last_list() == []
    assert bench.account.engine.counters["connection_request_errors"] == 1


def test_a_policy_that_changes_during_a_list_is_followed_by_another(bench: Bench) -> None:
    bench.table.parts = [[], []]
    bench.turn()
    bench.account.enforce(ONLY_80)
    bench.turn()
    assert not bench.account.settled()
    bench.turn()
    assert bench.account.settled()
    assert len(bench.table.begun) == 2


def test_a_kernel_that_is_busy_is_asked_again(bench: Bench) -> None:
    bench.table.failures = [OSError(errno.EBUSY, "busy")]
    bench.turn()
    assert not bench.account.settled()
    bench.turn()
    assert bench.account.settled()
    secure = row(CLIENT, "10.0.0.2#443", (1, 60, 1, 60))
    bench.account.enforce(ONLY_80)
    bench.table.parts = [[secure]]
    bench.tracker.tick(bench.account.now)
    bench.table.failures = [OSError(errno.ENOBUFS, "no room")]
    bench.tracker.drain(bench.account.now)
    assert not bench.account.settled(), "what could not be forgotten is listed again"
    bench.table.parts = [[secure]]
    bench.turn()
    assert bench.table.deleted == [secure]
    assert bench.account.settled()
    assert bench.account.engine.counters["connection_request_errors"] == 2


def test_a_kernel_that_gives_no_list_is_asked_again(bench: Bench) -> None:
    bench.table.refusals = [OSError(errno.ENOBUFS, "no room")]
    bench.turn()
    assert not bench.account.settled()
    assert bench.account.engine.counters["connection_request_errors"] == 1
    bench.turn(1)
    assert bench.account.settled()
    bench.table.refusals = [OSError(errno.EBADF, "gone")]
    bench.account.enforce(ONLY_80)
    with pytest.raises(OSError, match="gone"):
        bench.turn()


def test_what_comes_while_no_list_is_read_does_not_stay_in_the_way(bench: Bench) -> None:
    bench.turn()
    before = bench.table.settled
    bench.turn(1)
    assert bench.table.settled == before + 1


def test_what_the_kernel_refuses_is_counted(bench: Bench) -> None:
    bench.table.errors = {errno.EPERM: 3}
    bench.turn()
    assert bench.account.engine.counters["connection_requests_refused"] == 3


def test_a_socket_that_is_dead_is_told(bench: Bench) -> None:
    bench.table.failures = [OSError(errno.EBADF, "gone")]
    with pytest.raises(OSError, match="gone"):
        bench.turn()


@pytest.mark.parametrize("reliable", [True, False])
def test_lost_ends_are_found_out_with_the_next_list(*, reliable: bool) -> None:
    bench = Bench(reliable=reliable)
    bench.turn()
    bench.account.judge("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
    bench.events.overruns = 1
    bench.turn(1)
    told = [*bench.turn(1), *bench.turn(1)]
    # A reliable kernel tells the end again.
    assert told == ([] if reliable else [FlowPhase.ENDED])
    assert bench.account.engine.counters["connection_overruns"] == 1
    bench.tracker.close()
