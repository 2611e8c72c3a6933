"""The syslog collector keeps the contract of collectors over every datagram and stream."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import msgspec
import pytest
import trustme
from structlog.testing import capture_logs

from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_syslog import SyslogCollector, SyslogOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

_SEQUENCE = re.compile(rb' sequence="(\d+)"')


def build(**options: object) -> SyslogCollector:
    config = msgspec.convert({"send_timeout_seconds": 5.0, **options}, SyslogOptions)
    return SyslogCollector(config, name="contract")


class DatagramHarness:
    """A datagram socket in the place of ``/dev/log``, read by a thread."""

    family = socket.AF_UNIX

    def __init__(self, address: str) -> None:
        self.address: str | tuple[str, int] = address
        self.messages: list[bytes] = []
        self.collectors: list[SyslogCollector] = []
        self._listen()

    def _listen(self) -> None:
        self.socket = socket.socket(self.family, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.address = self.socket.getsockname()
        self.thread = threading.Thread(target=self._read, args=(self.socket,))
        self.thread.start()

    def _read(self, receiver: socket.socket) -> None:
        # An empty datagram ends it: whatever came before has been read by then.
        while message := receiver.recv(70_000):
            self.messages.append(message)

    def stop(self) -> None:
        with socket.socket(self.family, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address)
        self.thread.join()
        self.socket.close()
        if isinstance(self.address, str):
            Path(self.address).unlink()

    def build(self) -> object:
        self.collectors.append(build(transport="unix", address=self.address))
        return self.collectors[-1]

    def received(self) -> Sequence[int]:
        self.stop()
        self._listen()
        return [int(match[1]) for m in self.messages if (match := _SEQUENCE.search(m))]

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        return self._away() if fault is Fault.AWAY else self._too_large()

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self._listen()

    def _too_large(self) -> AbstractContextManager[object]:
        error = OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        return mock.patch.object(socket.socket, "send", side_effect=error)


class UdpHarness(DatagramHarness):
    """A UDP socket on loopback."""

    family = socket.AF_INET

    def __init__(self) -> None:
        super().__init__("")

    def _listen(self) -> None:
        self.address = self.address or ("127.0.0.1", 0)
        super()._listen()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)

    def build(self) -> object:
        self.collectors.append(
            build(transport="udp", host=self.address[0], port=int(self.address[1]))
        )
        return self.collectors[-1]

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        # Who sends a datagram does not learn that nobody is there: that is what UDP is.
        return None if fault is Fault.AWAY else self._too_large()


class TestDatagrams(CollectorContract):
    @pytest.fixture(params=["unix", "udp"])
    def harness(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[DatagramHarness]:
        # Relative: the path of a unix socket holds 107 bytes, and temporary directories are deep.
        monkeypatch.chdir(tmp_path)
        harness = UdpHarness() if request.param == "udp" else DatagramHarness("log")
        with capture_logs():
            yield harness
        for collector in harness.collectors:
            collector.close()
        harness.stop()


class StreamHarness:
    """A server for octet-counted messages, on loopback or on a unix socket.

    Args:
        context: TLS, if it is to be spoken.
        options: What collectors need to know to get here, but the port.
    """

    def __init__(self, context: ssl.SSLContext | None = None, **options: object) -> None:
        self.context = context
        self.options = options
        self.data: list[bytes] = []
        self.collectors: list[SyslogCollector] = []
        self.connections: list[socket.socket] = []
        self.readers: list[threading.Thread] = []
        self.lock = threading.Lock()
        self._listen()

    def _listen(self) -> None:
        if "address" in self.options:
            path = Path(str(self.options["address"]))
            path.unlink(missing_ok=True)
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(path))
            self.listener.listen()
        else:
            port = self.options.get("port", 0)
            self.listener = socket.create_server(("127.0.0.1", port))
            self.options["port"] = self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self._accept, args=(self.listener,))
        self.acceptor.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the listener was shut down
            if self.context is not None:
                connection = self.context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            with self.lock:
                self.connections.append(connection)
                self.data.append(b"")
                number = len(self.data) - 1
            reader = threading.Thread(target=self._read, args=(connection, number))
            self.readers.append(reader)
            reader.start()

    def _read(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(65_536):
                self.data[number] += data
        connection.close()

    def stop(self, *, abruptly: bool) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join()
        self.listener.close()
        for connection in self.connections:
            if abruptly:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for reader in self.readers:
            reader.join()
        self.connections.clear()
        self.readers.clear()

    def build(self) -> object:
        self.collectors.append(build(**self.options))
        return self.collectors[-1]

    def received(self) -> Sequence[int]:
        for collector in self.collectors:
            collector.close()
        self.stop(abruptly=False)
        self._listen()
        return [int(match[1]) for data in self.data for match in _SEQUENCE.finditer(data)]

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        return self._away() if fault is Fault.AWAY else None

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        self.stop(abruptly=True)
        try:
            yield
        finally:
            self._listen()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_options(authority: trustme.CA, tmp_path: Path) -> dict[str, object]:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return {
        "transport": "tls",
        "host": "127.0.0.1",
        "ca_file": str(tmp_path / "ca.pem"),
        "settle_seconds": 0.05,
    }


class TestStreams(CollectorContract):
    @pytest.fixture(params=["tcp", "unix", "tls"])
    def harness(
        self,
        request: pytest.FixtureRequest,
        authority: trustme.CA,
        tls_options: dict[str, object],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[StreamHarness]:
        monkeypatch.chdir(tmp_path)
        if request.param == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            harness = StreamHarness(context, **tls_options)
        elif request.param == "unix":
            harness = StreamHarness(transport="unix", address="stream")
        else:
            harness = StreamHarness(transport="tcp", host="127.0.0.1")
        with capture_logs():
            yield harness
        for collector in harness.collectors:
            collector.close()
        harness.stop(abruptly=True)
