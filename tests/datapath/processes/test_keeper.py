"""The process of the collectors: started anew when it dies, heard when it cannot begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from tests.datapath.processes.conftest import Clock, FakeChild, FakeReactor
from trireme_collector.control import CrossingStatus, HealthStatus, ProcessStatus
from trireme_collector.pipeline import PipelineStatus, ShutdownReport
from trireme_datapath.processes._collector_messages import (
    Begin,
    CollectorSetup,
    Feed,
    Finish,
    Finished,
    Reopen,
    Tell,
    Told,
)
from trireme_datapath.processes._keeper import CollectorKeeper
from trireme_datapath.processes._messages import Failed, Ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_datapath.processes._child import Reactor

CROSSING = CrossingStatus(made=6, dropped=1, sent=5, taken=3, lost=1, waiting=1)
FEED = Feed(
    counters={"packets": 1},
    revision="r",
    queues=(),
    beating=True,
    processes=(
        ProcessStatus(
            name="enforcer 0", pid=7, state="judging", deaths=2, policy_revision="90be22f1"
        ),
        ProcessStatus(name="enforcer in reserve", pid=8, state="standing by"),
        ProcessStatus(name="collectors", pid=0, state="missing", deaths=1),
    ),
    crossing=CROSSING,
    settled=9,
    health=(
        HealthStatus(name="rules", ok=False, detail="not enforcing: gone", vital=False),
        HealthStatus(name="observe", ok=True, detail="", vital=False, essential=False),
    ),
)
STATUS = PipelineStatus(
    instance="test",
    epoch=1,
    sequence=0,
    flows_received=0,
    flows_merged=0,
    flows_pending=0,
    flows_evicted=0,
    malformed=0,
    collectors=(),
)
REPORT = ShutdownReport(complete=True, undelivered=0, spooled=0, stuck=(), status=STATUS)


@pytest.fixture
def reactor() -> FakeReactor:
    return FakeReactor()


@pytest.fixture
def keeper(reactor: FakeReactor, started: list[FakeChild]) -> Iterator[CollectorKeeper]:
    assert started == []
    made = CollectorKeeper(cast("Reactor", reactor), "agent.toml", [5, 6], ("text", "plain"))
    yield made
    made.close()


def test_it_is_started_and_told_what_to_show(
    keeper: CollectorKeeper, reactor: FakeReactor, started: list[FakeChild]
) -> None:
    keeper.step()
    (child,) = started
    (setup,) = child.heard(CollectorSetup)
    assert isinstance(setup, CollectorSetup)
    assert (setup.config_path, setup.records) == ("agent.toml", (5, 6))
    keeper.feed(FEED)
    assert not child.heard(Begin)
    reactor.say(child, Ready(edition="test"))
    assert child.heard(Begin) == [Begin(feed=FEED)]
    assert keeper.ready
    keeper.send(Reopen())
    assert child.heard(Reopen)
    assert keeper.ask(Tell(request=1))
    keeper.step()
    assert len(started) == 1


def test_one_that_dies_is_started_anew_and_slower_each_time(
    keeper: CollectorKeeper, reactor: FakeReactor, started: list[FakeChild], clock: Clock
) -> None:
    gone: list[int] = []
    keeper.gone = lambda: gone.append(len(started))
    for _ in range(400):
        keeper.step()
        if keeper.running:
            reactor.end(started[-1])
        clock.step(0.1)
    assert 8 <= len(started) <= 12
    assert keeper.deaths == len(started) == len(gone)
    assert not keeper.ask(Tell(request=1))
    clock.step(30)
    keeper.step()
    reactor.say(started[-1], Ready(edition="test"))
    clock.step(11)  # it lived: the next one comes at once
    before = len(started)
    reactor.end(started[-1])
    clock.step(0.11)
    keeper.step()
    assert len(started) == before + 1


def test_one_that_hangs_is_killed(
    keeper: CollectorKeeper, reactor: FakeReactor, started: list[FakeChild], clock: Clock
) -> None:
    keeper.step()
    reactor.say(started[0], Ready(edition="test"))
    clock.step(29)
    keeper.step()
    assert not started[0].killed
    keeper.board.beat(clock.now_ns)
    clock.step(29)
    keeper.step()
    assert not started[0].killed
    clock.step(2)
    keeper.step()
    assert started[0].killed


def test_why_it_cannot_begin_is_kept(
    keeper: CollectorKeeper, reactor: FakeReactor, started: list[FakeChild]
) -> None:
    keeper.step()
    failed = Failed(message="no such directory", exit_code=8)
    reactor.say(started[0], failed)
    reactor.end(started[0], "ended with code 8")
    assert keeper.failure == failed


def test_an_exchange_ends_it_and_starts_another(
    keeper: CollectorKeeper, reactor: FakeReactor, started: list[FakeChild]
) -> None:
    keeper.step()
    reactor.say(started[0], Ready(edition="test"))
    keeper.exchange(3)
    assert started[0].heard(Finish) == [Finish(deadline_seconds=3)]
    reactor.say(started[0], Finished(report=REPORT))
    reactor.end(started[0], "ended with code 0")
    keeper.step()
    assert len(started) == 2
    assert keeper.deaths == 0


def test_a_stop_is_final_and_has_a_report(
    keeper: CollectorKeeper, reactor: FakeReactor, started: list[FakeChild], clock: Clock
) -> None:
    keeper.step()
    reactor.say(started[0], Ready(edition="test"))
    reactor.say(started[0], Told(request=1, status=STATUS, health=()))
    assert keeper.last == STATUS
    keeper.stop(2)
    clock.step(11)
    keeper.step()
    assert not started[0].killed
    reactor.say(started[0], Finished(report=REPORT))
    reactor.end(started[0], "ended with code 0")
    clock.step(60)
    keeper.step()
    assert not keeper.running
    assert keeper.report == REPORT


def test_a_stop_while_it_is_away_still_has_what_waits_delivered(
    keeper: CollectorKeeper, reactor: FakeReactor, started: list[FakeChild]
) -> None:
    keeper.step()
    reactor.say(started[0], Ready(edition="test"))
    reactor.end(started[0])
    keeper.stop(2)
    assert len(started) == 2
    assert not started[1].heard(Finish)
    reactor.say(started[1], Ready(edition="test"))
    assert started[1].heard(Finish) == [Finish(deadline_seconds=2)]
    reactor.say(started[1], Finished(report=REPORT))
    reactor.end(started[1], "ended with code 0")
    keeper.step()
    assert len(started) == 2
    assert keeper.report == REPORT


def test_a_stop_that_takes_too_long_is_ended(
    keeper: CollectorKeeper, reactor: FakeReactor, started: list[FakeChild], clock: Clock
) -> None:
    keeper.step()
    reactor.say(started[0], Ready(edition="test"))
    keeper.stop(2)
    clock.step(13)
    keeper.step()
    assert started[0].killed
    reactor.end(started[0])
    assert keeper.report is None
    assert not keeper.running
