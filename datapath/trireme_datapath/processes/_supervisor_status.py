"""What a supervisor tells of the whole tree."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from trireme_collector.control import AgentStatus, Later
from trireme_collector.pipeline import PipelineStatus, ShutdownReport
from trireme_datapath.agent._status import describe, observe_health
from trireme_datapath.processes._ledger import health_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trireme_collector.control import HealthStatus
    from trireme_collector.metrics import HealthCheck
    from trireme_datapath.agent._kept_rules import KeptRules
    from trireme_datapath.agent._policy_keeper import PolicyKeeper
    from trireme_datapath.processes._ledger import Account
    from trireme_datapath.processes._tree import Tree

__all__ = ["SupervisorStatus"]

_PATIENCE_SECONDS: Final = 2.0


class SupervisorStatus:
    """Asks everybody, and puts together what they say.

    Args:
        instance: The name of the agent.
        policy: Which policy is in force.
        rules: The kernel's rules.
    """

    def __init__(self, instance: str, policy: PolicyKeeper, rules: KeptRules) -> None:
        """Ask nobody yet."""
        self._instance = instance
        self._policy = policy
        self._rules = rules

    def health(self) -> Iterator[HealthCheck]:
        """Tell what the children cannot know."""
        yield from self._rules.watch.health()
        yield observe_health(self._policy.status())

    def later(
        self, tree: Tree | None, ask: Callable[[Callable[[], None]], object], *, ending: bool
    ) -> Later[AgentStatus]:
        """Have everybody tell what is counted, and describe it.

        Args:
            tree: Who; None when nobody is left.
            ask: Has the loop do something.
            ending: Whether the agent was told to end.
        """
        future: Future[AgentStatus] = Future()

        def answer(account: Account) -> None:
            if tree is not None and not future.cancelled():
                future.set_result(self._described(tree, account, ending=ending))

        def look() -> None:
            if tree is not None:
                tree.ledger.look(answer, _PATIENCE_SECONDS)

        ask(look)
        return Later(future, lambda status: status, patience_seconds=4 * _PATIENCE_SECONDS)

    def _described(self, tree: Tree, account: Account, *, ending: bool) -> AgentStatus:
        checks: list[HealthCheck | HealthStatus] = [*health_of(tree), *self.health()]
        checks += account.health
        return describe(
            ending=ending,
            checks=checks,
            policy=self._policy.status(),
            packets=account.packets,
            records=account.records or self._empty_records(),
            processes=tree.ledger.processes(),
            crossing=tree.ledger.crossing(),
        )

    def last_report(self, tree: Tree) -> ShutdownReport:
        """Tell what became of the records; if nobody says so, what is known of them."""
        keeper = tree.keeper
        if keeper.report is not None:
            return keeper.report
        status = keeper.last or self._empty_records()
        names = tuple(account.name for account in status.collectors)
        waiting = tree.ledger.crossing().waiting
        return ShutdownReport(
            complete=False, undelivered=waiting, spooled=0, stuck=names, status=status
        )

    def _empty_records(self) -> PipelineStatus:
        """Tell the account of a pipeline that never said anything."""
        return PipelineStatus(
            instance=self._instance,
            epoch=self._policy.since_ns,
            sequence=0,
            flows_received=0,
            flows_merged=0,
            flows_pending=0,
            flows_evicted=0,
            malformed=0,
            collectors=(),
        )
