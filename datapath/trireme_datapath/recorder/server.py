"""The recorder as a process: a store, a recorder, and servers for its services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from trireme_collector.errors import ConfigError
from trireme_collector.metrics import MetricsServer
from trireme_datapath.grpc_server import require_grpc
from trireme_datapath.recorder._store import RecordingStore
from trireme_datapath.recorder.config import DEFAULT_ADDRESS
from trireme_datapath.recorder.metrics import RecorderMetrics
from trireme_datapath.recorder.recorder import Recorder, open_source

if TYPE_CHECKING:
    from types import TracebackType

    from trireme_datapath.recorder.config import RecorderConfig
    from trireme_datapath.recorder.recorder import OpenSource

__all__ = ["RecorderServer"]

_OWN_STREAMS: Final = 16


class RecorderServer:
    """Serves a recorder at the addresses of a configuration.

    ::

        with RecorderServer(load_recorder_config("recorder.toml")) as server:
            ...

    Args:
        config: The configuration.
        open_source: Opens what a request wants recorded.

    Attributes:
        recorder: The recorder.

    Raises:
        MissingExtraError: The packages for gRPC, or for metrics if they are asked for, are not
            installed.
        ConfigError: The directory cannot be used, or an address is none.
    """

    def __init__(self, config: RecorderConfig, *, open_source: OpenSource = open_source) -> None:
        """Open the directory; nothing listens yet."""
        require_grpc()
        from trireme_datapath.grpc_server import GrpcServers  # noqa: PLC0415  needs the extra
        from trireme_datapath.recorder._grpc_service import (  # noqa: PLC0415
            RecorderService,
            caller_of,
        )

        if not config.listen:
            raise ConfigError("[recorder] listen names no address; leave it out, or name one")
        if DEFAULT_ADDRESS in config.listen:
            Path(DEFAULT_ADDRESS.removeprefix("unix://")).parent.mkdir(mode=0o755, exist_ok=True)
        self._servers = GrpcServers()
        self._metrics: MetricsServer | None = None
        store = RecordingStore(
            config.directory,
            node_name=Recorder.name_of(config),
            limits=config.limits,
            group=config.read_group,
        )
        self.recorder = Recorder(config, store, open_source=open_source)
        self._service = RecorderService(self.recorder, caller_of(self._servers))
        try:
            hubble, own = self._service.services()
            self._servers.add("recorder", config, hubble, identify=True)
            # Both count against one limit: what the configuration says is for both together.
            few = msgspec.structs.replace(config, max_streams=_OWN_STREAMS)
            self._servers.add("recorder", few, own, identify=True)
            if config.metrics.listen:
                measured = RecorderMetrics(self.recorder, self._service)
                self._metrics = MetricsServer(config.metrics, (measured,), (measured,))
        except BaseException:
            self.recorder.close()
            raise

    @property
    def recordings(self) -> int:
        """How many recordings were begun."""
        return self.recorder.begun

    def open(self) -> None:
        """Listen.

        Raises:
            ConfigError: An address cannot be used, or another recorder has it.
        """
        try:
            if self._metrics is not None:
                self._metrics.open()
            self._servers.open()
            if self._metrics is not None:
                self._metrics.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all recordings in good order, tell their clients, and stop."""
        self.recorder.shut_down()
        self._servers.close(3)
        self._service.close()
        if self._metrics is not None:
            self._metrics.close()
        self.recorder.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
