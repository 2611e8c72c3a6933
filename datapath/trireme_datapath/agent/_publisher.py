"""The publisher of an agent: its socket, if the configuration names one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.collector import EventCollector
    from trireme_datapath.agent.config import PublishConfig
    from trireme_datapath.monitor.publishing import MonitorServer, Notifier

__all__ = ["Publisher"]


class Publisher:
    """Publishes the decisions of an agent, or does nothing if nobody wants it.

    Args:
        config: Where to publish.
        resolve: Gives a path of the configuration file, seen from where that file is.
    """

    def __init__(self, config: PublishConfig, resolve: Callable[[str], Path] = Path) -> None:
        """Build the parts; open nothing."""
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.monitor")
        self._notifier: Notifier | None = None
        self._server: MonitorServer | None = None
        if config.socket:
            from trireme_datapath.monitor.publishing import (  # noqa: PLC0415  costs a tenth of a second
                MonitorServer,
                Notifier,
            )

            self._notifier = Notifier()
            self._server = MonitorServer(
                resolve(config.socket),
                mode=config.mode,
                max_clients=config.max_clients,
                client_bytes=config.client_bytes,
                greeting=self._notifier.endpoints.announcements,
            )

    @property
    def counters(self) -> dict[str, int]:
        """What was published, and what was lost on the way; see `MonitorServer`."""
        return {} if self._server is None else dict(self._server.counters)

    def open(self) -> None:
        """Listen.

        Raises:
            ConfigError: The socket cannot be made, or another process has it.
        """
        if self._server is not None:
            self._server.open()

    def close(self) -> None:
        """End all sessions and remove the socket."""
        if self._server is not None:
            self._server.close()
            if self._server.counters["clients"]:
                self._log.info("monitor_socket_closed", **self._server.counters)

    def before(self, collector: EventCollector) -> EventCollector:
        """Give the collector that publishes what it hands on to this one."""
        if self._server is None or self._notifier is None:
            return collector
        from trireme_datapath.monitor.publishing import (  # noqa: PLC0415  loaded before, if at all
            PublishingCollector,
        )

        return PublishingCollector(collector, self._notifier, self._server)

    def turn(self) -> None:
        """Serve those who watch; never waits."""
        if self._server is not None:
            self._server.turn()
