"""The supervisor: it holds what the kernel gives, and sees to it that somebody works with it."""

from __future__ import annotations

import os
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from msgspec.structs import replace

import trireme_collector
from trireme_collector.control import ObserveResult, PolicyStatus, ReloadResult, RestartResult
from trireme_collector.errors import DatapathError, TriremeError
from trireme_collector.pipeline import PipelineStatus, ShutdownReport
from trireme_datapath.agent._discovery import Discovery, build_discoverers
from trireme_datapath.agent._files import AgentFiles, SwitchedFiles
from trireme_datapath.agent._lifecycle import add_lifecycle_commands
from trireme_datapath.agent._observing import observe_command, switch_report
from trireme_datapath.agent._pinging import ping_command
from trireme_datapath.agent._report import AgentReport
from trireme_datapath.agent._rule_tracing import trace_rules_command
from trireme_datapath.agent._rule_watch import RuleWatch
from trireme_datapath.agent._rules import rules_of
from trireme_datapath.agent._tracing import trace_command
from trireme_datapath.kernel.install import KernelRules
from trireme_datapath.lifecycle import UnitLifecycle, UserLog
from trireme_datapath.policy import compile_policy
from trireme_datapath.processes._control import TreeControl
from trireme_datapath.processes._exchange import (
    Exchange,
    exec_program,
    probe_program,
    signals_held,
)
from trireme_datapath.processes._messages import Report, TraceUnit
from trireme_datapath.processes._notify import ServiceNotifier
from trireme_datapath.processes._privileges import Capability, become, keep_only
from trireme_datapath.processes._reload import Reload
from trireme_datapath.processes._state import SupervisorState
from trireme_datapath.processes._tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.config import LoadedConfiguration
    from trireme_collector.control import AgentStatus, CommandTable
    from trireme_collector.metrics import HealthCheck
    from trireme_collector.records import Record, TraceReport
    from trireme_datapath.agent._files import Readable
    from trireme_datapath.agent.config import AgentConfiguration
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.processes._ledger import Account
    from trireme_datapath.tracing import TraceRequest

__all__ = ["Supervisor"]

_KERNEL_TABLE: Final = "queues"  # as the unit for systemd calls it
_SECOND_NS: Final = 1_000_000_000
_ANSWER_SECONDS: Final = 5.0
_START_SECONDS: Final = 90.0
_RELEASE_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 5.0
_AFTER_DEADLINE_SECONDS: Final = 12.0
# What was built by these keys outlives a planned restart.
_FIXED: Final = ("control", "datapath.", "processes")
_OURS: Final = (Capability.NET_ADMIN, Capability.NET_RAW)  # the legacy iptables wants the second

ResultT = TypeVar("ResultT")


