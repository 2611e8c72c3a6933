"""What any agent that judges packets keeps, whether in one process or in several.

Its policy, rules and units, and the commands and discoveries that change them. Other threads ask
for a change, and its loop makes it, between two turns.
"""

from __future__ import annotations

import abc
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from trireme_datapath.agent._background import BackgroundWork
from trireme_datapath.agent._control import AgentControl
from trireme_datapath.agent._discovery import Discovery, build_discoverers
from trireme_datapath.agent._extra_commands import add_commands
from trireme_datapath.agent._jobs import LoopJobs
from trireme_datapath.agent._kept_rules import KeptRules
from trireme_datapath.agent._policy_keeper import PolicyKeeper
from trireme_datapath.lifecycle import UnitLifecycle, UserLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_collector.config import LoadedConfiguration
    from trireme_collector.control import (
        AgentStatus,
        CommandTable,
        Later,
        ObserveResult,
        ReloadResult,
    )
    from trireme_collector.records import Record
    from trireme_datapath.agent._files import AgentFiles
    from trireme_datapath.agent._parts import Rules
    from trireme_datapath.agent.config import AgentConfiguration
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.tracing import TraceRequest

__all__ = ["JudgingAgent"]

ResultT = TypeVar("ResultT")


class JudgingAgent(abc.ABC):
    """Keeps what packets are judged by, and takes what is asked for to the thread of the loop.

    Args:
        config: The configuration.
        files: Where policies are read.
        policy: The policy to begin with.
        rules_of: Gives the kernel's rules for a policy.
        hand_on: Takes the records about units, users and the policy; called by the loop.
        remove_rules: Whether the rules are removed at the end, whatever the configuration says.
        found: Who found which unit, in the program of before.

    Attributes:
        units: What becomes of processing units.
        users: Which users are seen.

    Raises:
        ConfigError: A discovery is not known, or refuses its options.
        PluginError: A discovery cannot be built.
    """

    def __init__(
        self,
        config: LoadedConfiguration[AgentConfiguration],
        files: AgentFiles,
        policy: CompiledPolicy,
        rules_of: Callable[[CompiledPolicy], Rules],
        hand_on: Callable[[Record], None],
        *,
        remove_rules: bool,
        found: Mapping[str, str] | None = None,
    ) -> None:
        """Build every part; open nothing."""
        self._config = config
        self._settings = settings = config.settings.datapath
        self._jobs = LoopJobs()
        self._close_seconds = 5.0
        self._reload_asked = False
        self._rules = KeptRules(
            settings.rules, policy, rules_of, self.report, remove_at_stop=remove_rules
        )
        self.users = UserLog(hand_on)
        self.units = UnitLifecycle(
            hand_on, problem_of=self._rules.problem_of, tell_policy=settings.unit_events
        )
        self._keeper = PolicyKeeper(
            files,
            policy,
            self.units,
            self._rules,
            self._put_in_force,
            BackgroundWork(self.ask),
            hand_on,
        )
        self._control = AgentControl(config.settings.control, self)
        add_commands(self.commands, self)
        discoverers = build_discoverers(config.settings.discovery, config.registry)
        self._discovery = Discovery(discoverers, self.units, self.ask_unit, found)

    @property
    def commands(self) -> CommandTable:
        """What the control socket offers; commands of one's own are added before `start`."""
        return self._control.commands

    @abc.abstractmethod
    def _wake(self) -> None:
        """Make the loop turn."""

    @abc.abstractmethod
    def _begin_reload(self, future: Future[ReloadResult]) -> None:
        """Open the outputs anew, and read the files; called by the loop."""

    @abc.abstractmethod
    def _put_in_force(
        self, policy: CompiledPolicy, done: Callable[[tuple[str, ...]], None]
    ) -> None:
        """Have packets judged by another policy; called by the loop."""

    @abc.abstractmethod
    def report(self, record: Record) -> None:
        """Have the collectors take a record; from any thread."""

    @abc.abstractmethod
    def trace(self, unit: str, request: TraceRequest) -> str:
        """Report the packets of a unit for a while; for the thread of `run`, see `ask`."""

    @abc.abstractmethod
    def answer_status(self, *, ending: bool) -> AgentStatus | Later[AgentStatus]:
        """Tell everything that is counted."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Make `run` end; may be called from signal handlers and other threads."""

    def reload(self) -> None:
        """Make `run` reopen the outputs and read its files again; for signal handlers, too."""
        self._reload_asked = True
        self._wake()

    def ask(self, job: Callable[[], ResultT]) -> Future[ResultT]:
        """Have `run` do something between two turns, when no packet is half judged."""
        future = self._jobs.post(job)
        self._wake()
        return future

    def ask_unit(self, job: Callable[[], ResultT], context: str = "") -> Future[ResultT]:
        """Have `run` tell `units` something.

        Args:
            job: Tells it.
            context: Whom it is about.

        Returns:
            What the job gives, once all packets are judged by it; or why the unit cannot be
            policed.
        """
        future: Future[ResultT] = Future()
        self.ask(lambda: self._keeper.tell(job, future, context))
        return future

    def ask_reload(self) -> Future[ReloadResult]:
        """Make `run` reload, and give what comes of it.

        Files are read and compiled beside the packets.

        Returns:
            The result, or a `ConfigError` with all mistakes: then all is as it was before.
        """
        future: Future[ReloadResult] = Future()
        self.ask(lambda: self._begin_reload(future))
        return future

    def ask_observe(self, asked: bool | None, uid: int = -1) -> Future[ObserveResult]:  # noqa: FBT001  None is the third
        """Make `run` only observe what the policy rejects, or enforce it.

        Args:
            asked: Whether only to observe; None for what the configuration and the policy say.
            uid: Who wants it, for the record of the switch.
        """
        future: Future[ObserveResult] = Future()
        self.ask(lambda: self._keeper.switch(asked, uid, future))
        return future

    def ask_drain(self, deadline_seconds: float) -> None:
        """Make `run` end and deliver what waits until a deadline.

        Args:
            deadline_seconds: Counted from when the last packet was judged.
        """
        self._close_seconds = deadline_seconds
        self.stop()

    def policy_in_force(self) -> CompiledPolicy:
        """Give the policy that packets are judged by."""
        return self._keeper.policy
