"""Records reach real sockets, once each, or it is known which did not."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

import msgspec
import pytest

from trireme_collector import (
    ConfigError,
    ContainerRecord,
    DefaultCollector,
    EndPoint,
    FlowRecord,
    PacketReport,
    PermanentDeliveryError,
    Registry,
    RetryableDeliveryError,
    TraceReport,
    build_pipeline,
)
from trireme_collector.formats import Rfc5424Options, render_rfc5424
from trireme_collector.testing import FakeClock
from trireme_collector_syslog import SyslogCollector, SyslogOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_mock import MockerFixture

    from trireme_collector import Record


def reports(*numbers: int) -> list[PacketReport]:
    return [PacketReport(packet_id=number) for number in numbers]


def number(message: bytes) -> int:
    return int(message.partition(b'packet_id="')[2].partition(b'"')[0])


@pytest.fixture
def make() -> Iterator[Callable[..., SyslogCollector]]:
    made: list[SyslogCollector] = []

    def build(**options: object) -> SyslogCollector:
        config = msgspec.convert({"send_timeout_seconds": 0.05, **options}, SyslogOptions)
        made.append(SyslogCollector(config, name="s", time_ns=FakeClock().time_ns))
        return made[-1]

    yield build
    for collector in made:
        collector.close()


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    # Relative: the path of a unix socket holds 107 bytes, and temporary directories are deep.
    monkeypatch.chdir(tmp_path)
    return "log"


class Receiver:
    """A datagram socket that reads what it is told to."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0)

    def read(self) -> list[bytes]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(70_000))
            except BlockingIOError:
                return messages


@pytest.fixture
def receiver(address: str) -> Iterator[Receiver]:
    receiver = Receiver(address)
    yield receiver
    receiver.socket.close()


