"""The supervisor: it holds what the kernel gives, and sees to it that somebody works with it."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

import structlog
from msgspec.structs import replace

import trireme_collector
from trireme_collector.errors import DatapathError
from trireme_datapath.agent._control import restart_command
from trireme_datapath.agent._files import AgentFiles
from trireme_datapath.agent._judging_agent import JudgingAgent
from trireme_datapath.agent._report import AgentReport, log_end, warn_of_short_queue
from trireme_datapath.agent._rules import rules_of
from trireme_datapath.kernel.install import KernelRules
from trireme_datapath.policy import compile_policy
from trireme_datapath.processes._collector_messages import Reopen, Report
from trireme_datapath.processes._enforcer_messages import TraceUnit
from trireme_datapath.processes._notify import ServiceNotifier
from trireme_datapath.processes._privileges import Capability, become, keep_only
from trireme_datapath.processes._reload import PolicyChange
from trireme_datapath.processes._restart import PlannedRestart
from trireme_datapath.processes._state import SupervisorState
from trireme_datapath.processes._supervisor_status import SupervisorStatus
from trireme_datapath.processes._tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.config import LoadedConfiguration
    from trireme_collector.control import AgentStatus, Later, ReloadResult, RestartResult
    from trireme_collector.records import Record
    from trireme_datapath.agent.config import AgentConfiguration
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.tracing import TraceRequest

__all__ = ["Supervisor"]

_KERNEL_TABLE: Final = "queues"  # as the unit for systemd calls it
_START_SECONDS: Final = 90.0
_RELEASE_SECONDS: Final = 5.0
_AFTER_DEADLINE_SECONDS: Final = 12.0
_OURS: Final = (Capability.NET_ADMIN, Capability.NET_RAW)  # the legacy iptables wants the second


class Supervisor(JudgingAgent):
    """Runs an agent as a tree of processes; used like `trireme_datapath.agent.Agent`.

    ::

        supervisor = Supervisor(load_agent_config("agent.toml"))
        supervisor.start()
        report = supervisor.run()  # until `stop` is called, by a signal handler for example

    It wants the main thread of a process of its own: `start` gives up every privilege of it but
    CAP_NET_ADMIN and CAP_NET_RAW, for good.

    Args:
        config: The configuration.
        remove_rules: Remove the rules at the end, whatever the configuration says.
        log: How children log: ``json`` or ``text``, and ``color`` or ``plain``.
        whole_program: Whether this process is nothing but the supervisor, as that of
            ``trireme-collector run`` is. Then a planned restart ends with the program as it is
            installed now in its place; otherwise only the children are exchanged.
        state: What the program of before left, if this one takes its place.

    Attributes:
        tree: What it holds, while it runs.
        units: What becomes of processing units; for the thread of `run`, see `ask_unit`.
        users: Which users are seen; likewise, see `ask`.

    Raises:
        ConfigError: The policy cannot be read, or has mistakes.
    """

    def __init__(
        self,
        config: LoadedConfiguration[AgentConfiguration],
        *,
        remove_rules: bool = False,
        log: tuple[str, str] = ("text", "plain"),
        whole_program: bool = False,
        state: SupervisorState | None = None,
    ) -> None:
        """Read the policy; open and start nothing."""
        self._files = files = AgentFiles(config)
        if state is None:
            policy = files.load_policy()
        else:
            policy = compile_policy(state.policy, state.told)
            files.observe = state.observe
        super().__init__(
            config,
            files,
            policy,
            self._rules_of,
            self.report,
            remove_rules=remove_rules,
            found=None if state is None else state.found,
        )
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.supervisor")
        self._log_words = log
        self._state = state
        self._remove_rules_asked = remove_rules
        # What the service manager set up is for the whole program, not for a part of another.
        environment = os.environ if whole_program else {}
        self._notifier = ServiceNotifier(environment if state is None else dict(state.notifier))
        self.tree: Tree | None = None
        self._stopping = False
        self._restart = PlannedRestart(self, files, log, whole_program=whole_program)
        for change in (self._keeper, self._restart):
            change.begins = self._notifier.reloading
            change.ended = lambda: self._notifier.ready(self._sentence())
        if state is not None:
            self._keeper.since_ns, self._keeper.refused = state.policy_since_ns, state.refused
            self.units.adopt(policy.policy, state.units)
        self._status = SupervisorStatus(config.settings.instance, self._keeper, self._rules)
        self.commands.add(restart_command(self.ask_restart))

    @property
    def policy(self) -> CompiledPolicy:
        """The policy in force."""
        return self._keeper.policy

    def start(self) -> Self:
        """Open the queues, start every process, and put the rules in place.

        Raises:
            ConfigError: An output, the control socket or the address of the metrics cannot be used.
            DatapathError: The queue or the rules are refused; the subclass says why.
        """
        if self._state is not None:
            return self._resume(self._state)
        user = self._config.settings.processes.user
        try:
            self._control.open()
            self.tree = tree = Tree(
                self._config,
                self.policy,
                self._log_words,
                statistics=self._notifier.passed(_KERNEL_TABLE),
            )
            tree.turned = self._turned
            tree.ledger.others = self._status.health
            if user:
                become(user, _OURS)
            keep_only(_OURS, inherit=True)
            tree.begin(_START_SECONDS)
            capacity = min(queue.capacity for post in tree.posts for queue in post.queues)
            warn_of_short_queue(self._log, capacity, self._settings.queue_length)
            self._rules.install()
        except BaseException:
            self._control.close()
            if self.tree is not None:
                self.tree.keeper.stop(0)
                self.tree.close()
                self.tree = None
            raise
        self._control.start()
        self._rules.watch.start()
        tree.keeper.feed(tree.ledger.feed())
        self._keeper.begin()
        processes = self._config.settings.processes
        self._log.info(
            "agent_started",
            instance=self._config.settings.instance,
            queue=self._settings.queue,
            workers=processes.workers,
            policy=self._settings.policy,
            policy_revision=self.policy.revision,
            rules="installed" if self._settings.rules.install else "not ours",
        )
        self._notifier.ready(self._sentence())
        return self

    def _resume(self, state: SupervisorState) -> Self:
        """Go on with everything that the program of before held."""
        keep_only(_OURS, inherit=True)
        self.tree = tree = Tree(self._config, self.policy, self._log_words, state)
        tree.turned = self._turned
        tree.ledger.others = self._status.health
        if tree.told(self.policy) != state.setup:
            tree.staff.exchange_all()
        self._control.resume(state.control)
        self._control.start()
        self._rules.watch.start()
        self._log.info("program_exchanged", version=trireme_collector.__version__)
        self._notifier.ready(self._sentence())
        return self

    def stop(self) -> None:
        """Make `run` end; may be called from signal handlers and other threads."""
        self._stopping = True
        self._wake()

    def restart(self) -> None:
        """Make `run` exchange every process, without a loss; for signal handlers, too."""
        self._restart.asked = True
        self._wake()

    def run(self) -> AgentReport:
        """Watch over the processes until `stop`.

        Returns:
            What was done.

        Raises:
            DatapathError: No process can be started any more. The rules stay: nothing passes.
        """
        tree = self.tree
        if tree is None:
            raise DatapathError("the supervisor was not started: call start() before run()")
        self._discovery.start()
        try:
            while not self._stopping:
                tree.step()
                self._obey(tree)
        except OSError as error:
            msg = f"no process can be started any more ({error.strerror}); start the agent anew"
            raise DatapathError(msg) from error
        finally:
            report = self._end(tree)
        return report

    # What is asked for by other threads.

    def ask_restart(self) -> Future[RestartResult]:
        """Make `run` exchange every process, and give what comes of it."""
        future: Future[RestartResult] = Future()

        self.ask(lambda: self._restart.ask(future))
        return future

    def report(self, record: Record) -> None:
        """Have the collectors take a record; from any thread."""

        def job() -> None:
            if self.tree is not None:
                self.tree.keeper.send(Report(record=record))

        self.ask(job)

    def trace(self, unit: str, request: TraceRequest) -> str:
        """Have every enforcer report the packets of a unit for a while; for the thread of `run`.

        Args:
            unit: Its id or context.
            request: What is wanted.

        Returns:
            The context of the unit.

        Raises:
            LookupError: The policy in force has no such unit.
        """
        tree = self.tree
        found = None if tree is None else tree.staff.policy.unit(unit)
        if tree is None or found is None:
            raise LookupError(f"no unit has the id or the context {unit!r}")
        tree.staff.trace(TraceUnit(unit=found.id, request=request))
        return found.context_id

    def answer_status(self, *, ending: bool) -> Later[AgentStatus]:
        """Have everybody tell what is counted, and describe it.

        Args:
            ending: Whether the agent was told to end.
        """
        return self._status.later(self.tree, self.ask, ending=ending)

    def _wake(self) -> None:
        tree = self.tree
        if tree is not None:
            tree.reactor.wake()

    # Turning.

    def _turned(self) -> None:
        self._jobs.run()
        self._notifier.turned(time.monotonic_ns())

    def _obey(self, tree: Tree) -> None:
        if self._reload_asked:
            self._reload_asked = False
            self._begin_reload(Future())  # the log tells what comes of it
        elif not self._keeper.is_changing:
            self._restart.step(tree, self._close_seconds, lambda: self._stopping)

    def _begin_reload(self, future: Future[ReloadResult]) -> None:
        if self.tree is not None:
            self.tree.keeper.send(Reopen())
        self._keeper.reload(future)

    def _put_in_force(
        self, policy: CompiledPolicy, done: Callable[[tuple[str, ...]], None]
    ) -> None:
        if self.tree is not None:
            PolicyChange(self.tree, policy, done).begin()

    def _rules_of(self, policy: CompiledPolicy) -> KernelRules:
        rules = rules_of(self._settings, policy).rules
        return KernelRules(replace(rules, queues=self._config.settings.processes.workers))

    # A planned restart.

    def leave(self, control: tuple[int, int] | None) -> SupervisorState:
        """Give what the program that takes our place has to know.

        Args:
            control: The control socket and its lock.
        """
        tree = self.tree
        if tree is None:
            raise DatapathError("the supervisor holds nothing that could be left")
        return SupervisorState(
            config_path=str(self._config.path),
            remove_rules=self._remove_rules_asked,
            log=self._log_words,
            policy=self.policy.policy,
            policy_since_ns=self._keeper.since_ns,
            refused=self._keeper.refused,
            observe=self._files.observe,
            posts=tuple(post.state() for post in tree.posts),
            enforcers=tuple(one.state() for one in tree.staff.all),
            keeper=tree.keeper.state(),
            statistics=tree.statistics,
            control=control,
            notifier=self._notifier.variables(),
            generation=tree.staff.generation,
            setup=tree.told(self.policy),
            units=self.units.known,
            found=self._discovery.owners,
            told=self.policy.told,
            traces=tree.staff.traces,
        )

    def rest(self) -> bool:
        """Answer nobody for now; say whether nobody waits for an answer."""
        return self._control.rest()

    def hand_over(self) -> tuple[int, int] | None:
        """Let go of the control socket, and do nothing beside the loop any more."""
        self._rules.watch.stop()
        return self._control.hand_over()

    def take_back(self, control: tuple[int, int] | None) -> None:
        """Go on after all."""
        self._rules.watch.start()
        self._control.resume(control)
        self._control.start()

    def is_wanted_otherwise(self) -> bool:
        """Tell whether something else is more urgent than another program."""
        asked = self._stopping or self._reload_asked or self._restart.asked
        return asked or self._keeper.is_changing or bool(self._jobs)

    def _sentence(self) -> str:
        workers = self._config.settings.processes.workers
        return f"{workers} judge by policy {self.policy.revision}"

    # The end.

    def _end(self, tree: Tree) -> AgentReport:
        self._keeper.close()
        self._discovery.stop()
        self._control.end()
        self._notifier.stopping("delivers what waits")
        self._notifier.extend(self._close_seconds + _AFTER_DEADLINE_SECONDS + _RELEASE_SECONDS)
        tree.release(_RELEASE_SECONDS)
        in_place = self._rules.leave()
        counters = dict(tree.ledger.counters())
        lost = sum(queue.dropped_full + queue.dropped_socket for queue in tree.ledger.queues())
        tree.keeper.stop(self._close_seconds)
        patience = self._close_seconds + _AFTER_DEADLINE_SECONDS
        tree.wait(lambda: not tree.keeper.running, patience)
        report = AgentReport(
            counters=counters,
            kernel_dropped=lost,
            rules_in_place=in_place,
            shutdown=self._status.last_report(tree),
        )
        self._control.close(report.shutdown, rules_in_place=in_place)
        self.tree = None
        tree.close()
        log_end(self._log, report)
        return report
