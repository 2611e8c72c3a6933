"""A change of the policy puts it in force in all enforcers or in none."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from tests.datapath.processes.conftest import FakeChild
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.policy.told import read_told
from trireme_datapath.processes._enforcer_messages import (
    Enforce,
    Enforcing,
    NewPolicy,
    PolicyReady,
    PolicyRefused,
)
from trireme_datapath.processes._operations import Gatherings
from trireme_datapath.processes._post import Duty
from trireme_datapath.processes._reload import PolicyChange

if TYPE_CHECKING:
    from tests.datapath.processes.conftest import Clock
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.processes._tree import Tree

OLD = compile_policy(parse_policy("version = 1\n"))
NEW = compile_policy(parse_policy('version = 1\ndefault = "accept"\n'))


class FakeEnforcer:
    def __init__(self, pid: int, duty: Duty) -> None:
        self.child = FakeChild("enforcer", pid, 0)
        self.duty = duty
        self.edition = OLD.edition


class FakeTree:
    """As much of a tree as a change touches."""

    def __init__(self, *duties: Duty) -> None:
        self.gatherings: Gatherings[object] = Gatherings()
        self.staff = self
        self.all = [FakeEnforcer(pid, duty) for pid, duty in enumerate(duties, 2)]
        self.policy: CompiledPolicy = OLD
        self.brought_up_to_date = 0

    def bring_all_up_to_date(self) -> None:
        self.brought_up_to_date += 1


class Case:
    """One change, and what came of it."""

    def __init__(self, policy: CompiledPolicy, *duties: Duty) -> None:
        self.tree = FakeTree(*duties)
        self.done: list[tuple[str, ...]] = []
        self.change = PolicyChange(cast("Tree", self.tree), policy, self.done.append)

    def begin(self) -> None:
        self.change.begin()

    def answer(self, place: int, answer: object) -> None:
        request = getattr(answer, "request", 0)
        self.tree.gatherings.answer(request, self.tree.all[place], answer)


@pytest.fixture(autouse=True)
def at_this_time(clock: Clock) -> None:
    assert clock.now_ns


def test_nobody_judges_by_it_before_all_are_ready() -> None:
    case = Case(NEW, Duty.JUDGING, Duty.STANDING_BY)
    case.begin()
    children = [one.child for one in case.tree.all]
    told = NewPolicy(request=1, policy=NEW.policy)
    assert [child.heard(NewPolicy) for child in children] == [[told], [told]]
    case.answer(0, PolicyReady(request=1, edition=NEW.edition))
    assert not any(child.heard(Enforce) for child in children)
    assert case.tree.policy is OLD
    case.answer(1, PolicyReady(request=1, edition=NEW.edition))
    assert all(child.heard(Enforce) == [Enforce(request=2)] for child in children)
    assert case.tree.policy is NEW
    assert case.done == []
    case.answer(0, Enforcing(request=2, edition=NEW.edition))
    case.answer(1, Enforcing(request=2, edition=NEW.edition))
    assert case.done == [()]


def test_one_in_reserve_that_hangs_holds_up_nobody(clock: Clock) -> None:
    case = Case(NEW, Duty.JUDGING, Duty.STANDING_BY)
    case.begin()
    gatherings, (judge, spare) = case.tree.gatherings, case.tree.all
    clock.step(60)
    gatherings.step()
    assert not judge.child.heard(Enforce), "who judges is waited for"
    case.answer(0, PolicyReady(request=1, edition=NEW.edition))
    gatherings.step()
    clock.step(0.4)
    gatherings.step()
    assert not judge.child.heard(Enforce)
    clock.step(0.2)
    gatherings.step()
    assert judge.child.heard(Enforce) == [Enforce(request=2)]
    assert not spare.child.heard(Enforce)
    case.answer(0, Enforcing(request=2, edition=NEW.edition))
    assert case.done == [()]
    assert case.tree.brought_up_to_date == 1


def test_one_in_reserve_that_has_to_judge_is_waited_for(clock: Clock) -> None:
    case = Case(NEW, Duty.JUDGING, Duty.STANDING_BY)
    case.begin()
    judge, spare = case.tree.all
    case.answer(0, PolicyReady(request=1, edition=NEW.edition))
    case.tree.gatherings.step()
    clock.step(0.4)
    spare.duty = Duty.TAKING
    case.tree.gatherings.step()
    clock.step(60)
    case.tree.gatherings.step()
    assert not judge.child.heard(Enforce)
    case.answer(1, PolicyReady(request=1, edition=NEW.edition))
    assert judge.child.heard(Enforce)
    assert spare.child.heard(Enforce)


def test_one_that_refuses_keeps_all_as_they_are() -> None:
    case = Case(NEW, Duty.JUDGING, Duty.JUDGING)
    case.begin()
    case.answer(0, PolicyReady(request=1, edition=NEW.edition))
    case.answer(1, PolicyRefused(request=1, problems=("too large",)))
    assert not any(one.child.heard(Enforce) for one in case.tree.all)
    assert case.tree.policy is OLD
    assert case.done == [("too large",)]


def test_one_that_dies_meanwhile_is_not_waited_for() -> None:
    case = Case(NEW, Duty.JUDGING, Duty.JUDGING, Duty.PREPARING)
    case.begin()
    case.answer(0, PolicyReady(request=1, edition=NEW.edition))
    case.tree.gatherings.gone(case.tree.all[1])
    assert case.tree.all[0].child.heard(Enforce)
    assert not case.tree.all[1].child.heard(Enforce)
    case.answer(0, Enforcing(request=2, edition=NEW.edition))
    assert case.done == [()]
    # Who was still preparing the old one gets the new one now.
    assert case.tree.brought_up_to_date == 1


def test_where_only_units_came_the_rules_are_not_told_again() -> None:
    told = read_told("ctx", ["192.0.2.9"])
    case = Case(compile_policy(OLD.policy, [told], before=OLD), Duty.JUDGING, Duty.JUDGING)
    # The second judges by something else: it has to hear everything.
    case.tree.all[1].edition = "another"
    case.begin()
    first, second = (one.child.heard(NewPolicy)[0] for one in case.tree.all)
    assert first == NewPolicy(request=1, policy=None, told=(told,))
    assert second == NewPolicy(request=1, policy=OLD.policy, told=(told,))