class Server:
    """A listening stream socket with one connection at a time."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.listener.listen(1)
        self.listener.settimeout(30)
        self.connection: socket.socket | None = None
        self.data = b""

    def accept(self) -> None:
        self.hang_up()
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(30)

    def connected(self) -> socket.socket:
        """Give the connection, accepting it if need be."""
        if self.connection is None:
            self.accept()
        assert self.connection is not None
        return self.connection

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def close(self) -> None:
        self.hang_up()
        self.listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = Server(listener)
    yield server
    server.close()


def port_of(server: Server) -> int:
    port = server.listener.getsockname()[1]
    assert isinstance(port, int)
    return port


def split(stream: bytes) -> list[bytes]:
    messages = []
    while stream:
        length, _, rest = stream.partition(b" ")
        messages.append(rest[: int(length)])
        stream = rest[int(length) :]
    return messages


def test_it_enters_by_the_plugin_door() -> None:
    assert Registry().collector_spec("syslog").config_type is SyslogOptions


def test_unix_datagrams(
    make: Callable[..., SyslogCollector], address: str, receiver: Receiver
) -> None:
    collector = make(address=address, hostname="h", facility="local3", app_name="a")
    collector.open()
    batch: list[Record] = [ContainerRecord(event="start"), FlowRecord(count=2)]
    collector.deliver(batch)
    messages = receiver.read()
    assert [message.split(b" ")[2:4] for message in messages] == [[b"h", b"a"]] * 2
    assert messages[0].startswith(b"<158>1 2026-01-02T03:04:05.000006Z h a ")
    assert b'[container@32473 event="start"]' in messages[0]


def test_a_stalled_reader_is_waited_for_and_gets_the_rest_later(
    make: Callable[..., SyslogCollector], address: str, receiver: Receiver
) -> None:
    receiver.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    collector = make(address=address)
    batch = reports(*range(2_000))
    with pytest.raises(RetryableDeliveryError, match="its reader has stalled") as caught:
        collector.deliver(batch)
    sent = caught.value.delivered
    assert 0 < sent < len(batch)
    received = receiver.read()
    assert len(received) == sent
    collector.deliver(batch[sent : sent + 5])
    received += receiver.read()
    assert [number(message) for message in received] == list(range(sent + 5))


def test_a_missing_socket_is_explained(make: Callable[..., SyslogCollector], address: str) -> None:
    collector = make(address=address)
    message = r"collector 's' cannot send to syslog at 'log': it does not exist; is a syslog daemon"
    with pytest.raises(RetryableDeliveryError, match=message):
        collector.open()
    with pytest.raises(RetryableDeliveryError, match=message) as caught:
        collector.deliver(reports(1))
    assert caught.value.delivered == 0


def test_a_file_that_is_no_socket_is_explained(
    make: Callable[..., SyslogCollector], address: str, tmp_path: Path
) -> None:
    (tmp_path / address).touch()
    with pytest.raises(RetryableDeliveryError, match="it is not a socket; set address"):
        make(address=address).open()


def test_missing_rights_are_explained(
    make: Callable[..., SyslogCollector], mocker: MockerFixture, address: str
) -> None:
    refused = PermissionError(errno.EACCES, "Permission denied")
    mocker.patch("trireme_collector_syslog._connecting.connect", side_effect=refused)
    with pytest.raises(RetryableDeliveryError, match="permission denied; give the agent's user"):
        make(address=address).open()


def test_a_daemon_that_was_restarted_is_found_again(
    make: Callable[..., SyslogCollector], address: str, tmp_path: Path
) -> None:
    first = Receiver(address)
    collector = make(address=address)
    collector.deliver(reports(1))
    first.socket.close()
    with pytest.raises(RetryableDeliveryError, match="nobody reads from it; start the syslog"):
        collector.deliver(reports(2))
    (tmp_path / address).unlink()
    second = Receiver(address)
    collector.deliver(reports(2))
    second.socket.close()
    (tmp_path / address).unlink()
    third = Receiver(address)
    collector.deliver(reports(3))
    assert [number(message) for message in third.read()] == [3]
    third.socket.close()


def test_a_message_too_large_for_the_socket_costs_itself(
    make: Callable[..., SyslogCollector], address: str, receiver: Receiver
) -> None:
    collector = make(address=address, max_bytes=65_507)
    collector.open()
    connection = collector._sender._socket  # type: ignore[union-attr]  # open() has made it
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)  # the kernel doubles it
    batch: list[Record] = [*reports(1), TraceReport(lines=("x" * 60_000,)), *reports(2)]
    with pytest.raises(PermanentDeliveryError, match="set a smaller max_bytes") as caught:
        collector.deliver(batch)
    assert (caught.value.delivered, caught.value.rejected) == (1, 1)
    received = receiver.read()
    collector.deliver(batch[2:])
    received += receiver.read()
    assert [number(message) for message in received] == [1, 2]


def test_udp(make: Callable[..., SyslogCollector]) -> None:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.settimeout(30)
    collector = make(transport="udp", port=udp.getsockname()[1])
    collector.deliver(reports(1, 2))
    assert [number(udp.recv(70_000)) for _ in range(2)] == [1, 2]
    udp.close()


def test_udp_without_a_listener_is_noticed(make: Callable[..., SyslogCollector]) -> None:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    port = udp.getsockname()[1]
    udp.close()
    collector = make(transport="udp", port=port)
    with pytest.raises(RetryableDeliveryError, match="nothing listens there; start the server"):
        collector.deliver(reports(*range(50)))


@pytest.mark.parametrize("framing", ["octet-counting", "lf"])
def test_tcp_framing(make: Callable[..., SyslogCollector], server: Server, framing: str) -> None:
    collector = make(transport="tcp", port=port_of(server), framing=framing)
    nasty = FlowRecord(destination=EndPoint(uri="a\nb\x00c"))
    collector.deliver([*reports(1, 2), nasty])
    server.accept()
    collector.close()
    stream = read_all(server.connected())
    messages = split(stream) if framing == "octet-counting" else stream.split(b"\n")[:-1]
    assert [number(message) for message in messages[:2]] == [1, 2]
    assert len(messages) == 3
    assert rb'destination_uri="a\\u000ab\\u0000c"' in messages[2]


def test_a_unix_stream(make: Callable[..., SyslogCollector], address: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    server = Server(listener)
    collector = make(address=address)
    collector.deliver(reports(7))
    server.accept()
    collector.close()
    (message,) = split(read_all(server.connected()))
    assert number(message) == 7
    server.close()


def test_tcp_without_a_listener_is_explained(
    make: Callable[..., SyslogCollector], server: Server
) -> None:
    port = port_of(server)
    server.close()
    with pytest.raises(
        RetryableDeliveryError, match=rf"syslog at tcp 127.0.0.1 port {port}: nothing listens"
    ):
        make(transport="tcp", port=port).deliver(reports(1))


def test_a_name_that_does_not_resolve_is_explained(
    make: Callable[..., SyslogCollector], mocker: MockerFixture
) -> None:
    failure = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    mocker.patch("socket.getaddrinfo", side_effect=failure)
    for transport in ("tcp", "udp"):
        with pytest.raises(RetryableDeliveryError, match=r"cannot be resolved .*; check host"):
            make(transport=transport, host="nowhere.test").deliver(reports(1))


@pytest.mark.parametrize(("window", "received"), [(0, [2]), (8_388_608, [1, 2])])
def test_a_server_that_hung_up_is_noticed_before_sending(
    make: Callable[..., SyslogCollector], server: Server, window: int, received: list[int]
) -> None:
    collector = make(transport="tcp", port=port_of(server), resend_window_bytes=window)
    collector.deliver(reports(1))
    server.accept()
    # What it has read it acknowledges with a plain end: a write to it would still succeed.
    server.connected().recv(70_000)
    server.hang_up()
    collector.deliver(reports(2))
    server.accept()
    collector.close()
    assert [number(message) for message in split(read_all(server.connected()))] == received


@pytest.mark.parametrize(("window", "received"), [(0, [2]), (8_388_608, [1, 2])])
def test_a_server_that_reset_the_connection_is_noticed(
    make: Callable[..., SyslogCollector], server: Server, window: int, received: list[int]
) -> None:
    collector = make(transport="tcp", port=port_of(server), resend_window_bytes=window)
    collector.deliver(reports(1))
    server.accept()
    linger_none = struct.pack("ii", 1, 0)
    server.connected().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
    server.hang_up()
    collector.deliver(reports(2))
    server.accept()
    collector.close()
    assert [number(message) for message in split(read_all(server.connected()))] == received


def test_what_broke_after_the_last_batch_is_sent_again_by_a_flush(
    make: Callable[..., SyslogCollector], server: Server
) -> None:
    collector = make(transport="tcp", port=port_of(server))
    collector.flush()  # nothing was sent, so nothing is connected
    collector.deliver(reports(1))
    server.accept()
    collector.flush()
    server.hang_up()  # with the message unread
    collector.flush()
    server.accept()
    collector.close()
    assert [number(message) for message in split(read_all(server.connected()))] == [1]


def test_a_flush_without_a_server_says_what_may_be_lost(
    make: Callable[..., SyslogCollector], server: Server
) -> None:
    collector = make(transport="tcp", port=port_of(server))
    collector.deliver(reports(1, 2))
    server.accept()
    server.close()
    for _ in range(2):
        with pytest.raises(RetryableDeliveryError, match="2 messages may have been lost"):
            collector.flush()


def test_a_server_that_talks_is_not_listened_to(
    make: Callable[..., SyslogCollector], server: Server
) -> None:
    collector = make(transport="tcp", port=port_of(server))
    collector.deliver(reports(1))
    server.accept()
    server.connected().sendall(b"hello")
    collector.deliver(reports(2))
    collector.close()


def test_a_stalled_server_gets_every_message_once_and_whole(
    make: Callable[..., SyslogCollector], server: Server
) -> None:
    collector = make(transport="tcp", port=port_of(server))
    ticking = FakeClock()
    # Without a time of its own a record gets that of its sending, which goes on between attempts.
    collector._time_ns = lambda: ticking.advance(1)
    batch: list[Record] = [
        ContainerRecord(context_id=str(index), tags=("x" * 7_000,)) for index in range(2_000)
    ]
    sent = 0
    received = b""
    stalls: list[str] = []
    while sent < len(batch):
        try:
            collector.deliver(batch[sent:])
            sent = len(batch)
        except RetryableDeliveryError as failure:
            sent += failure.delivered
            stalls.append(str(failure))
        connection = server.connected()
        connection.settimeout(0)
        received += drain(connection)
    collector.close()
    connection = server.connected()
    connection.settimeout(30)
    received += read_all(connection)
    assert stalls
    assert all("is not stalled" in stall for stall in stalls)
    ids = [message.partition(b'context_id="')[2].partition(b'"')[0] for message in split(received)]
    assert ids == [str(index).encode() for index in range(2_000)]


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1_000_000), b""))


def drain(connection: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            data += connection.recv(1_000_000)
        except BlockingIOError:
            return data


def test_a_message_that_was_begun_and_given_up_breaks_the_connection(
    make: Callable[..., SyslogCollector], server: Server
) -> None:
    collector = make(transport="tcp", port=port_of(server), resend_window_bytes=0)
    batch: list[Record] = [TraceReport(lines=("x" * 7_000,)) for _ in range(2_000)]
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(batch)
    server.accept()
    collector.deliver(reports(1))
    server.accept()
    collector.close()
    assert [number(message) for message in split(read_all(server.connected()))] == [1]


def test_a_name_for_every_default() -> None:
    options = SyslogOptions()
    assert (options.transport, options.address) == ("unix", "/dev/log")


@pytest.mark.parametrize(
    "wrong",
    [
        {"transport": "tsl"},
        {"format": "rfc3339"},
        {"relp_window": 0},
        {"port": 0},
        {"port": "514"},
        {"facility": "kern"},
        {"severity_rejected": "bad"},
        {"app_name": "two words"},
        {"hostname": "a b"},
        {"max_bytes": 100},
        {"framing": "nul"},
        {"adress": "/dev/log"},
    ],
    ids=str,
)
def test_wrong_options_are_refused_with_their_path(wrong: dict[str, object]) -> None:
    (key,) = wrong
    with pytest.raises(ConfigError, match=rf"collectors\.syslog\.{key}: found .*, expected "):
        build_pipeline({"syslog": wrong}, Registry())


def test_the_default_collector_reports_here(address: str, receiver: Receiver) -> None:
    collector = DefaultCollector(
        {"address": address}, registry=Registry(), instance="me", threads=False
    )
    collector.start()
    collector.collect_flow_event(FlowRecord(context_id="web", count=1))
    report = collector.close()
    assert report.complete
    (message,) = receiver.read()
    assert b'instance="me"' in message
    assert b'context_id="web"' in message


def test_the_message_is_that_of_the_format(
    make: Callable[..., SyslogCollector], address: str, receiver: Receiver
) -> None:
    record = FlowRecord(end_time_ns=1_000, count=1)
    make(address=address, hostname="h").deliver([record])
    (message,) = receiver.read()
    procid = message.split(b" ")[4].decode()
    assert message == render_rfc5424(record, Rfc5424Options(hostname="h", procid=procid))