class Supervisor:
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
        policy: The policy in force.
        tree: What it holds, while it runs.

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
        self._config = config
        self._settings = settings = config.settings.datapath
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.supervisor")
        self._log_words = log
        self.files = AgentFiles(config)
        self._state = state
        self._whole_program = whole_program
        if state is None:
            self.policy = self.files.load_policy()
            self._policy_since_ns = time.time_ns()
            self.refused: tuple[str, ...] = ()
        else:
            self.policy = compile_policy(state.policy)
            self._policy_since_ns, self.refused = state.policy_since_ns, state.refused
            self.files.observe = state.observe
        self._rules = self._rules_of(self.policy)
        self._rule_watch = RuleWatch(
            lambda: self._rules,
            seconds=settings.rules.verify_seconds if settings.rules.install else 0,
            repair=settings.rules.repair,
            report=self.report,
        )
        self._remove_at_stop = remove_rules or settings.rules.remove_at_stop
        self._remove_rules_asked = remove_rules
        # What the service manager set up is for the whole program, not for a part of another.
        environment = os.environ if whole_program else {}
        self._notifier = ServiceNotifier(environment if state is None else dict(state.notifier))
        self._next_alive_ns = 0
        self.tree: Tree | None = None
        self._jobs: deque[Callable[[], None]] = deque()
        self._reload: Reload | None = None
        self._restarts: list[Future[RestartResult]] = []
        self._stopping = False
        self._reload_asked = self._restart_asked = self._exec_asked = False
        self._close_seconds = _CLOSE_SECONDS
        self._control = TreeControl(config.settings.control, self)
        self.commands.add(observe_command(self.ask_observe))
        self.commands.add(trace_command(self.trace, self.ask))
        self.commands.add(ping_command(self._policy_in_force, self.report))
        self.commands.add(trace_rules_command(self.report))
        self.units = UnitLifecycle(self.report)
        self.users = UserLog(self.report)
        add_lifecycle_commands(self.commands, self.units, self.users, self.ask, self.ask)
        discoverers = build_discoverers(config.settings.discovery, config.registry)
        self._discovery = Discovery(discoverers, self.units, self.ask)
        if state is not None:
            self.units.adopt(self.policy.policy)

    @property
    def commands(self) -> CommandTable:
        """What the control socket offers; commands of one's own are added before `start`."""
        return self._control.commands

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
            tree.turned = self._run_jobs
            if user:
                become(user, _OURS)
            keep_only(_OURS, inherit=True)
            tree.begin(_START_SECONDS)
            self._check_capacity(tree)
            if self._settings.rules.install:
                self._rules.install()
            tree.keeper.feed(tree.ledger.feed())
        except BaseException:
            self._control.close()
            if self.tree is not None:
                self.tree.keeper.stop(0)
                self.tree.close()
                self.tree = None
            raise
        self._control.start()
        if self._settings.unit_events:
            self.units.enter_policy(self.policy.policy)
        self._rule_watch.start()
        self._tell_of_switch(switch_report(None, self.policy, self.files.observe))
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
        tree.turned = self._run_jobs
        if tree.told(self.policy.policy) != state.setup:
            tree.staff.exchange_all()
        self._control.resume(state.control)
        self._control.start()
        self._rule_watch.start()
        self._log.info("program_exchanged", version=trireme_collector.__version__)
        self._notifier.ready(self._sentence())
        return self

    def stop(self) -> None:
        """Make `run` end; may be called from signal handlers and other threads."""
        self._stopping = True
        self._wake()

    def reload(self) -> None:
        """Make `run` reopen the outputs and read its files again; for signal handlers, too."""
        self._reload_asked = True
        self._wake()

    def restart(self) -> None:
        """Make `run` exchange every process, without a loss; for signal handlers, too."""
        self._restart_asked = True
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

    def policy_status(self) -> PolicyStatus:
        """Tell which policy is in force, and what was refused since."""
        return PolicyStatus(
            file=str(self.files.policy_file),
            revision=self.policy.revision,
            loaded_ns=self._policy_since_ns,
            refused=self.refused,
            observe_only=self.policy.observe_only,
            observe_by=self.files.observe.by,
        )

    def health(self) -> Iterator[HealthCheck]:
        """Tell what else belongs to the health of the agent."""
        return self._rule_watch.health()

    def empty_records(self) -> PipelineStatus:
        """Tell the account of a pipeline that never said anything."""
        return PipelineStatus(
            instance=self._config.settings.instance,
            epoch=self._policy_since_ns,
            sequence=0,
            flows_received=0,
            flows_merged=0,
            flows_pending=0,
            flows_evicted=0,
            malformed=0,
            collectors=(),
        )

    def ask_status(
        self, describe: Callable[[Account], AgentStatus], patience_seconds: float
    ) -> Future[AgentStatus]:
        """Have everybody tell what is counted, and describe it."""
        future: Future[AgentStatus] = Future()

        def answer(account: Account) -> None:
            if not future.cancelled():
                future.set_result(describe(account))

        def job() -> None:
            if self.tree is not None:
                self.tree.ledger.look(answer, patience_seconds)

        self._post(job)
        return future

    def ask_reload(self) -> Future[ReloadResult]:
        """Make `run` reload, and give what comes of it.

        Returns:
            The result, or a `ConfigError` with all mistakes: then all is as it was before.
        """
        future: Future[ReloadResult] = Future()
        self._post(lambda: self._begin_reload(future))
        return future

    def ask_observe(self, asked: bool | None, uid: int = -1) -> Future[ObserveResult]:  # noqa: FBT001  None is the third
        """Make all enforcers only observe what the policy rejects, or enforce it.

        Args:
            asked: Whether only to observe; None for what the configuration and the policy say.
            uid: Who wants it, for the record of the switch.
        """
        future: Future[ObserveResult] = Future()

        def switched(done: Future[ReloadResult]) -> None:
            error = done.exception()
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
                return
            future.set_result(
                ObserveResult(
                    observe_only=self.policy.observe_only,
                    observe_by=self.files.observe.by,
                    revision_before=done.result().revision_before,
                    revision=done.result().revision,
                )
            )

        inner: Future[ReloadResult] = Future()
        inner.add_done_callback(switched)
        self._post(
            lambda: self._begin_reload(
                inner, lambda: SwitchedFiles(self.files, self.policy, asked, uid)
            )
        )
        return future

    def ask(self, job: Callable[[], ResultT]) -> Future[ResultT]:
        """Have `run` do something."""
        future: Future[ResultT] = Future()

        def do() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(job())
            except Exception as error:  # noqa: BLE001  carried to the thread that asked
                future.set_exception(error)

        self._post(do)
        return future

    def report(self, record: Record) -> None:
        """Have the collectors take a record; from any thread."""

        def job() -> None:
            if self.tree is not None:
                self.tree.keeper.send(Report(record=record))

        self._post(job)

    def _policy_in_force(self) -> CompiledPolicy:
        tree = self.tree
        return self.policy if tree is None else tree.staff.policy

    def trace(self, unit: str, request: TraceRequest) -> str:
        """Have every enforcer report the packets of a unit for a while.

        Raises:
            LookupError: The policy in force has no such unit.
        """
        tree = self.tree
        units = () if tree is None else tree.staff.policy.policy.units
        found = next((one for one in units if unit in {one.id, one.context_id}), None)
        if tree is None or found is None:
            raise LookupError(f"no unit has the id or the context {unit!r}")
        for one in tree.staff.all:
            one.child.send(TraceUnit(unit=found.id, request=request))
        return found.context_id

    def ask_restart(self) -> Future[RestartResult]:
        """Make `run` exchange every process, and give what comes of it."""
        future: Future[RestartResult] = Future()

        def job() -> None:
            self._restarts.append(future)
            self._restart_asked = True

        self._post(job)
        return future

    def ask_drain(self, deadline_seconds: float) -> None:
        """Make `run` end and deliver what waits until a deadline.

        Args:
            deadline_seconds: Counted from when the last packet was judged.
        """
        self._close_seconds = deadline_seconds
        self.stop()

    def _post(self, job: Callable[[], None]) -> None:
        self._jobs.append(job)
        self._wake()

    def _wake(self) -> None:
        tree = self.tree
        if tree is not None:
            tree.reactor.wake()

    def _run_jobs(self) -> None:
        for _ in range(len(self._jobs)):
            self._jobs.popleft()()
        self._keep_alive()

    def _keep_alive(self) -> None:
        seconds, now_ns = self._notifier.watchdog_seconds, time.monotonic_ns()
        if seconds and now_ns >= self._next_alive_ns:
            self._next_alive_ns = now_ns + round(seconds * _SECOND_NS)
            self._notifier.alive()

    # Turning.

    def _obey(self, tree: Tree) -> None:
        if self._reload_asked:
            self._reload_asked = False
            self._begin_reload(Future())
        if self._restart_asked and self._reload is None:
            self._restart_asked = False
            self._exec_asked = self._exchange(tree)
        if self._exec_asked and self._reload is None and not self._jobs:
            self._exec_asked = False
            self._give_place(tree)

    def _begin_reload(
        self, future: Future[ReloadResult], files: Callable[[], Readable] | None = None
    ) -> None:
        tree = self.tree
        if tree is None or self._stopping:
            future.set_exception(DatapathError("the agent ends: start it anew instead"))
            return
        if self._reload is not None:
            self._reload.follow(lambda: self._begin_reload(future, files))
            return
        self._notifier.reloading()
        source = self.files if files is None else files()
        self._reload = Reload(tree, source, self.policy, future, self._reloaded)
        self._reload.begin()

    def _reloaded(self, policy: CompiledPolicy | None, refused: tuple[str, ...]) -> None:
        """Take over what came of a reload.

        Args:
            policy: The policy that is in force now, None if it is the one of before.
            refused: What was wrong.
        """
        ended, self._reload = self._reload, None
        self.refused = refused
        for problem in refused:
            self._log.error("policy_refused", problem=problem)
        if refused:
            self._log.error("policy_kept", policy_revision=self.policy.revision)
        if policy is not None:
            self._tell_of_switch(switch_report(self.policy, policy, self.files.observe))
            self.policy = policy
            self._policy_since_ns = time.time_ns()
            self._renew_rules(policy)
            if self._settings.unit_events:
                self.units.enter_policy(policy.policy)
        self._notifier.ready(self._sentence())
        if ended is not None:
            ended.next()

    def _tell_of_switch(self, report: TraceReport | None) -> None:
        if report is not None:
            self._log.warning("observe_switched", line=report.lines[0])
            self.report(report)

    def _renew_rules(self, policy: CompiledPolicy) -> None:
        """Put the rules in place again: those that mark control groups come from the policy."""
        if not self._settings.rules.install:
            return
        rules = self._rules_of(policy)
        with self._rule_watch.lock:
            try:
                rules.install()
            except TriremeError as error:
                self._log.error("rules_not_renewed", error=str(error))
                return
            self._rules = rules

    def _rules_of(self, policy: CompiledPolicy) -> KernelRules:
        rules = rules_of(self._settings, policy).rules
        return KernelRules(replace(rules, queues=self._config.settings.processes.workers))

    def _exchange(self, tree: Tree) -> bool:
        """Exchange every child: first those that judge, one by one, then the collectors.

        Returns:
            Whether the supervisor itself may give its place to the program as it is now.
        """
        futures, self._restarts = self._restarts, []
        self._log.info("restart_begins")
        try:
            changed = self.files.read_again().restart_needed
        except TriremeError as error:
            self._log.error("restart_refused", reason=str(error))
            for future in futures:
                future.set_exception(error)
            return False
        self._notifier.reloading()
        result = Exchange(tree, self._close_seconds, lambda: self._stopping).run()
        for future in futures:
            if isinstance(result, RestartResult):
                future.set_result(result)
            else:
                future.set_exception(result)
        self._notifier.ready(self._sentence())
        fixed = [key for key in changed if key.startswith(_FIXED)]
        if fixed:
            self._log.warning("restart_incomplete", keys=fixed, remedy="stop it and start it anew")
        done = isinstance(result, RestartResult) and not fixed and not self._stopping
        return done and self._whole_program

    def _give_place(self, tree: Tree) -> None:
        """Run the program as it is installed now in our place; the children notice nothing."""
        problem = probe_program(self._leave(tree, None))
        if problem:
            self._log.error("program_kept", reason=problem)
            return
        tree.wait(lambda: not tree.gatherings.any_open, _ANSWER_SECONDS)
        self._rule_watch.stop()
        held = self._control.hand_over()
        with signals_held():
            if not (self._stopping or self._reload_asked):
                try:
                    exec_program(self._leave(tree, held), self._log_words)
                except OSError as error:
                    self._log.error("program_kept", reason=str(error))
            # Still here: something else came first, or it is impossible. Threads that begin here
            # get no signal, like all others: the next program must not miss one.
            self._rule_watch.start()
            self._control.resume(held)
            self._control.start()

    def _leave(self, tree: Tree, control: tuple[int, int] | None) -> SupervisorState:
        return SupervisorState(
            config_path=str(self._config.path),
            remove_rules=self._remove_rules_asked,
            log=self._log_words,
            policy=self.policy.policy,
            policy_since_ns=self._policy_since_ns,
            refused=self.refused,
            observe=self.files.observe,
            posts=tuple(post.state() for post in tree.posts),
            enforcers=tuple(one.state() for one in tree.staff.all),
            keeper=tree.keeper.state(),
            statistics=tree.statistics,
            control=control,
            notifier=self._notifier.variables(),
            generation=tree.staff.generation,
            setup=tree.told(self.policy.policy),
        )

    def _check_capacity(self, tree: Tree) -> None:
        asked = self._settings.queue_length
        capacity = min(queue.capacity for post in tree.posts for queue in post.queues)
        if capacity < asked:
            self._log.warning(
                "queue_shorter_than_configured",
                packets=capacity,
                configured=asked,
                remedy="set a smaller queue_length, or raise the sysctl net.core.rmem_max",
            )

    def _sentence(self) -> str:
        workers = self._config.settings.processes.workers
        return f"{workers} judge by policy {self.policy.revision}"

    # The end.

    def _end(self, tree: Tree) -> AgentReport:
        self._rule_watch.stop()
        self._discovery.stop()
        self._control.end()
        self._notifier.stopping("delivers what waits")
        self._notifier.extend(self._close_seconds + _AFTER_DEADLINE_SECONDS + _RELEASE_SECONDS)
        tree.staff.release_all(drain=True)
        tree.wait(lambda: not tree.staff.all, _RELEASE_SECONDS)
        tree.staff.kill_all()
        tree.wait(lambda: not tree.staff.all, 1.0)
        in_place = self._settings.rules.install
        if in_place and self._remove_at_stop:
            in_place = not self._remove_rules()
        counters = dict(tree.ledger.counters())
        lost = sum(queue.dropped_full + queue.dropped_socket for queue in tree.ledger.queues())
        tree.keeper.stop(self._close_seconds)
        patience = self._close_seconds + _AFTER_DEADLINE_SECONDS
        tree.wait(lambda: not tree.keeper.running, patience)
        report = AgentReport(
            counters=counters,
            kernel_dropped=lost,
            rules_in_place=in_place,
            shutdown=tree.keeper.report or self._no_report(tree),
        )
        self._control.close(report.shutdown, rules_in_place=in_place)
        self.tree = None
        tree.close()
        self._log.info(
            "agent_stopped",
            packets=counters.get("packets", 0),
            flows_accepted=counters.get("flows_accepted", 0),
            flows_rejected=counters.get("flows_rejected", 0),
            kernel_dropped=lost,
            records_undelivered=report.shutdown.undelivered,
            rules="in place: their packets are dropped until an agent runs" if in_place else "none",
        )
        return report

    def _no_report(self, tree: Tree) -> ShutdownReport:
        """Say what is known when the process of the collectors did not end as it should."""
        status = tree.keeper.last or self.empty_records()
        names = tuple(account.name for account in status.collectors)
        waiting = tree.ledger.crossing().waiting
        return ShutdownReport(
            complete=False, undelivered=waiting, spooled=0, stuck=names, status=status
        )

    def _remove_rules(self) -> bool:
        try:
            self._rules.remove()
        except TriremeError as error:
            self._log.error("rules_not_removed", error=str(error))
            return False
        return True
