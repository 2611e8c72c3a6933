"""What an agent offers over gRPC, if its configuration says where."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import trireme_collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trireme_collector.collector import EventCollector
    from trireme_collector.metrics import Metric
    from trireme_datapath.grpc_server import GrpcServers
    from trireme_datapath.monitor.sources import Payload
    from trireme_datapath.observer import FlowObserver
    from trireme_datapath.observer.config import ObserverConfig
    from trireme_datapath.observer.metrics import ObserverMetrics

__all__ = ["AgentServices"]


class AgentServices:
    """Lets others watch the flows of an agent, or does nothing if nobody wants it.

    Args:
        observer: Where, and how many flows are kept.
        node_name: The name of this host.
        resolve: Gives a path of the configuration file, seen from where that file is.

    Attributes:
        observer: Who sees the flows.

    Raises:
        ConfigError: An address cannot be used.
        MissingExtraError: The packages for gRPC are not installed.
    """

    def __init__(
        self,
        observer: ObserverConfig,
        *,
        node_name: str,
        resolve: Callable[[str], Path] = Path,
    ) -> None:
        """Build the parts; open nothing."""
        self.observer: FlowObserver | None = None
        self._servers: GrpcServers | None = None
        self._measured: ObserverMetrics | None = None
        if not observer.listen:
            return
        from trireme_datapath.grpc_server import GrpcServers  # noqa: PLC0415  needs an extra
        from trireme_datapath.observer import FlowObserver  # noqa: PLC0415  not without a listener
        from trireme_datapath.observer._grpc_service import ObserverService  # noqa: PLC0415
        from trireme_datapath.observer.metrics import ObserverMetrics  # noqa: PLC0415

        self.observer = FlowObserver(node_name, time.time_ns(), max_flows=observer.max_flows)
        service = ObserverService(
            self.observer,
            version=f"trireme-collector {trireme_collector.__version__}",
            address=str(observer.addresses("observer", resolve)[0]),
            max_rate=observer.max_rate,
        )
        self._measured = ObserverMetrics(self.observer, service.counts)
        self._servers = GrpcServers(resolve)
        for one in service.services():
            self._servers.add("observer", observer, one)

    def open(self) -> None:
        """Listen, and answer from now on.

        Raises:
            SocketBusyError: Another process has a socket.
            ConfigError: An address cannot be used.
        """
        if self._servers is not None:
            self._servers.open()

    def close(self) -> None:
        """End all streams and remove the sockets."""
        if self._servers is not None:
            self._servers.close()

    def metrics(self) -> Iterator[Metric]:
        """Read what the observer counts, if there is one."""
        if self._measured is not None:
            yield from self._measured.metrics()

    def before(self, collector: EventCollector) -> EventCollector:
        """Give the collector that shows flows to the observer before this one gets them."""
        if self.observer is None:
            return collector
        from trireme_datapath.observer import ObservingCollector  # noqa: PLC0415  loaded before

        return ObservingCollector(collector, self.observer)

    def note_lost(self, count: int) -> None:
        """Tell the observer of records that were lost on their way to us."""
        if self.observer is not None and count:
            self.observer.lost("OBSERVER_EVENTS_QUEUE", count, time.time_ns())

    def see(self, payload: Payload) -> None:
        """Show the observer what came from the monitor of a Cilium datapath."""
        if self.observer is None:
            return
        now_ns = time.time_ns()
        if payload.lost:
            self.observer.lost("PERF_EVENT_RING_BUFFER", payload.lost, now_ns, cpu=payload.cpu)
        else:
            self.observer.observe_message(payload.data, now_ns)
