"""The agent in one process and one thread for packets: backend, engine and pipeline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from trireme_collector.errors import ConfigError, DatapathError, DeliveryError, TriremeError
from trireme_collector.exit_codes import ExitCode
from trireme_collector.filters import DROPPED_FILTERED, DROPPED_SAMPLED
from trireme_collector.pipeline import (
    ShutdownReport,  # noqa: TC001  msgspec reads the annotation at run time
)
from trireme_datapath.agent._parts import open_backend
from trireme_datapath.agent._rules import rules_of
from trireme_datapath.agent._watch import AgentWatch
from trireme_datapath.backends.netlink import NetlinkBackend
from trireme_datapath.engine import Engine
from trireme_datapath.loop import DatapathLoop, dispatch
from trireme_datapath.policy import compile_policy, load_policy

if TYPE_CHECKING:
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.config import LoadedConfiguration
    from trireme_collector.pipeline import Pipeline
    from trireme_datapath.agent._parts import OpenBackend, PacketBackend, Rules
    from trireme_datapath.agent.config import AgentConfiguration
    from trireme_datapath.policy import CompiledPolicy

__all__ = ["Agent", "AgentReport", "OutputError"]

_CLOSE_SECONDS: Final = 5.0


class OutputError(ConfigError):
    """A collector cannot open what it writes to."""

    exit_code = ExitCode.OUTPUT


class AgentReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent did from its start to its end.

    Attributes:
        counters: The counters of the engine.
        kernel_dropped: Packets that the kernel dropped because the queue or its socket was full.
        rules_in_place: Whether the rules that queue packets were left behind.
        shutdown: What became of the records.
    """

    counters: dict[str, int]
    kernel_dropped: int
    rules_in_place: bool
    shutdown: ShutdownReport

    def summary(self) -> str:
        """Say it in one line."""
        accounts = self.shutdown.status.collectors
        delivered = ", ".join(
            f"{account.name} {account.delivered} of {account.accepted}" for account in accounts
        )
        left_out = sum(
            account.dropped_by_reason.get(reason, 0)
            for account in accounts
            for reason in (DROPPED_FILTERED, DROPPED_SAMPLED)
        )
        lost = sum(account.dropped for account in accounts) - left_out
        kept = sum(account.dead_lettered for account in accounts)
        return (
            f"{self.counters.get('packets', 0)} packets judged,"
            f" {self.counters.get('flows_accepted', 0)} flows accepted,"
            f" {self.counters.get('flows_rejected', 0)} rejected,"
            f" {self.kernel_dropped} packets dropped by the kernel;"
            f" records delivered: {delivered or 'none'};"
            f" dropped: {lost}, undelivered: {self.shutdown.undelivered}"
            + (f", dead letters: {kept}" if kept else "")
            + (f", left out by filters: {left_out}" if left_out else "")
        )


