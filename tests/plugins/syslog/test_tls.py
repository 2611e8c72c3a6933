"""Over TLS the right server gets the records, and whoever is refused learns it in time."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme
from structlog.testing import capture_logs

from trireme_collector import ConfigError, PacketReport, RetryableDeliveryError
from trireme_collector_syslog import SyslogCollector, SyslogOptions
from trireme_collector_syslog import _connecting as connecting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SETTLE = 0.1


def reports(*numbers: int) -> list[PacketReport]:
    return [PacketReport(packet_id=number) for number in numbers]


class TlsServer:
    """Reads what comes over TLS, connection after connection, in a thread."""

    def __init__(self, certificate: trustme.LeafCert) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self.context)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.streams: list[bytearray] = []
        self.versions: list[str | None] = []
        self.refuses_all = False
        self.reads = threading.Event()
        self.reads.set()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), raw:
                raw.settimeout(5)
                with self.context.wrap_socket(raw, server_side=True) as connection:
                    if self.refuses_all:
                        continue
                    self.versions.append(connection.version())
                    self.streams.append(bytearray())
                    self.reads.wait(30)
                    while data := connection.recv(65_536):
                        self.streams[-1] += data

    def close(self) -> None:
        """Stop when what was sent is read."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def received(self) -> list[int]:
        data = b"".join(self.streams)
        return [int(part.partition(b'"')[0]) for part in data.split(b'packet_id="')[1:]]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[TlsServer]:
    server = TlsServer(authority.issue_cert("syslog.test"))
    yield server
    server.close()


@pytest.fixture
def make(server: TlsServer, ca_file: str) -> Iterator[Callable[..., SyslogCollector]]:
    made: list[SyslogCollector] = []

    def build(**more: object) -> SyslogCollector:
        table: dict[str, object] = {
            "transport": "tls",
            "port": server.port,
            "ca_file": ca_file,
            "server_name": "syslog.test",
            "settle_seconds": SETTLE,
            "send_timeout_seconds": 5,
            **more,
        }
        made.append(SyslogCollector(msgspec.convert(table, SyslogOptions), name="s"))
        return made[-1]

    yield build
    for collector in made:
        collector.close()


def write_certificate(certificate: trustme.LeafCert, path: Path) -> str:
    certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


