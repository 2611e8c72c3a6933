"""One change of the policy after the other, and nobody waits for packets, or packets for it."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar, cast

import pytest

from trireme_collector.errors import ConfigError, DatapathError
from trireme_collector.records import ContainerEvent, ContainerRecord, Record
from trireme_datapath.agent import load_agent_config
from trireme_datapath.agent._files import AgentFiles
from trireme_datapath.agent._kept_rules import KeptRules
from trireme_datapath.agent._policy_keeper import PolicyKeeper
from trireme_datapath.agent.config import RulesConfig
from trireme_datapath.lifecycle import UnitLifecycle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trireme_collector.control import ObserveResult, ReloadResult
    from trireme_datapath.agent._background import BackgroundWork
    from trireme_datapath.policy import CompiledPolicy

ResultT = TypeVar("ResultT")
POLICY = """
version = 1
[[unit]]
id = "shop"
select = { told = true }
[[unit.ingress]]
id = "web"
action = "accept"
from = "any"
protocol = "tcp"
ports = [80]
"""


class Later:
    """Does work when the test says so, as a thread would at some time."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()

    def do(
        self,
        work: Callable[[], ResultT],
        done: Callable[[ResultT], None],
        failed: Callable[[Exception], None],
    ) -> None:
        def step() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  as the thread does
                failed(error)
            else:
                done(result)

        self.waiting.append(step)

    def run(self) -> None:
        while self.waiting:
            self.waiting.popleft()()


class Rules:
    """Rules of the kernel that may be refused."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.order: list[str] = []

    def of(self, policy: CompiledPolicy) -> _Described:
        return _Described(self, list(policy.cgroup_marks))


class _Described:
    def __init__(self, rules: Rules, groups: list[str]) -> None:
        self._rules = rules
        self._groups = groups

    def install(self) -> None:
        if self._rules.error is not None and self._groups:
            raise self._rules.error
        self._rules.order.append(f"rules for {' '.join(self._groups)}")

    def remove(self) -> None:
        self._rules.order.append("no rules")


class Bench:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "policy.toml"
        self.path.write_text(POLICY, encoding="utf-8")
        config = directory / "agent.toml"
        config.write_text('[datapath]\npolicy = "policy.toml"\n', encoding="utf-8")
        files = AgentFiles(load_agent_config(config))
        policy = files.load_policy()
        self.records: list[Record] = []
        self.enforced: list[CompiledPolicy] = []
        self.problems: tuple[str, ...] = ()
        self.rules = Rules()
        self.later = Later()
        self.units = UnitLifecycle(self.records.append)
        self.keeper = PolicyKeeper(
            files,
            policy,
            self.units,
            KeptRules(RulesConfig(), policy, self.rules.of, self.records.append),
            self.put_in_force,
            cast("BackgroundWork", self.later),
            self.records.append,
        )
        self.keeper.begin()

    def put_in_force(self, policy: CompiledPolicy, done: Callable[[tuple[str, ...]], None]) -> None:
        if not self.problems:
            self.enforced.append(policy)
            self.rules.order.append("judged")
        done(self.problems)

    def reload(self) -> Future[ReloadResult]:
        future: Future[ReloadResult] = Future()
        self.keeper.reload(future)
        return future

    def tell(self, job: Callable[[], ContainerEvent | None], context: str = "shop") -> Future[str]:
        future: Future[ContainerEvent | None] = Future()
        self.keeper.tell(job, future, context)
        return cast("Future[str]", future)

    def start(self, **more: object) -> Future[str]:
        return self.tell(lambda: self.units.start("shop", {}, **more))  # type: ignore[arg-type]  # as the test says

    def events(self) -> list[str]:
        return [one.event for one in self.records if isinstance(one, ContainerRecord)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_answer_comes_when_packets_are_judged_by_it(bench: Bench) -> None:
    told = bench.start(interfaces=["veth0"])
    assert not told.done()
    bench.later.run()
    assert told.result(0) == "start"
    (policy,) = bench.enforced
    assert policy.unit_for_interface("veth0") is not None
    gone = bench.tell(lambda: bench.units.delete("shop"))
    bench.later.run()
    assert gone.result(0) == "delete"
    assert bench.enforced[-1].unit_for_interface("veth0") is None


def test_what_changes_nothing_is_answered_at_once(bench: Bench) -> None:
    assert bench.tell(lambda: bench.units.delete("stranger")).result(0) == "unknowncontainer"
    assert bench.enforced == []


def test_many_that_come_together_are_one_change(bench: Bench) -> None:
    futures = [bench.start(interfaces=["veth0"])]
    futures += [bench.start(interfaces=[f"veth{number}"]) for number in range(1, 5)]
    bench.later.run()
    assert [one.result(0) for one in futures] == ["start", *["update"] * 4]
    assert len(bench.enforced) == 2  # the first, and all that came meanwhile
    assert bench.enforced[-1].unit_for_interface("veth4") is not None


def test_a_reload_keeps_units_that_were_told_of(bench: Bench) -> None:
    bench.start(interfaces=["veth0"])
    bench.later.run()
    bench.path.write_text(POLICY.replace("80", "81"), encoding="utf-8")
    reloaded = bench.reload()
    switched: Future[ObserveResult] = Future()
    bench.keeper.switch(True, 0, switched)
    bench.later.run()
    assert reloaded.result(0).changed
    assert switched.result(0).observe_only
    assert all(policy.unit_for_interface("veth0") for policy in bench.enforced)
    assert bench.events() == ["start", "update"]  # its part of the policy changed


def test_control_groups_are_marked_before_somebody_judges_by_them(bench: Bench) -> None:
    told = bench.start(cgroups=["a.slice"])
    bench.later.run()
    assert told.result(0) == "start"
    assert bench.rules.order == ["rules for a.slice", "judged"]
    assert list(bench.enforced[-1].cgroup_marks) == ["a.slice"]


def test_a_group_that_cannot_be_marked_stops_its_unit_and_no_other(bench: Bench) -> None:
    bench.path.write_text(
        POLICY + '[[unit]]\nid = "db"\nselect = { told = true }\n', encoding="utf-8"
    )
    bench.reload()
    bench.later.run()
    bench.rules.error = DatapathError("iptables says no")
    shop = bench.start(cgroups=["a.slice"])
    db = bench.tell(lambda: bench.units.start("db", {}, interfaces=["veth1"]), "db")
    bench.later.run()
    with pytest.raises(ConfigError, match="control groups cannot be marked: iptables says no"):
        shop.result(0)
    assert db.result(0) == "start"
    assert bench.enforced[-1].unit_for_interface("veth1") is not None
    assert bench.enforced[-1].cgroup_marks == {}
    assert bench.events() == ["start", "start", "forcestop"]


def test_an_engine_that_refuses_keeps_the_policy(bench: Bench) -> None:
    before = bench.keeper.policy
    bench.problems = ("too large",)
    bench.path.write_text(POLICY.replace("80", "81"), encoding="utf-8")
    reloaded = bench.reload()
    bench.later.run()
    with pytest.raises(ConfigError, match="too large"):
        reloaded.result(0)
    assert bench.keeper.policy is before
    assert bench.keeper.status().refused == ("too large",)


def test_whoever_waits_at_the_end_hears_so(bench: Bench) -> None:
    reloaded, told = bench.reload(), bench.start(interfaces=["veth0"])
    bench.keeper.close()
    bench.later.run()
    with pytest.raises(DatapathError, match="the agent ends"):
        reloaded.result(0)
    assert told.done()
    assert bench.enforced == []
    with pytest.raises(DatapathError, match="the agent ends"):
        bench.reload().result(0)
