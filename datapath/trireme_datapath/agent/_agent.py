"""The agent in one process and one thread for packets: backend, engine and pipeline."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from trireme_collector.control import AgentStatus, Later, ReloadResult
from trireme_collector.errors import DatapathError
from trireme_datapath.agent._accounting import AgentAccounting
from trireme_datapath.agent._accounting import open_tracker as _open_tracker
from trireme_datapath.agent._engine import build_engine
from trireme_datapath.agent._files import AgentFiles
from trireme_datapath.agent._judging_agent import JudgingAgent
from trireme_datapath.agent._outputs import start_outputs
from trireme_datapath.agent._parts import held_queue
from trireme_datapath.agent._parts import open_backend as _open_backend
from trireme_datapath.agent._privilege_check import PrivilegeCheck
from trireme_datapath.agent._publisher import Publisher
from trireme_datapath.agent._report import AgentReport, log_end, warn_of_short_queue
from trireme_datapath.agent._rules import rules_of
from trireme_datapath.agent._services import AgentServices
from trireme_datapath.agent._status import describe, observe_health, packet_status
from trireme_datapath.agent._watch import AgentWatch
from trireme_datapath.backends.netlink import NetlinkBackend
from trireme_datapath.counters import queue_totals
from trireme_datapath.loop import DatapathLoop, dispatch
from trireme_datapath.recorder.queue_feed import QueueFeed

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.config import LoadedConfiguration
    from trireme_collector.control import PacketStatus
    from trireme_collector.pipeline import Pipeline
    from trireme_collector.records import Record
    from trireme_datapath.agent._accounting import OpenTracker
    from trireme_datapath.agent._parts import OpenBackend, PacketBackend, Rules
    from trireme_datapath.agent.config import AgentConfiguration
    from trireme_datapath.policy import CompiledPolicy
    from trireme_datapath.tracing import TraceRequest

__all__ = ["Agent"]

_STATUS_SECONDS: Final = 2.0  # a loop that does not turn meanwhile is shown as it is


class Agent(JudgingAgent):
    """Judges the packets of one queue and reports to the collectors of a configuration.

    ::

        agent = Agent(load_agent_config("agent.toml"))
        agent.start()
        report = agent.run()       # until `stop` is called, by a signal handler for example

    Nothing is opened before `start`. It opens the outputs first, then the queue, and puts the
    rules in place last: whatever fails on the way, the host's traffic is as it was. From then on
    a packet of the rules is judged or, without an agent, dropped by the kernel. `run` leaves the
    rules in place at its end unless the configuration says otherwise.

    Args:
        config: The configuration.
        open_backend: Opens the queue.
        rules: The kernel rules to use instead of those of the configuration.
        remove_rules: Remove the rules at the end, whatever the configuration says.
        open_tracker: Follows the connections of the kernel; the default does so for the backends
            of the configuration only.

    Attributes:
        pipeline: Where records go.
        engine: Who judges.
        units: What becomes of processing units; for the thread of `run`, see `ask`.
        users: Which users are seen; likewise.

    Raises:
        ConfigError: The policy cannot be read, or has mistakes.
        MissingExtraError: Metrics are configured, and their package is not installed.
        PluginError: A collector cannot be built.
    """

    def __init__(
        self,
        config: LoadedConfiguration[AgentConfiguration],
        *,
        open_backend: OpenBackend = _open_backend,
        rules: Rules | None = None,
        remove_rules: bool = False,
        open_tracker: OpenTracker | None = None,
    ) -> None:
        """Read the policy and build every part; open nothing."""
        settings = config.settings.datapath
        files = AgentFiles(config)
        policy = files.load_policy()
        super().__init__(
            config,
            files,
            policy,
            lambda policy: rules_of(settings, policy) if rules is None else rules,
            self._hand_on,
            remove_rules=remove_rules,
        )
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.agent")
        self._open_backend = open_backend
        # The kernel of this host knows nothing about the packets of somebody else's backend.
        if open_tracker is None and open_backend is _open_backend:
            open_tracker = _open_tracker
        self._open_tracker = open_tracker
        self.engine = build_engine(settings, policy, self._queue_totals)
        self.pipeline: Pipeline = config.pipeline()
        self._services = AgentServices(
            config.settings.observer, node_name=self.pipeline.instance, resolve=config.resolve
        )
        self._watch = AgentWatch(
            config.settings.metrics, self.pipeline, self.engine, sources=(self._services,)
        )
        self._watch.others.append(self._rules.watch.health)
        self._privileges = PrivilegeCheck()
        if open_backend is _open_backend:
            self._watch.others.append(self._privileges.health)
        self._backend: PacketBackend | None = None
        self._accounting: AgentAccounting | None = None
        self._datapath: DatapathLoop | None = None
        self._watch.others.append(lambda: [observe_health(self._keeper.status())])
        self._publisher = Publisher(config.settings.publish, config.resolve)
        recorder = config.settings.recorder
        self._feed = QueueFeed(recorder.packets_socket, recorder.group, rule_of=self.engine.rule_of)

    def start(self) -> Self:
        """Open the outputs and the queue, and put the rules in place.

        Raises:
            ConfigError: The address of the metrics or the control socket cannot be used.
            OutputError: A collector cannot open its output.
            PluginError: A collector raised something that it may not raise.
            DatapathError: The queue or the rules are refused; the subclass says why.
        """
        start_outputs(self.pipeline)
        try:
            self._watch.open()
            self._control.open()
            self._publisher.open()
            self._services.open()
            self._feed.open()
            self._backend = self._open_backend(self._settings, self.engine)
            self._feed.watch(self._backend)
            if isinstance(self._backend, NetlinkBackend):
                asked = self._settings.queue_length
                warn_of_short_queue(self._log, self._backend.queue.capacity, asked)
            self._follow_connections(self._backend)
            self._rules.install()
        except BaseException:
            self._feed.close()
            self._services.close()
            self._publisher.close()
            self._control.close()
            self._watch.close()
            self._close_backend()
            self.pipeline.close(0)
            raise
        collector = self._services.before(self._publisher.before(self.pipeline))
        source = self._accounting or self.engine
        self._datapath = DatapathLoop(
            self._backend, source, collector, clock_set=self.engine.shift_clock
        )
        self._watch.start(self._backend)
        self._rules.watch.start()
        self._control.start()
        self._log.info(
            "agent_started",
            instance=self.pipeline.instance,
            queue=self._settings.queue,
            backend=self._settings.backend.value,
            policy=self._settings.policy,
            policy_revision=self.engine.policy.revision,
            rules="installed" if self._settings.rules.install else "not ours",
        )
        return self

    def _follow_connections(self, backend: PacketBackend) -> None:
        if self._open_tracker is None:
            return
        tracker = self._open_tracker(self._settings, self.engine)
        if tracker is not None:
            self._backend = self._accounting = AgentAccounting(backend, tracker, self.engine)

    def stop(self) -> None:
        """Make `run` end; may be called from signal handlers and other threads."""
        if self._datapath is not None:
            self._datapath.stop()

    def _wake(self) -> None:
        if self._datapath is not None:
            self._datapath.wake()

    # What is asked for by other threads.

    def _begin_reload(self, future: Future[ReloadResult]) -> None:
        self.pipeline.reopen()
        self._keeper.reload(future)

    def report(self, record: Record) -> None:
        """Have `run` hand a record to the collectors; from any thread."""
        self.ask(lambda: self._hand_on(record))

    def _hand_on(self, record: Record) -> None:
        dispatch(self.pipeline, record)

    def trace(self, unit: str, request: TraceRequest) -> str:
        """Report the packets of a unit for a while; for the thread of `run`, see `ask`.

        Args:
            unit: Its id or context.
            request: What is wanted.

        Returns:
            The context of the unit.

        Raises:
            LookupError: There is no such unit.
        """
        return self.engine.trace(unit, request)

    def answer_status(self, *, ending: bool) -> AgentStatus | Later[AgentStatus]:
        """Tell everything that is counted, at one moment if the loop turns.

        Args:
            ending: Whether the agent was told to end.
        """

        def described(packets: PacketStatus) -> AgentStatus:
            return describe(
                ending=ending,
                checks=self._watch.health(),
                policy=self._keeper.status(),
                packets=packets,
                records=self.pipeline.status(),
            )

        if ending:
            return described(self._look())
        return Later(
            self.ask(self._look),
            described,
            patience_seconds=_STATUS_SECONDS,
            otherwise=lambda: described(msgspec.structs.replace(self._look(), exact=False)),
        )

    def _look(self) -> PacketStatus:
        """Read the counters of the engine and of the kernel at one moment."""
        counters = dict(self.engine.counters)
        queue = held_queue(self._settings.queue, self._backend, counters.get("packets", 0))
        return packet_status(counters, queue)

    def _queue_totals(self) -> dict[str, int]:
        statistics = None if self._backend is None else self._backend.statistics()
        return queue_totals(statistics, self.engine.counters["packets"])

    # The loop.

    def run(self) -> AgentReport:
        """Judge packets until `stop`.

        Returns:
            What was done.

        Raises:
            DatapathError: The queue is of no use any more. The rules stay: nothing passes.
        """
        if self._backend is None:
            raise DatapathError("the agent was not started: call start() before run()")
        self._keeper.begin()
        self._discovery.start()
        try:
            self._loop(self._backend)
        except OSError as error:
            msg = (
                f"queue {self._settings.queue} is lost ({error.strerror}); its packets are dropped"
                " until an agent runs again: start it anew"
            )
            raise DatapathError(msg) from error
        finally:
            report = self._end()
        return report

    def _loop(self, backend: PacketBackend) -> None:
        if self._datapath is None:
            return
        self._privileges.watch_this_thread()
        self._datapath.run(until=self._obey)
        self._jobs.run()
        # What waits was sent by somebody: it is judged once more before the queue goes.
        for record in backend.drain(time.time_ns()):
            dispatch(self.pipeline, record)
        if self._accounting is not None:
            for record in self._accounting.last_list():
                dispatch(self.pipeline, record)
        for record in self.engine.take_last_records(time.time_ns()):
            dispatch(self.pipeline, record)

    def _obey(self) -> bool:
        """Do what was asked for; the loop calls this after each turn and never ends by it."""
        self._watch.turn()
        self._publisher.turn()
        self._feed.turn()
        if self._reload_asked:
            self._reload_asked = False
            self._begin_reload(Future())  # the log tells what comes of it
        if self._jobs:
            self._jobs.run()
        return False

    def _put_in_force(
        self, policy: CompiledPolicy, done: Callable[[tuple[str, ...]], None]
    ) -> None:
        self.engine.replace_policy(policy)
        if self._accounting is not None:
            self._accounting.revoke(time.time_ns())
        done(())

    def _end(self) -> AgentReport:
        self._keeper.close()
        self._discovery.stop()
        self._control.end()
        self._feed.close()
        self._services.close()
        self._publisher.close()
        self._watch.close()
        in_place = self._rules.leave()
        backend = self._backend
        statistics = None if backend is None else backend.statistics()
        lost = 0 if statistics is None else statistics.dropped + statistics.user_dropped
        self._close_backend()
        report = AgentReport(
            counters=dict(self.engine.counters),
            kernel_dropped=lost,
            rules_in_place=in_place,
            shutdown=self.pipeline.close(self._close_seconds),
        )
        self._control.close(report.shutdown, rules_in_place=in_place)
        log_end(self._log, report)
        if self._datapath is not None:
            self._datapath.close()
            self._datapath = None
        return report

    def _close_backend(self) -> None:
        if self._backend is not None:
            self._backend.close()
            self._backend = None
