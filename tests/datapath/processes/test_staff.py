"""Who judges: one at each post, one in reserve, and nobody for long who hangs or dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from tests.datapath.processes.conftest import Clock, FakeChild, FakeReactor
from trireme_datapath.backends.netlink import QueueSettings
from trireme_datapath.engine import EngineLimits
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.processes._enforcer_messages import (
    Anticipate,
    Anticipating,
    Counted,
    Enforce,
    EnforcerSetup,
    Enforcing,
    Learn,
    Learned,
    LearnedName,
    NewPolicy,
    PolicyReady,
    Release,
    Released,
    Settle,
    Take,
    Taken,
    TraceUnit,
)
from trireme_datapath.processes._messages import Ready
from trireme_datapath.processes._post import Post
from trireme_datapath.processes._staff import Staff
from trireme_datapath.tracing import TraceDirection, TraceRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.processes._child import Reactor

OLD = compile_policy(parse_policy("version = 1\n"))
NEW = compile_policy(parse_policy('version = 1\ndefault = "accept"\n'))


def setup(policy: CompiledPolicy) -> EnforcerSetup:
    return EnforcerSetup(
        policy=policy.policy,
        told=policy.told,
        limits=EngineLimits(),
        refuse_mark=None,
        accept_mark=None,
        settings=QueueSettings(),
        accounting=None,
        accountant=False,
        recorder=("", ""),
        slots=(),
        statistics=-1,
    )


class Office:
    """Staff with posts, and children that the test plays."""

    def __init__(self, started: list[FakeChild], clock: Clock, posts: int) -> None:
        self.reactor = FakeReactor()
        self.clock = clock
        self.started = started
        self.posts = [
            Post(number, [], record_buffer_bytes=262_144, accounting=False)
            for number in range(posts)
        ]
        reactor = cast("Reactor", self.reactor)
        self.staff = Staff(reactor, self.posts, setup, OLD, ("text", "plain"))

    def prepare(self, child: FakeChild, edition: str = OLD.edition) -> None:
        self.reactor.say(child, Ready(edition=edition))

    def judge(self, child: FakeChild) -> None:
        """Have a child take over what it was given."""
        (order,) = child.heard(Take)
        assert isinstance(order, Take)
        self.reactor.say(child, Taken(slot=order.slot, capacity=1))
        self.posts[order.slot].board.beat(self.clock.now_ns)

    def begin(self) -> None:
        """Fill every post, and have one in reserve."""
        while not self.staff.complete or len(self.started) <= len(self.posts):
            self.staff.step()
            for child in self.started:
                if not child.heard(Take) and child.pid in self.reactor.hearers:
                    self.prepare(child)
            self.staff.step()
            for child in self.started:
                if child.heard(Take) and self.duty(child) == "taking over":
                    self.judge(child)
        self.staff.step()
        self.prepare(self.started[-1])

    def duty(self, child: FakeChild) -> str:
        found = [one.duty.value for one in self.staff.all if one.child.pid == child.pid]
        return found[0] if found else "gone"

    def at(self, number: int) -> FakeChild:
        enforcer = self.posts[number].enforcer
        assert enforcer is not None
        return next(child for child in self.started if child.pid == enforcer.child.pid)

    def beat(self) -> None:
        for post in self.posts:
            post.board.beat(self.clock.now_ns)


@pytest.fixture
def open_office(started: list[FakeChild], clock: Clock) -> Iterator[Callable[..., Office]]:
    offices: list[Office] = []

    def make(posts: int = 1) -> Office:
        office = Office(started, clock, posts)
        offices.append(office)
        office.begin()
        return office

    yield make
    for office in offices:
        for post in office.posts:
            post.close()


def test_every_post_is_taken_and_one_stands_by(open_office: Callable[..., Office]) -> None:
    office = open_office(2)
    assert [office.duty(child) for child in office.started] == ["judging", "judging", "standing by"]
    assert office.staff.complete
    office.staff.step()
    assert len(office.started) == 3


def test_one_who_dies_is_replaced_at_once_by_the_one_who_stands_by(
    open_office: Callable[..., Office],
) -> None:
    office = open_office()
    first, second = office.started
    office.clock.step(10)
    office.reactor.end(first)
    assert second.heard(Take) == [Take(slot=0, settle=Settle.AGAIN, adopt=True)]
    office.judge(second)
    office.staff.step()
    # Where one died, more may: for a minute, three stand by.
    assert len(office.started) == 2 + 3
    assert office.posts[0].deaths == 1
    assert office.posts[0].changes == 2


def test_one_who_hangs_is_killed(open_office: Callable[..., Office]) -> None:
    office = open_office()
    first = office.started[0]
    for _ in range(8):
        office.clock.step(0.5)
        office.staff.step()
    assert first.killed


def test_one_in_reserve_that_never_judges_by_the_policy_in_force_is_replaced(
    open_office: Callable[..., Office],
) -> None:
    office = open_office()
    spare = office.started[1]
    office.staff.policy = NEW
    office.staff.bring_all_up_to_date()
    office.reactor.say(office.at(0), Enforcing(request=1, edition=NEW.edition))
    killed = []
    for _ in range(242):
        office.clock.step(0.5)
        office.beat()
        office.staff.step()
        killed.append(spare.killed)
    assert killed == [False] * 240 + [True] * 2
    assert not office.at(0).killed


def test_nobody_is_killed_because_the_supervisor_did_not_run(
    open_office: Callable[..., Office],
) -> None:
    office = open_office()
    office.clock.step(60)
    office.staff.step()
    assert not office.started[0].killed
    office.clock.step(0.5)
    office.beat()
    office.staff.step()
    assert not office.started[0].killed


@pytest.mark.parametrize("code", [-11, -9])
def test_what_kills_one_after_the_other_is_dropped_and_they_come_slower(
    open_office: Callable[..., Office], code: int
) -> None:
    office = open_office()
    settled: list[Settle] = []
    starts: list[int] = []
    for _ in range(8):
        child = office.at(0)
        (order,) = child.heard(Take)
        assert isinstance(order, Take)
        settled.append(order.settle)
        office.judge(child)
        office.reactor.end(child, "killed by SIGSEGV", code)
        before = office.clock.now_ns
        while office.posts[0].enforcer is None:
            office.clock.step(0.05)
            office.staff.step()
            for one in office.started:
                if office.duty(one) == "preparing":
                    office.prepare(one)
        starts.append((office.clock.now_ns - before) // 1_000_000)
    assert starts[0] <= 50
    assert starts == sorted(starts)
    if code == -9:  # somebody else did it: no packet is to blame
        assert settled == [Settle.AGAIN] * 8
        assert starts[-1] <= 450
    else:
        assert settled == [Settle.AGAIN] * 2 + [Settle.DROP] * 6
        assert 3_000 <= starts[-1] <= 5_100


def test_those_who_cannot_even_prepare_come_slower(started: list[FakeChild], clock: Clock) -> None:
    office = Office(started, clock, 1)
    for _ in range(100):
        office.staff.step()
        for child in started:
            if child.pid in office.reactor.hearers:
                office.reactor.end(child, "ended with code 1")
        clock.step(0.1)
    assert len(started) < 25
    office.posts[0].close()


def test_counters_outlive_those_who_counted(open_office: Callable[..., Office]) -> None:
    office = open_office()
    first, second = office.started
    office.reactor.say(first, Counted(counters={"flows_accepted": 3, "packets": 4}))
    office.posts[0].board.write(beat_ns=1, judged=5, denied=2, made=0, sent=0, unsent=0)
    office.reactor.end(first)
    office.judge(second)
    office.reactor.say(second, Counted(counters={"flows_accepted": 1}))
    counters = office.posts[0].counters()
    assert (counters["flows_accepted"], counters["packets"], counters["packets_denied"]) == (
        4,
        5,
        2,
    )


def test_an_exchange_replaces_one_after_the_other_and_first_prepares_who_follows(
    open_office: Callable[..., Office],
) -> None:
    office = open_office(2)
    old = list(office.started)
    office.staff.exchange_all()
    assert office.staff.restarting
    for _ in range(12):
        office.clock.step(0.1)
        office.beat()
        office.staff.step()
        assert sum(post.enforcer is None for post in office.posts) <= 1
        for child in list(office.started):
            if child.pid not in office.reactor.hearers:
                continue
            if office.duty(child) == "preparing":
                office.prepare(child)
            if child.heard(Anticipate) and not child.heard(Take):
                office.reactor.say(child, Anticipating())
            if child.heard(Take) and office.duty(child) == "taking over":
                office.judge(child)
            if child.heard(Release) and office.duty(child) == "ending":
                office.reactor.say(child, Released(counters={}))
                office.reactor.end(child, "ended with code 0")
    assert office.staff.complete
    assert all(office.duty(child) == "gone" for child in old)
    assert [child.generation for child in office.started[3:]] == [1, 1, 1]
    assert [post.deaths for post in office.posts] == [0, 0]


def test_one_who_prepared_the_policy_of_before_gets_the_one_of_now(
    open_office: Callable[..., Office],
) -> None:
    office = open_office()
    spare = office.started[1]
    office.staff.policy = NEW
    office.staff.bring_all_up_to_date()
    assert spare.heard(NewPolicy)
    office.reactor.end(office.started[0])
    assert not spare.heard(Take)
    office.reactor.say(spare, PolicyReady(request=-1, edition=NEW.edition))
    assert spare.heard(Enforce)
    office.reactor.say(spare, Enforcing(request=-1, edition=NEW.edition))
    office.clock.step(0.1)
    office.staff.step()
    assert spare.heard(Take)


def test_what_one_learned_of_names_all_others_know(open_office: Callable[..., Office]) -> None:
    office = open_office(2)
    first, second, spare = office.started
    name = LearnedName("web", "example.com", b"\xc0\0\2\7", 2**62)
    office.reactor.say(first, Learned(names=(name,)))
    assert second.heard(Learn) == spare.heard(Learn) == [Learn(names=(name,))]
    assert first.heard(Learn) == []
    office.reactor.end(first)
    office.judge(spare)
    office.staff.step()
    office.prepare(office.started[-1])
    assert office.started[-1].heard(Learn) == [Learn(names=(name,))]


def test_names_that_expired_are_told_to_nobody(open_office: Callable[..., Office]) -> None:
    office = open_office()
    first, spare = office.started
    office.reactor.say(first, Learned(names=(LearnedName("web", "example.com", b"1234", 1),)))
    office.reactor.end(first)
    office.judge(spare)
    office.staff.step()
    office.prepare(office.started[-1])
    assert office.started[-1].heard(Learn) == []


def test_at_the_end_nobody_is_replaced(open_office: Callable[..., Office]) -> None:
    office = open_office()
    office.staff.release_all(drain=True)
    for child in tuple(office.started):
        assert child.heard(Release) == [Release(drain=True)]
        office.reactor.say(child, Released(counters={"flows_accepted": 1}))
        office.reactor.end(child, "ended with code 0")
    office.staff.step()
    assert len(office.started) == 2
    assert office.staff.all == []
    assert office.posts[0].counters()["flows_accepted"] == 1
    assert office.posts[0].deaths == 0


def trace_of(seconds: float, direction: TraceDirection = TraceDirection.BOTH) -> TraceUnit:
    until_ns = 1_000_000_000_000 + round(seconds * 1e9)
    return TraceUnit(unit="web", request=TraceRequest(direction=direction, until_ns=until_ns))


def test_who_comes_later_traces_what_is_traced(open_office: Callable[..., Office]) -> None:
    office = open_office()
    order = trace_of(60)
    office.staff.trace(order)
    before = list(office.started)
    assert all(child.heard(TraceUnit) == [order] for child in before)
    office.reactor.end(office.at(0))
    office.staff.step()
    later = office.started[-1]
    assert later not in before
    assert later.heard(TraceUnit) == []
    office.prepare(later)
    assert later.heard(TraceUnit) == [order]
    assert office.staff.traces == (order,)


@pytest.mark.parametrize("how", ["over", "ended"])
def test_who_comes_after_a_trace_hears_nothing_of_it(
    open_office: Callable[..., Office], clock: Clock, how: str
) -> None:
    office = open_office()
    office.staff.trace(trace_of(60))
    if how == "over":
        clock.step(61)
        office.beat()
    else:
        office.staff.trace(trace_of(60, TraceDirection.DISABLED))
    office.reactor.end(office.at(0))
    office.staff.step()
    office.prepare(office.started[-1])
    assert office.started[-1].heard(TraceUnit) == []
    assert office.staff.traces == ()
