"""TLS is checked before the first record leaves, and what is not checked is announced."""

from __future__ import annotations

import datetime
import importlib.util
import ipaddress
import ssl
import time
from typing import TYPE_CHECKING

import pytest
import structlog
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.plugins.http.servers import HonestServer, ScriptedServer, server_context
from trireme_collector import ConfigError, PacketReport, RetryableDeliveryError
from trireme_collector.cli.errors import exit_code_of
from trireme_collector.exit_codes import ExitCode
from trireme_collector_http import HttpCollector, HttpOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("httpx2", reason="the extra http is not installed")

BATCH = [PacketReport(packet_id=1)]


@pytest.fixture
def secured(tls: ssl.SSLContext) -> Iterator[HonestServer]:
    server = HonestServer(tls)
    yield server
    server.close()


@pytest.fixture
def serve() -> Iterator[Callable[[ssl.SSLContext], HonestServer]]:
    servers: list[HonestServer] = []

    def start(context: ssl.SSLContext) -> HonestServer:
        servers.append(HonestServer(context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def demanding(
    authority: trustme.CA, serve: Callable[[ssl.SSLContext], HonestServer]
) -> HonestServer:
    """Start a server that wants a certificate from its clients."""
    context = server_context(authority.issue_cert("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    return serve(context)


def write_identity(authority: trustme.CA, directory: Path, name: str) -> dict[str, str]:
    identity = authority.issue_cert(common_name=name)
    certificate, key = directory / "client.pem", directory / "client.key"
    identity.private_key_pem.write_to_path(str(key))
    # Last: a certificate without its key is what a reader must not be left with.
    identity.cert_chain_pems[0].write_to_path(str(certificate))
    return {"client_certificate_file": str(certificate), "client_key_file": str(key)}


def names(server: HonestServer) -> list[str]:
    found = []
    for peer in server.peers:
        assert isinstance(peer, dict)
        found += [value for ((name, value),) in peer["subject"] if name == "commonName"]
    return found


def test_a_trusted_server_gets_the_records(
    make: Callable[..., HttpCollector], secured: HonestServer, ca_file: str
) -> None:
    collector = make(secured.url, ca_file=ca_file)
    collector.deliver(BATCH)
    collector.deliver(BATCH)
    assert secured.taken == [1, 1]
    assert len({request.connection for request in secured.requests}) == 1


def test_an_unknown_authority_is_refused(
    make: Callable[..., HttpCollector], secured: HonestServer, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with pytest.raises(RetryableDeliveryError, match=r"its certificate is refused: .*; check"):
        make(secured.url, ca_file=str(other)).deliver(BATCH)
    with pytest.raises(RetryableDeliveryError, match=r"its certificate is refused: "):
        make(secured.url).deliver(BATCH)
    assert secured.requests == []


def test_the_name_is_checked(
    make: Callable[..., HttpCollector],
    authority: trustme.CA,
    serve: Callable[[ssl.SSLContext], HonestServer],
    ca_file: str,
) -> None:
    server = serve(server_context(authority.issue_cert("receiver.example")))
    with pytest.raises(RetryableDeliveryError, match=r"its certificate is refused: IP address"):
        make(server.url, ca_file=ca_file).deliver(BATCH)
    with pytest.raises(RetryableDeliveryError, match=r"its certificate is refused: Hostname"):
        make(server.url, ca_file=ca_file, server_name="other.example").deliver(BATCH)
    assert server.requests == []
    make(server.url, ca_file=ca_file, server_name="receiver.example").deliver(BATCH)
    assert server.taken == [1]


def test_the_dates_are_checked(
    make: Callable[..., HttpCollector],
    authority: trustme.CA,
    serve: Callable[[ssl.SSLContext], HonestServer],
    ca_file: str,
) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    expired = authority.issue_cert("127.0.0.1", not_before=past, not_after=past.replace(month=2))
    server = serve(server_context(expired))
    with pytest.raises(RetryableDeliveryError, match=r"certificate has expired"):
        make(server.url, ca_file=ca_file).deliver(BATCH)
    assert server.requests == []


def test_the_purpose_is_checked(
    make: Callable[..., HttpCollector],
    serve: Callable[[ssl.SSLContext], HonestServer],
    tmp_path: Path,
) -> None:
    """A certificate of a client is none of a server, whoever has issued it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = serve(context)
    with pytest.raises(RetryableDeliveryError, match=r"certificate is refused: .*purpose"):
        make(server.url, ca_file=str(path)).deliver(BATCH)
    assert server.requests == []


def test_old_versions_are_refused(
    make: Callable[..., HttpCollector],
    authority: trustme.CA,
    serve: Callable[[ssl.SSLContext], HonestServer],
    ca_file: str,
) -> None:
    context = server_context(authority.issue_cert("127.0.0.1"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = serve(context)
    with pytest.raises(RetryableDeliveryError, match=r"TLS failed: "):
        make(server.url, ca_file=ca_file, tls_minimum="1.3").deliver(BATCH)
    make(server.url, ca_file=ca_file).deliver(BATCH)
    assert server.taken == [1]


def test_turning_the_check_off_is_announced_at_each_start(
    make: Callable[..., HttpCollector], secured: HonestServer
) -> None:
    for _ in range(2):
        with structlog.testing.capture_logs() as logs:
            collector = make(secured.url, verify=False)
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [
            ("tls_verification_off", "warning")
        ]
        collector.deliver(BATCH)
    assert secured.taken == [1, 1]


def test_a_safe_start_announces_nothing(
    make: Callable[..., HttpCollector], secured: HonestServer, ca_file: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        make(secured.url, ca_file=ca_file)
        make("http://127.0.0.1:1/")
    assert logs == []


def test_credentials_without_tls_are_announced(
    make: Callable[..., HttpCollector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_HERE", "s3cr3t")
    with structlog.testing.capture_logs() as logs:
        make("http://127.0.0.1:1/", token_env="TOKEN_HERE")
        make("http://localhost:1/", token_env="TOKEN_HERE")
        make("http://[::1]:1/", token_env="TOKEN_HERE")
        make("http://collector.example/")
    assert logs == []
    with structlog.testing.capture_logs() as logs:
        make("http://collector.example/", token_env="TOKEN_HERE")
        make("http://localhost.example/", token_env="TOKEN_HERE")
    assert [entry["event"] for entry in logs] == ["credentials_unencrypted"] * 2
    assert "s3cr3t" not in str(logs)


def test_a_client_certificate_is_shown(
    make: Callable[..., HttpCollector],
    demanding: HonestServer,
    authority: trustme.CA,
    ca_file: str,
    tmp_path: Path,
) -> None:
    make(demanding.url, ca_file=ca_file, **write_identity(authority, tmp_path, "one")).deliver(
        BATCH
    )
    assert names(demanding) == ["one"]


def test_a_refusal_by_the_server_is_noticed_at_once(
    make: Callable[..., HttpCollector], demanding: HonestServer, ca_file: str
) -> None:
    collector = make(demanding.url, ca_file=ca_file)
    before = time.monotonic()
    with pytest.raises(RetryableDeliveryError, match=r"TLS failed|the connection broke"):
        collector.deliver(BATCH)
    assert time.monotonic() - before < 1
    assert demanding.taken == []


def test_a_changed_certificate_is_used_for_the_next_batch(
    make: Callable[..., HttpCollector],
    demanding: HonestServer,
    authority: trustme.CA,
    ca_file: str,
    tmp_path: Path,
) -> None:
    collector = make(demanding.url, ca_file=ca_file, **write_identity(authority, tmp_path, "one"))
    collector.deliver(BATCH)
    write_identity(authority, tmp_path, "two")
    collector.deliver(BATCH)
    collector.deliver(BATCH)
    assert names(demanding) == ["one", "two", "two"]


def test_a_half_written_certificate_does_not_replace_a_good_one(
    make: Callable[..., HttpCollector],
    demanding: HonestServer,
    authority: trustme.CA,
    ca_file: str,
    tmp_path: Path,
) -> None:
    paths = write_identity(authority, tmp_path, "one")
    collector = make(demanding.url, ca_file=ca_file, **paths)
    collector.deliver(BATCH)
    whole = (tmp_path / "client.pem").read_bytes()
    (tmp_path / "client.pem").write_bytes(whole[: len(whole) // 2])
    with structlog.testing.capture_logs() as logs:
        collector.deliver(BATCH)
        collector.deliver(BATCH)
    assert [entry["event"] for entry in logs] == ["certificates_kept"]
    write_identity(authority, tmp_path, "two")
    collector.deliver(BATCH)
    assert names(demanding) == ["one", "one", "one", "two"]


def test_a_reopened_collector_keeps_a_good_certificate_too(
    make: Callable[..., HttpCollector],
    demanding: HonestServer,
    authority: trustme.CA,
    ca_file: str,
    tmp_path: Path,
) -> None:
    collector = make(demanding.url, ca_file=ca_file, **write_identity(authority, tmp_path, "one"))
    (tmp_path / "client.key").unlink()
    with structlog.testing.capture_logs():
        collector.reopen()
        collector.deliver(BATCH)
    assert names(demanding) == ["one"]


def test_changed_authorities_are_obeyed(
    make: Callable[..., HttpCollector], secured: HonestServer, ca_file: str
) -> None:
    collector = make(secured.url, ca_file=ca_file)
    collector.deliver(BATCH)
    trustme.CA().cert_pem.write_to_path(ca_file)
    with pytest.raises(RetryableDeliveryError, match=r"its certificate is refused"):
        collector.deliver(BATCH)


def test_an_encrypted_key_needs_its_password(
    make: Callable[..., HttpCollector],
    demanding: HonestServer,
    authority: trustme.CA,
    ca_file: str,
    tmp_path: Path,
) -> None:
    paths = write_identity(authority, tmp_path, "one")
    key = serialization.load_pem_private_key((tmp_path / "client.key").read_bytes(), None)
    (tmp_path / "client.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"s3cr3t"),
        )
    )
    with pytest.raises(ConfigError, match=r"set client_key_password_file if the key is encrypted"):
        make(demanding.url, ca_file=ca_file, **paths)
    password = tmp_path / "password"
    password.write_text("wrong\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"collector 'h': client certificate .* is not usable"):
        make(demanding.url, ca_file=ca_file, client_key_password_file=str(password), **paths)
    password.write_text("s3cr3t\n", encoding="utf-8")
    make(demanding.url, ca_file=ca_file, client_key_password_file=str(password), **paths).deliver(
        BATCH
    )
    assert names(demanding) == ["one"]


def test_a_key_of_another_certificate_is_a_mistake_of_the_configuration(
    make: Callable[..., HttpCollector], authority: trustme.CA, tmp_path: Path
) -> None:
    paths = write_identity(authority, tmp_path, "one")
    authority.issue_cert("x.example").private_key_pem.write_to_path(paths["client_key_file"])
    with pytest.raises(ConfigError, match=r"is not usable: key values mismatch"):
        make("https://127.0.0.1:1/", **paths)


def test_the_environment_is_not_read(
    make: Callable[..., HttpCollector],
    secured: HonestServer,
    ca_file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with pytest.raises(RetryableDeliveryError, match=r"its certificate is refused"):
        make(secured.url).deliver(BATCH)
    make(secured.url, ca_file=ca_file).deliver(BATCH)
    assert not (tmp_path / "keys").exists()


def test_tls_where_the_server_speaks_none(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, ca_file: str
) -> None:
    url = scripted.url.replace("http://", "https://")
    with pytest.raises(RetryableDeliveryError, match=r"TLS failed|the connection broke|no conn"):
        make(url, ca_file=ca_file, connect_timeout_seconds=0.2).deliver(BATCH)


def test_a_stalled_handshake_is_given_up(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    """A server that says nothing at all, where TLS is expected."""
    url = scripted.url.replace("http://", "https://")
    before = time.monotonic()
    with pytest.raises(RetryableDeliveryError, match=r"no connection within 0.2 s"):
        make(url, connect_timeout_seconds=0.2).deliver(BATCH)
    with pytest.raises(RetryableDeliveryError, match=r"no complete answer within 0.2 s"):
        make(url, timeout_seconds=0.2).deliver(BATCH)
    assert time.monotonic() - before < 4


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "httpx2" else find_spec(name)
    )
    collector = HttpCollector(HttpOptions(url="http://127.0.0.1:1/"), name="h")
    with pytest.raises(ConfigError, match=r"pip install 'trireme-collector\[http\]'") as caught:
        collector.open()
    assert exit_code_of(caught.value) == ExitCode.MISSING_EXTRA


def test_a_missing_secret_is_a_mistake_of_the_configuration(
    make: Callable[..., HttpCollector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NONE_SUCH", raising=False)
    with pytest.raises(ConfigError, match=r"collector 'h': the token .environment variable NONE"):
        make("https://127.0.0.1:1/", token_env="NONE_SUCH")
