"""The servers of a process: one for each address, all in one thread."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import grpc
import structlog

from trireme_collector.control import SocketBusyError
from trireme_collector.errors import ConfigError
from trireme_datapath.grpc_server._grpc_well_known import health_service, reflection_services
from trireme_datapath.grpc_server._relay import Relay
from trireme_datapath.grpc_server._socket import SocketPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import TypeVar

    from structlog.typing import FilteringBoundLogger

    from trireme_datapath.grpc_server._config import Address, ListenConfig
    from trireme_datapath.grpc_server._grpc_service import Service
    from trireme_datapath.grpc_server._relay import LocalPeer

    _Result = TypeVar("_Result")

__all__ = ["GrpcServers"]

_START_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 1.0
# A request is a few filters; what is larger is no request.
_MAX_REQUEST_BYTES: Final = 262_144
_OWN_STREAMS: Final = 16  # for health and reflection, which no configuration counts
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a second server on a port fails instead of sharing it
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.absolute_max_metadata_size", 32_768),
    # Clients that are gone without a word are noticed.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class _Listener:
    """An address, with the services there."""

    def __init__(self, address: Address, config: ListenConfig, section: str) -> None:
        self.address = address
        self.config = config
        self.section = section
        self.services: list[Service] = []
        self.max_streams = 0
        self.place: SocketPlace | None = None
        self.relay: Relay | None = None
        self.identify = False
        self.server: grpc.aio.Server | None = None

    def add(self, config: ListenConfig, section: str, service: Service) -> None:
        mine, theirs = (
            (one.group, one.tls_certificate_file, one.tls_key_file, one.tls_client_ca_file)
            for one in (self.config, config)
        )
        if mine != theirs:
            msg = (
                f"[{self.section}] and [{section}] share {self.address} and say different things"
                " about group or TLS: let both say the same, or give each an address of its own"
            )
            raise ConfigError(msg)
        self.services.append(service)
        self.max_streams += config.max_streams


class GrpcServers:
    """Offers services at their addresses; services with the same address share its server.

    ::

        servers = GrpcServers()
        servers.add("observer", config.observer, service)
        servers.open()
        ...
        servers.close()

    Every server also has the health service and reflection.

    Args:
        resolve: Gives a path of the configuration, seen from where its file is.
        workers: How many calls of plain functions may run at once, each in its thread.
    """

    def __init__(self, resolve: Callable[[str], Path] = Path, *, workers: int = 64) -> None:
        """Listen nowhere."""
        self._resolve = resolve
        self._workers = workers
        self._listeners: dict[Address, _Listener] = {}
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.grpc")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None

    def add(
        self, section: str, config: ListenConfig, service: Service, *, identify: bool = False
    ) -> None:
        """Offer a service.

        Args:
            section: The section of the configuration, for messages.
            config: Where.
            service: The service.
            identify: Whether the service asks `peer` who its clients are.

        Raises:
            ConfigError: An address is none, or another service is there with other settings.
        """
        for address in config.addresses(section, self._resolve):
            listener = self._listeners.get(address)
            if listener is None:
                listener = self._listeners[address] = _Listener(address, config, section)
            listener.add(config, section, service)
            listener.identify = listener.identify or identify

    def peer(self, name: str) -> LocalPeer | None:
        """Give who is at the other end of a unix socket, by the ``peer()`` of a call's context.

        Nothing is known about clients of other sockets, and of those where no service asks.
        """
        for listener in self._listeners.values():
            if listener.relay is not None and (found := listener.relay.peer(name)) is not None:
                return found
        return None

    def open(self) -> None:
        """Listen, and answer from now on.

        Raises:
            SocketBusyError: Another process has a socket.
            ConfigError: An address cannot be used.
        """
        if not self._listeners:
            return
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="trireme-grpc-call")
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="trireme-grpc", daemon=True
        )
        self._thread.start()
        try:
            for listener in self._listeners.values():
                self._do(self._open(listener), _START_SECONDS)
        except BaseException:
            self.close(0)
            raise

    def close(self, grace_seconds: float = _GRACE_SECONDS) -> None:
        """End all calls and remove the sockets.

        Args:
            grace_seconds: How long calls may take to end by themselves.
        """
        if self._loop is None or self._thread is None:
            return
        self._do(self._end(grace_seconds), grace_seconds + _START_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _do(self, work: Coroutine[object, object, _Result], seconds: float) -> _Result:
        if self._loop is None:
            raise ValueError("there is no loop")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    async def _open(self, listener: _Listener) -> None:
        names = [
            name for service in listener.services for name in (service.name, *service.health_names)
        ]
        services = [*listener.services, health_service(names)]
        services += reflection_services(services)
        limit = listener.max_streams + _OWN_STREAMS
        server = listener.server = grpc.aio.server(
            migration_thread_pool=self._pool,
            # More than are served: a client is told that there are too many, and need not wait.
            options=[*_OPTIONS, ("grpc.max_concurrent_streams", 2 * limit)],
            maximum_concurrent_rpcs=limit,
        )
        server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(service.name, dict(service.handlers))
                for service in services
            ]
        )
        self._bind(listener, server)
        await server.start()
        if listener.relay is not None:
            await listener.relay.start()
        self._log.info(
            "grpc_listening",
            address=str(listener.address),
            services=[service.name for service in listener.services],
        )

    def _bind(self, listener: _Listener, server: grpc.aio.Server) -> None:
        address, config = listener.address, listener.config
        try:
            if address.path:
                listener.place = SocketPlace(address.path, config.group)
                making = listener.place.making
                if listener.identify:
                    listener.relay = Relay(making, 2 * listener.max_streams)
                    server.add_insecure_port(listener.relay.target)
                else:
                    server.add_insecure_port(f"unix:{quote(str(making))}")
                listener.place.move()
                return
            credentials = self._credentials(config)
            bound = server.add_secure_port(str(address), credentials)
        except RuntimeError as error:
            raise _explain(listener, error) from error
        except ConfigError as error:
            raise type(error)(f"[{listener.section}] {error}") from error
        if not bound:
            raise ConfigError(f"[{listener.section}] cannot listen on {address}; choose another")

    def _credentials(self, config: ListenConfig) -> grpc.ServerCredentials:
        certificate, key = map(self._read, (config.tls_certificate_file, config.tls_key_file))
        authorities = self._read(config.tls_client_ca_file) if config.tls_client_ca_file else None
        return grpc.ssl_server_credentials(
            [(key, certificate)],
            root_certificates=authorities,
            require_client_auth=authorities is not None,
        )

    def _read(self, name: str) -> bytes:
        path = self._resolve(name)
        try:
            return path.read_bytes()
        except OSError as error:
            msg = f"{path} cannot be read: {error.strerror}; check the path and its rights"
            raise ConfigError(msg) from error

    async def _end(self, grace_seconds: float) -> None:
        listeners: Sequence[_Listener] = list(self._listeners.values())
        for listener in listeners:
            for service in listener.services:
                service.stop()
        servers = [listener.server for listener in listeners if listener.server is not None]
        await asyncio.gather(*(server.stop(grace_seconds) for server in servers))
        for listener in listeners:
            listener.server = None
            if listener.relay is not None:
                await listener.relay.stop()
                listener.relay = None
            if listener.place is not None:
                listener.place.close()
                listener.place = None


def _explain(listener: _Listener, error: RuntimeError) -> ConfigError:
    """Find out why a port cannot be had: the library does not say."""
    address = listener.address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    reason = str(error)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
    except OSError as found:
        reason = (found.strerror or str(found)).lower()
        if found.errno == errno.EADDRINUSE:
            return SocketBusyError(
                f"[{listener.section}] another process has {address}; stop it or choose another"
            )
    return ConfigError(
        f"[{listener.section}] cannot listen on {address}: {reason}; choose another address, or"
        " look at the certificate and its key"
    )
