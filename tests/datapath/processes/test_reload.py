"""A reload puts a policy in force in all enforcers or in none."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.datapath.processes.conftest import FakeChild
from trireme_collector.errors import ConfigError
from trireme_datapath.agent._files import Reading
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.processes._messages import (
    Enforce,
    Enforcing,
    NewPolicy,
    PolicyReady,
    PolicyRefused,
    Reopen,
)
from trireme_datapath.processes._operations import Gatherings
from trireme_datapath.processes._post import Duty
from trireme_datapath.processes._reload import Reload

if TYPE_CHECKING:
    from tests.datapath.processes.conftest import Clock
    from trireme_collector.control import ReloadResult
    from trireme_datapath.agent._files import AgentFiles
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.processes._tree import Tree

OLD = compile_policy(parse_policy("version = 1\n"))
NEW = compile_policy(parse_policy('version = 1\ndefault = "accept"\n'))


class FakeEnforcer:
    def __init__(self, pid: int, duty: Duty) -> None:
        self.child = FakeChild("enforcer", pid, 0)
        self.duty = duty


class FakeTree:
    """As much of a tree as a reload touches."""

    def __init__(self, *duties: Duty) -> None:
        self.gatherings: Gatherings[object] = Gatherings()
        self.staff = self
        self.keeper = FakeChild("collector", 1, 0)
        self.all = [FakeEnforcer(pid, duty) for pid, duty in enumerate(duties, 2)]
        self.policy: CompiledPolicy = OLD
        self.brought_up_to_date = 0

    def bring_all_up_to_date(self) -> None:
        self.brought_up_to_date += 1


class FakeFiles:
    policy_file = Path("before.toml")

    def __init__(self, policy: CompiledPolicy | None) -> None:
        self.policy = policy

    def read_again(self) -> Reading:
        if self.policy is None:
            raise ConfigError("two mistakes", problems=("a:1:1", "b:2:2"))
        return Reading(self.policy, Path("policy.toml"), ("datapath.queue",))

    def take_over(self, reading: Reading) -> None:
        self.policy_file = reading.policy_file


class Case:
    """One reload, and what came of it."""

    def __init__(self, policy: CompiledPolicy | None, *duties: Duty) -> None:
        self.tree = FakeTree(*duties)
        self.files = FakeFiles(policy)
        self.future: Future[ReloadResult] = Future()
        self.done: list[tuple[CompiledPolicy | None, tuple[str, ...]]] = []
        self.reload = Reload(
            cast("Tree", self.tree),
            cast("AgentFiles", self.files),
            OLD,
            self.future,
            lambda policy, refused: self.done.append((policy, refused)),
        )
        self.reload.begin()

    def answer(self, place: int, answer: object) -> None:
        request = getattr(answer, "request", 0)
        self.tree.gatherings.answer(request, self.tree.all[place], answer)


@pytest.fixture(autouse=True)
def at_this_time(clock: Clock) -> None:
    assert clock.now_ns


def test_nobody_judges_by_it_before_all_are_ready() -> None:
    case = Case(NEW, Duty.JUDGING, Duty.STANDING_BY)
    children = [one.child for one in case.tree.all]
    assert all(child.heard(NewPolicy) for child in children)
    case.answer(0, PolicyReady(request=1, revision=NEW.revision))
    assert not any(child.heard(Enforce) for child in children)
    assert case.tree.policy is OLD
    case.answer(1, PolicyReady(request=1, revision=NEW.revision))
    assert all(child.heard(Enforce) == [Enforce(request=2)] for child in children)
    assert case.tree.policy is NEW
    assert not case.future.done()
    case.answer(0, Enforcing(request=2, revision=NEW.revision))
    case.answer(1, Enforcing(request=2, revision=NEW.revision))
    result = case.future.result(0)
    assert (result.revision_before, result.revision) == (OLD.revision, NEW.revision)
    assert result.changed
    assert result.restart_needed == ("datapath.queue",)
    assert case.done == [(NEW, ())]
    assert case.files.policy_file == Path("policy.toml")


def test_one_that_refuses_keeps_all_as_they_are() -> None:
    case = Case(NEW, Duty.JUDGING, Duty.JUDGING)
    case.answer(0, PolicyReady(request=1, revision=NEW.revision))
    case.answer(1, PolicyRefused(request=1, problems=("too large",)))
    assert not any(one.child.heard(Enforce) for one in case.tree.all)
    assert case.tree.policy is OLD
    with pytest.raises(ConfigError, match="too large"):
        case.future.result(0)
    assert case.done == [(None, ("too large",))]


def test_files_with_mistakes_reach_nobody() -> None:
    case = Case(None, Duty.JUDGING)
    assert not case.tree.all[0].child.heard(NewPolicy)
    assert case.tree.keeper.heard(Reopen)
    with pytest.raises(ConfigError) as caught:
        case.future.result(0)
    assert caught.value.problems == ("a:1:1", "b:2:2")


def test_the_same_policy_only_opens_the_outputs_anew() -> None:
    case = Case(OLD, Duty.JUDGING)
    assert case.tree.keeper.heard(Reopen)
    assert not case.tree.all[0].child.heard(NewPolicy)
    assert not case.future.result(0).changed
    assert case.done == [(None, ())]


def test_one_that_dies_meanwhile_is_not_waited_for() -> None:
    case = Case(NEW, Duty.JUDGING, Duty.JUDGING, Duty.PREPARING)
    case.answer(0, PolicyReady(request=1, revision=NEW.revision))
    case.tree.gatherings.gone(case.tree.all[1])
    assert case.tree.all[0].child.heard(Enforce)
    assert not case.tree.all[1].child.heard(Enforce)
    case.answer(0, Enforcing(request=2, revision=NEW.revision))
    assert case.future.result(0).changed
    # Who was still preparing the old one gets the new one now.
    assert case.tree.brought_up_to_date == 1


def test_what_comes_meanwhile_follows() -> None:
    case = Case(NEW, Duty.JUDGING)
    called: list[str] = []
    case.reload.follow(lambda: called.append("next"))
    assert called == []
    case.reload.next()
    assert called == ["next"]
