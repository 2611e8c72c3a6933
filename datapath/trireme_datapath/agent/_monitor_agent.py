"""The agent that judges nothing: the messages of a Cilium node become records."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from trireme_collector.control import AgentStatus, Later, PacketStatus, PolicyStatus, ReloadResult
from trireme_collector.errors import DatapathError
from trireme_collector.pipeline import (
    ShutdownReport,  # noqa: TC001  msgspec reads the annotation at run time
)
from trireme_datapath.agent._control import AgentControl
from trireme_datapath.agent._files import changed_keys
from trireme_datapath.agent._jobs import LoopJobs
from trireme_datapath.agent._monitor_feed import MonitorFeed
from trireme_datapath.agent._monitor_watch import MonitorWatch
from trireme_datapath.agent._outputs import start_outputs
from trireme_datapath.agent._report import records_summary
from trireme_datapath.agent._services import AgentServices
from trireme_datapath.agent._status import describe
from trireme_datapath.agent.monitor_config import load_monitor_config
from trireme_datapath.loop import DatapathLoop, dispatch
from trireme_datapath.monitor.records import MonitorRecords, RecordSelection
from trireme_datapath.monitor.sources import MonitorSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.config import LoadedConfiguration
    from trireme_collector.control import CommandTable
    from trireme_collector.pipeline import Pipeline
    from trireme_datapath.agent.monitor_config import MonitorAgentConfiguration

__all__ = ["MonitorAgent", "MonitorAgentReport"]

_CLOSE_SECONDS: Final = 5.0
_STATUS_SECONDS: Final = 2.0
_NO_POLICY: Final = PolicyStatus(file="", revision="", loaded_ns=0)


def _link_names() -> Mapping[int, str]:
    try:
        return dict(socket.if_nameindex())
    except OSError:
        return {}


class MonitorAgentReport(msgspec.Struct, frozen=True, kw_only=True):
    """What such an agent did from its start to its end.

    Attributes:
        counters: What became of the messages; see `MonitorFeed`.
        source: Connections, and what went wrong with them; see `MonitorSocket`.
        shutdown: What became of the records.
    """

    counters: dict[str, int]
    source: dict[str, int]
    shutdown: ShutdownReport

    def summary(self) -> str:
        """Say it in one line."""
        return (
            f"{self.counters.get('messages', 0)} messages read,"
            f" {self.counters.get('malformed', 0)} malformed,"
            f" {self.counters.get('lost', 0)} lost on the way,"
            f" {self.counters.get('records', 0)} records; {records_summary(self.shutdown)}"
        )


class MonitorAgent:
    """Reports what the datapath of a Cilium node says to the collectors of a configuration.

    It has the methods of `Agent`, so that one command runs either. No packet is judged and no
    rule of the kernel is touched. A socket that is not there is waited for.

    Args:
        config: The configuration.
        link_names: Gives the names of the host's interfaces by number.

    Attributes:
        pipeline: Where records go.

    Raises:
        ConfigError: A collector refuses its options.
        MissingExtraError: Metrics are configured, and their package is not installed.
        PluginError: A collector cannot be built.
    """

    def __init__(
        self,
        config: LoadedConfiguration[MonitorAgentConfiguration],
        *,
        link_names: Callable[[], Mapping[int, str]] = _link_names,
    ) -> None:
        """Build every part; open nothing."""
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.agent")
        self._config = config
        self._settings = settings = config.settings.monitor
        self._source = MonitorSocket(
            str(config.resolve(settings.socket)), stall_seconds=settings.stall_seconds
        )
        selection = RecordSelection(flows=settings.flows, packets=settings.packets)
        maker = MonitorRecords(profile=settings.profile, selection=selection)
        self.pipeline: Pipeline = config.pipeline()
        self._services = AgentServices(
            config.settings.observer, node_name=self.pipeline.instance, resolve=config.resolve
        )
        see = None if self._services.observer is None else self._services.see
        self._feed = MonitorFeed(self._source, maker, link_names, see)
        self._watch = MonitorWatch(
            config.settings.metrics,
            self.pipeline,
            self._feed,
            self._source,
            sources=(self._services,),
        )
        self._datapath: DatapathLoop | None = None
        self._reload_asked = False
        self._close_seconds = _CLOSE_SECONDS
        self._jobs = LoopJobs()
        self._control = AgentControl(config.settings.control, self)

    @property
    def commands(self) -> CommandTable:
        """What the control socket offers; commands of one's own are added before `start`."""
        return self._control.commands

    def start(self) -> Self:
        """Open the outputs and begin to connect.

        Raises:
            ConfigError: The address of the metrics or the control socket cannot be used.
            OutputError: A collector cannot open its output.
            PluginError: A collector raised something that it may not raise.
        """
        start_outputs(self.pipeline)
        try:
            self._watch.open()
            self._control.open()
            self._services.open()
            self._source.open()
        except BaseException:
            self._services.close()
            self._control.close()
            self._watch.close()
            self.pipeline.close(0)
            raise
        self._datapath = DatapathLoop(self._feed, self._feed, self.pipeline)
        self._watch.answer()
        self._control.start()
        self._log.info(
            "agent_started",
            instance=self.pipeline.instance,
            source="cilium-monitor",
            socket=self._source.path,
            profile=self._settings.profile,
        )
        return self

    def stop(self) -> None:
        """Make `run` end; may be called from signal handlers and other threads."""
        if self._datapath is not None:
            self._datapath.stop()

    def reload(self) -> None:
        """Make `run` reopen the outputs; for signal handlers, too."""
        self._reload_asked = True
        self._wake()

    def ask_reload(self) -> Future[ReloadResult]:
        """Make `run` reopen the outputs, and look what the configuration says now.

        Returns:
            What a restart would change, or a `ConfigError` with all mistakes.
        """
        future = self._jobs.post(self._reload)
        self._wake()
        return future

    def _reload(self) -> ReloadResult:
        self.pipeline.reopen()
        config = self._config
        found = load_monitor_config(config.path, registry=config.registry)
        self._log.info("reloaded")
        return ReloadResult(
            policy_file="",
            revision_before="",
            revision="",
            changed=False,
            restart_needed=changed_keys(config.settings, found.settings),
        )

    def ask_drain(self, deadline_seconds: float) -> None:
        """Make `run` end and deliver what waits until a deadline.

        Args:
            deadline_seconds: Counted from when the last message was read.
        """
        self._close_seconds = deadline_seconds
        self.stop()

    def answer_status(self, *, ending: bool) -> AgentStatus | Later[AgentStatus]:
        """Tell everything that is counted; the counts of messages stand for those of packets.

        Args:
            ending: Whether the agent was told to end.
        """

        def described(*, exact: bool = True) -> AgentStatus:
            counters = dict(self._feed.counters)
            return describe(
                ending=ending,
                checks=self._watch.health(),
                policy=_NO_POLICY,
                packets=PacketStatus(exact=exact, judged=0, denied=0, counters=counters),
                records=self.pipeline.status(),
            )

        if ending:
            return described()
        future = self._jobs.post(described)
        self._wake()
        return Later(
            future,
            lambda status: status,
            patience_seconds=_STATUS_SECONDS,
            otherwise=lambda: described(exact=False),
        )

    def _wake(self) -> None:
        if self._datapath is not None:
            self._datapath.wake()

    def run(self) -> MonitorAgentReport:
        """Read messages until `stop`.

        Returns:
            What was done.

        Raises:
            DatapathError: The agent was not started.
        """
        if self._datapath is None:
            raise DatapathError("the agent was not started: call start() before run()")
        try:
            self._datapath.run(until=self._obey)
            for record in self._feed.drain(time.time_ns()):
                dispatch(self.pipeline, record)
        finally:
            report = self._end(self._datapath)
        return report

    def _obey(self) -> bool:
        """Reload if it was asked for; the loop calls this after each turn and never ends by it."""
        self._watch.turn()
        if self._reload_asked:
            self._reload_asked = False
            self.pipeline.reopen()
            self._log.info("reloaded")
        if self._jobs:
            self._jobs.run()
        return False

    def _end(self, datapath: DatapathLoop) -> MonitorAgentReport:
        self._control.end()
        self._services.close()
        self._watch.close()
        self._source.close()
        report = MonitorAgentReport(
            counters=dict(self._feed.counters),
            source=dict(self._source.counters),
            shutdown=self.pipeline.close(self._close_seconds),
        )
        self._log.info(
            "agent_stopped", **report.counters, records_undelivered=report.shutdown.undelivered
        )
        self._control.close(report.shutdown, rules_in_place=False)
        datapath.close()
        self._datapath = None
        return report