class Agent:
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

    Attributes:
        pipeline: Where records go.
        engine: Who judges.

    Raises:
        ConfigError: The policy cannot be read, or has mistakes.
        MissingExtraError: Metrics are configured, and their package is not installed.
        PluginError: A collector cannot be built.
    """

    def __init__(
        self,
        config: LoadedConfiguration[AgentConfiguration],
        *,
        open_backend: OpenBackend = open_backend,
        rules: Rules | None = None,
        remove_rules: bool = False,
    ) -> None:
        """Read the policy and build every part; open nothing."""
        self._config = config
        self._settings = settings = config.settings.datapath
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.agent")
        self._open_backend = open_backend
        policy = self._load_policy()
        self.engine = Engine(
            policy,
            settings.limits,
            refuse_mark=settings.refuse_mark if settings.refuse else None,
        )
        self.pipeline: Pipeline = config.pipeline()
        self._watch = AgentWatch(config.settings.metrics, self.pipeline, self.engine)
        self._own_rules = rules is None
        self._rules: Rules = rules_of(settings, policy) if rules is None else rules
        self._remove_at_stop = remove_rules or settings.rules.remove_at_stop
        self._backend: PacketBackend | None = None
        self._datapath: DatapathLoop | None = None
        self._reload_asked = False

    def _load_policy(self) -> CompiledPolicy:
        return compile_policy(load_policy(self._config.resolve(self._settings.policy)))

    def start(self) -> Self:
        """Open the outputs and the queue, and put the rules in place.

        Raises:
            ConfigError: The address of the metrics is in use, or not allowed.
        OutputError: A collector cannot open its output.
            PluginError: A collector raised something that it may not raise.
            DatapathError: The queue or the rules are refused; the subclass says why.
        """
        try:
            self.pipeline.start()
        except (ConfigError, DeliveryError) as error:
            raise OutputError(str(error)) from error
        try:
            self._watch.open()
            self._backend = self._open_backend(self._settings, self.engine)
            if self._settings.rules.install:
                self._rules.install()
        except BaseException:
            self._watch.close()
            self._close_backend()
            self.pipeline.close(0)
            raise
        self._datapath = DatapathLoop(self._backend, self.engine, self.pipeline)
        self._watch.start(self._backend)
        self._check_capacity(self._backend)
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

    def _check_capacity(self, backend: PacketBackend) -> None:
        if isinstance(backend, NetlinkBackend):
            capacity, asked = backend.queue.capacity, self._settings.queue_length
            if capacity < asked:
                self._log.warning(
                    "queue_shorter_than_configured",
                    packets=capacity,
                    configured=asked,
                    remedy="set a smaller queue_length, or raise the sysctl net.core.rmem_max",
                )

    def stop(self) -> None:
        """Make `run` end; may be called from signal handlers and other threads."""
        if self._datapath is not None:
            self._datapath.stop()

    def reload(self) -> None:
        """Make `run` reopen the outputs and read the policy again, within a second."""
        self._reload_asked = True

    def run(self) -> AgentReport:
        """Judge packets until `stop`.

        Returns:
            What was done.

        Raises:
            DatapathError: The queue is of no use any more. The rules stay: nothing passes.
        """
        if self._backend is None:
            raise DatapathError("the agent was not started: call start() before run()")
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
        self._datapath.run(until=self._obey)
        # What waits was sent by somebody: it is judged once more before the queue goes.
        for record in backend.drain(time.time_ns()):
            dispatch(self.pipeline, record)
        for record in self.engine.take_records(time.time_ns()):
            dispatch(self.pipeline, record)

    def _obey(self) -> bool:
        """Reload if it was asked for; the loop calls this after each turn and never ends by it."""
        self._watch.turn()
        if self._reload_asked:
            self._reload_asked = False
            self._reload()
        return False

    def _reload(self) -> None:
        self.pipeline.reopen()
        before = self.engine.policy.revision
        try:
            policy = self._load_policy()
        except TriremeError as error:
            problems = getattr(error, "problems", ()) or (str(error),)
            for problem in problems:
                self._log.error("policy_refused", problem=problem)
            self._log.error("policy_kept", policy_revision=before)
            return
        if policy.revision != before:
            self.engine.replace_policy(policy)
            self._renew_rules(policy)
        self._log.info("reloaded", policy_revision=policy.revision, policy_revision_before=before)

    def _renew_rules(self, policy: CompiledPolicy) -> None:
        """Put the rules in place again: those that mark control groups come from the policy."""
        if not (self._settings.rules.install and self._own_rules):
            return
        rules = rules_of(self._settings, policy)
        try:
            rules.install()
        except TriremeError as error:
            self._log.error("rules_not_renewed", error=str(error))
            return
        self._rules = rules

    def _end(self) -> AgentReport:
        self._watch.close()
        in_place = self._settings.rules.install
        if in_place and self._remove_at_stop:
            in_place = not self._remove_rules()
        backend = self._backend
        statistics = None if backend is None else backend.statistics()
        lost = 0 if statistics is None else statistics.dropped + statistics.user_dropped
        self._close_backend()
        report = AgentReport(
            counters=dict(self.engine.counters),
            kernel_dropped=lost,
            rules_in_place=in_place,
            shutdown=self.pipeline.close(_CLOSE_SECONDS),
        )
        counters = report.counters
        self._log.info(
            "agent_stopped",
            packets=counters.get("packets", 0),
            flows_accepted=counters.get("flows_accepted", 0),
            flows_rejected=counters.get("flows_rejected", 0),
            kernel_dropped=lost,
            records_undelivered=report.shutdown.undelivered,
            rules="in place: their packets are dropped until an agent runs" if in_place else "none",
        )
        if self._datapath is not None:
            self._datapath.close()
            self._datapath = None
        return report

    def _remove_rules(self) -> bool:
        try:
            self._rules.remove()
        except TriremeError as error:
            self._log.error("rules_not_removed", error=str(error))
            return False
        return True

    def _close_backend(self) -> None:
        if self._backend is not None:
            self._backend.close()
            self._backend = None