def test_records_arrive_octet_counted(
    make: Callable[..., SyslogCollector], server: TlsServer
) -> None:
    collector = make()
    collector.open()
    collector.deliver(reports(1, 2))
    collector.deliver(reports(3))
    collector.close()
    server.close()
    assert server.received() == [1, 2, 3]
    (stream,) = server.streams
    length, _, rest = bytes(stream).partition(b" ")
    assert rest[: int(length)].startswith(b"<30>1 ")
    assert server.versions == ["TLSv1.3"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_without_a_certificate_learns_that_it_is_refused(
    make: Callable[..., SyslogCollector],
    server: TlsServer,
    authority: trustme.CA,
    version: ssl.TLSVersion,
) -> None:
    server.context.verify_mode = ssl.CERT_REQUIRED
    server.context.maximum_version = version
    authority.configure_trust(server.context)
    collector = make(settle_seconds=5)
    begin = time.monotonic()
    with pytest.raises(RetryableDeliveryError, match="the server refuses this client") as caught:
        collector.deliver(reports(1, 2))
    assert time.monotonic() - begin < 4  # it did not wait for the time to be over
    assert caught.value.delivered == 0
    assert server.received() == []


def test_a_server_that_hangs_up_without_a_word_is_noticed(
    make: Callable[..., SyslogCollector], server: TlsServer
) -> None:
    server.refuses_all = True
    with pytest.raises(RetryableDeliveryError, match="may refuse this client") as caught:
        make(settle_seconds=5).deliver(reports(1))
    assert caught.value.delivered == 0


def test_a_client_shows_its_certificate(
    make: Callable[..., SyslogCollector],
    server: TlsServer,
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    server.context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server.context)
    path = write_certificate(authority.issue_cert("client.test"), tmp_path / "client.pem")
    collector = make(client_certificate_file=path)
    collector.deliver(reports(1))
    collector.close()
    server.close()
    assert server.received() == [1]


@pytest.mark.parametrize("transport", ["tls", "relp+tls"])
def test_another_name_is_not_accepted(make: Callable[..., SyslogCollector], transport: str) -> None:
    with pytest.raises(RetryableDeliveryError, match=r"hostname mismatch.*; set ca_file") as caught:
        make(server_name="other.test", transport=transport).deliver(reports(1))
    assert caught.value.delivered == 0


def test_the_host_is_the_name_that_is_looked_for(make: Callable[..., SyslogCollector]) -> None:
    with pytest.raises(RetryableDeliveryError, match="ip address mismatch"):
        make(server_name="").deliver(reports(1))


def test_another_authority_is_not_accepted(
    make: Callable[..., SyslogCollector], tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with pytest.raises(RetryableDeliveryError, match=r"certificate is not accepted: .*ca_file"):
        make(ca_file=str(other)).deliver(reports(1))


def test_the_authorities_of_the_system_are_not_enough_for_ours(
    make: Callable[..., SyslogCollector],
) -> None:
    try:
        collector = make(ca_file="")
        collector.open()
    except ConfigError as error:
        assert "install them" in str(error)  # noqa: PT017  a system without authorities
        return
    with pytest.raises(RetryableDeliveryError, match="certificate is not accepted"):
        collector.deliver(reports(1))


def test_old_versions_are_not_spoken(
    make: Callable[..., SyslogCollector], server: TlsServer
) -> None:
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(RetryableDeliveryError, match=r"refuses this client|no TLS connection"):
        make(tls_minimum="1.3").deliver(reports(1))
    collector = make()
    collector.deliver(reports(2))
    collector.close()
    server.close()
    assert (server.received(), server.versions) == ([2], ["TLSv1.2"])


def test_checks_can_be_turned_off_and_each_start_says_so(
    make: Callable[..., SyslogCollector], server: TlsServer
) -> None:
    collector = make(verify=False, ca_file="", server_name="wrong.test")
    for _ in range(2):
        with capture_logs() as logs:
            collector.open()
        (entry,) = logs
        assert (entry["event"], entry["log_level"]) == ("syslog_server_not_verified", "warning")
    collector.deliver(reports(1))
    collector.close()
    server.close()
    assert server.received() == [1]
    with capture_logs() as logs:
        make().open()
    assert logs == []


def test_a_server_without_tls_is_explained(make: Callable[..., SyslogCollector]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"hello, this is no TLS\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(RetryableDeliveryError, match="check that port is one for TLS"):
            make(port=listener.getsockname()[1]).deliver(reports(1))
        thread.join(10)


@pytest.mark.parametrize("option", ["ca_file", "client_certificate_file"])
@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_unusable_files_are_named_at_the_start(
    make: Callable[..., SyslogCollector], tmp_path: Path, option: str, content: str | None
) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=rf"collector 's': {option} '.*file.pem'") as caught:
        make(**{option: str(path)}).open()
    assert "in PEM form" in str(caught.value) or "give the path" in str(caught.value)
    with pytest.raises(RetryableDeliveryError, match=r"file\.pem"):
        make(**{option: str(path)}).deliver(reports(1))


def test_a_key_of_another_certificate_is_refused(
    make: Callable[..., SyslogCollector], authority: trustme.CA, tmp_path: Path
) -> None:
    mine, other = authority.issue_cert("a.test"), authority.issue_cert("b.test")
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "a.pem"))
    other.private_key_pem.write_to_path(str(tmp_path / "b.key"))
    collector = make(
        client_certificate_file=str(tmp_path / "a.pem"), client_key_file=str(tmp_path / "b.key")
    )
    with pytest.raises(ConfigError, match=r"a\.pem.*b\.key.*belong together"):
        collector.open()


def test_changed_certificates_are_used_without_a_restart(
    make: Callable[..., SyslogCollector],
    server: TlsServer,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connecting, "_LOOK_SECONDS", 0.0)
    server.context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server.context)
    path = tmp_path / "client.pem"
    write_certificate(authority.issue_cert("first.test"), path)
    collector = make(client_certificate_file=str(path))
    collector.deliver(reports(1))
    collector.deliver(reports(2))
    write_certificate(authority.issue_cert("second.name.test"), path)
    collector.deliver(reports(3))
    with capture_logs() as logs:
        path.write_text("half written")
        collector.deliver(reports(4))
        collector.deliver(reports(5))
    collector.close()
    server.close()
    assert [entry["event"] for entry in logs] == ["syslog_certificates_not_reloaded"]
    # The connection was closed in order each time: nothing had to come again.
    assert server.received() == [1, 2, 3, 4, 5]
    assert len(server.versions) == 2


def test_a_stall_does_not_tear_a_message(
    make: Callable[..., SyslogCollector], server: TlsServer
) -> None:
    server.reads.clear()
    collector = make(send_timeout_seconds=0.1)
    batch = [PacketReport(packet_id=number, payload=bytes(4_000)) for number in range(2_000)]
    done = 0
    stalls = 0
    while done < len(batch):
        try:
            collector.deliver(batch[done:])
            done = len(batch)
        except RetryableDeliveryError as failure:
            done += failure.delivered
            stalls += 1
            if stalls == 2:
                server.reads.set()
    collector.close()
    server.close()
    assert stalls >= 2
    assert server.received() == list(range(2_000))
