"""The agent that judges nothing: the messages of a Cilium node become records."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from trireme_collector.errors import ConfigError, DatapathError, DeliveryError
from trireme_collector.pipeline import (
    ShutdownReport,  # noqa: TC001  msgspec reads the annotation at run time
)
from trireme_datapath.agent._monitor_feed import MonitorFeed
from trireme_datapath.agent._monitor_watch import MonitorWatch
from trireme_datapath.agent._report import OutputError, records_summary
from trireme_datapath.agent._services import AgentServices
from trireme_datapath.loop import DatapathLoop, dispatch
from trireme_datapath.monitor.records import MonitorRecords, RecordSelection
from trireme_datapath.monitor.sources import MonitorSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.config import LoadedConfiguration
    from trireme_collector.pipeline import Pipeline
    from trireme_datapath.agent.monitor_config import MonitorAgentConfiguration

__all__ = ["MonitorAgent", "MonitorAgentReport"]

_CLOSE_SECONDS: Final = 5.0


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

    def start(self) -> Self:
        """Open the outputs and begin to connect.

        Raises:
            ConfigError: The address of the metrics is in use, or not allowed.
            OutputError: A collector cannot open its output.
            PluginError: A collector raised something that it may not raise.
        """
        try:
            self.pipeline.start()
        except (ConfigError, DeliveryError) as error:
            raise OutputError(str(error)) from error
        try:
            self._watch.open()
            self._services.open()
            self._source.open()
        except BaseException:
            self._services.close()
            self._watch.close()
            self.pipeline.close(0)
            raise
        self._datapath = DatapathLoop(self._feed, self._feed, self.pipeline)
        self._watch.start()
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
        return False

    def _end(self, datapath: DatapathLoop) -> MonitorAgentReport:
        self._services.close()
        self._watch.close()
        self._source.close()
        report = MonitorAgentReport(
            counters=dict(self._feed.counters),
            source=dict(self._source.counters),
            shutdown=self.pipeline.close(_CLOSE_SECONDS),
        )
        self._log.info(
            "agent_stopped", **report.counters, records_undelivered=report.shutdown.undelivered
        )
        datapath.close()
        self._datapath = None
        return report
