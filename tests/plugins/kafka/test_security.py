"""TLS is checked, users are authenticated, and no secret is told."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme
from structlog.testing import capture_logs

from tests.plugins.kafka.mock_cluster import MockCluster
from tests.plugins.kafka.scram import ScramServer
from tests.plugins.kafka.test_faults import flows, numbers
from tests.plugins.kafka.tls_proxy import Proxy
from trireme_collector import ConfigError, RefusedCredentialsError, RetryableDeliveryError
from trireme_collector_kafka import KafkaCollector, KafkaOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PASSWORD = "s3cr3t-value"


class Secured:
    """A broker behind a proxy."""

    def __init__(self, cluster: MockCluster, topic: str) -> None:
        self.cluster = cluster
        self.topic = topic
        self.direct = cluster.brokers[0]
        self.proxies: list[Proxy] = []

    def behind(
        self,
        *,
        context: ssl.SSLContext | None = None,
        check: Callable[[str, str], bool] | None = None,
        scram: Callable[[], ScramServer] | None = None,
    ) -> list[str]:
        proxy = Proxy(self.direct, context=context, check=check, scram=scram)
        self.proxies.append(proxy)
        self.cluster.advertise(1, proxy.port)
        return [f"127.0.0.1:{proxy.port}"]

    def received(self) -> list[int]:
        self.cluster.advertise(1, int(self.direct.rpartition(":")[2]))
        return numbers(self.cluster, self.topic)


@pytest.fixture
def secured() -> Iterator[Secured]:
    pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")
    with MockCluster() as cluster:
        cluster.create("records")
        found = Secured(cluster, "records")
        yield found
        for proxy in found.proxies:
            proxy.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


def server(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    return path


def test_records_go_through_tls(
    secured: Secured, authority: trustme.CA, ca_file: str, make: Callable[..., KafkaCollector]
) -> None:
    brokers = secured.behind(context=server(authority, "127.0.0.1"))
    make(brokers, tls=True, ca_file=ca_file).deliver(flows(5))
    assert secured.received() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_certificate_that_does_not_fit_is_refused(
    secured: Secured,
    authority: trustme.CA,
    ca_file: str,
    make: Callable[..., KafkaCollector],
    wrong: str,
) -> None:
    other = trustme.CA() if wrong == "authority" else authority
    name = "127.0.0.1" if wrong == "authority" else "other.example"
    brokers = secured.behind(context=server(other, name))
    collector = make(brokers, tls=True, ca_file=ca_file)
    with pytest.raises(RetryableDeliveryError, match=r"TLS failed.*check ca_file") as caught:
        collector.deliver(flows(5))
    assert caught.value.delivered == 0
    assert secured.received() == []


def test_a_check_that_is_off_is_announced(
    secured: Secured, authority: trustme.CA, make: Callable[..., KafkaCollector]
) -> None:
    brokers = secured.behind(context=server(authority, "other.example"))
    with capture_logs() as logs:
        collector = make(brokers, tls=True, verify=False)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("tls_verification_off", "warning")
    ]
    collector.deliver(flows(5))
    assert secured.received() == [1, 2, 3, 4, 5]


def test_a_client_shows_its_certificate(
    secured: Secured,
    authority: trustme.CA,
    ca_file: str,
    tmp_path: Path,
    make: Callable[..., KafkaCollector],
) -> None:
    context = server(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    brokers = secured.behind(context=context)
    certificate = authority.issue_cert("client.example")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    with pytest.raises(RetryableDeliveryError):
        make(brokers, tls=True, ca_file=ca_file, timeout_seconds=1).deliver(flows(5))
    collector = make(
        brokers, tls=True, ca_file=ca_file, client_certificate_file=str(tmp_path / "client.pem")
    )
    collector.deliver(flows(5))
    assert secured.received() == [1, 2, 3, 4, 5]


def test_a_changed_certificate_is_used(
    secured: Secured,
    authority: trustme.CA,
    tmp_path: Path,
    make: Callable[..., KafkaCollector],
) -> None:
    brokers = secured.behind(context=server(authority, "127.0.0.1"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "later.pem"))
    collector = make(brokers, tls=True, ca_file=str(tmp_path / "later.pem"))
    with pytest.raises(RetryableDeliveryError, match="TLS failed"):
        collector.deliver(flows(5))
    authority.cert_pem.write_to_path(str(tmp_path / "later.pem"))
    collector.deliver(flows(5))
    assert secured.received() == [1, 2, 3, 4, 5]


def test_a_user_logs_in(
    secured: Secured, password_file: Path, make: Callable[..., KafkaCollector]
) -> None:
    brokers = secured.behind(check=lambda user, password: (user, password) == ("u", PASSWORD))
    with capture_logs() as logs:
        collector = make(
            brokers, sasl_mechanism="PLAIN", user="u", password_file=str(password_file)
        )
    assert [entry["event"] for entry in logs] == ["credentials_unencrypted"]
    assert PASSWORD not in str(logs)
    collector.deliver(flows(5))
    assert secured.received() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_user_logs_in_without_sending_the_password(
    mechanism: str, secured: Secured, password_file: Path, make: Callable[..., KafkaCollector]
) -> None:
    brokers = secured.behind(scram=lambda: ScramServer(mechanism, "u", PASSWORD))
    secret = {"user": "u", "password_file": str(password_file)}
    make(brokers, sasl_mechanism=mechanism, **secret).deliver(flows(5))
    assert set(secured.proxies[0].logins) == {"u"}
    assert secured.received() == [1, 2, 3, 4, 5]
    brokers = secured.behind(scram=lambda: ScramServer(mechanism, "u", "another"))
    refused = make(brokers, sasl_mechanism=mechanism, **secret)
    with pytest.raises(RefusedCredentialsError, match="do not accept the user") as caught:
        refused.deliver(flows(5))
    assert PASSWORD not in str(caught.value)


def test_a_mechanism_that_brokers_do_not_speak_is_told(
    secured: Secured, password_file: Path, make: Callable[..., KafkaCollector]
) -> None:
    brokers = secured.behind(check=lambda _user, _password: True)
    collector = make(
        brokers, sasl_mechanism="SCRAM-SHA-256", user="u", password_file=str(password_file)
    )
    with pytest.raises(RefusedCredentialsError, match=r"do not speak this sasl_mechanism .*PLAIN"):
        collector.deliver(flows(5))


def test_a_wrong_password_pauses_and_a_mended_one_works(
    secured: Secured, password_file: Path, make: Callable[..., KafkaCollector]
) -> None:
    brokers = secured.behind(check=lambda user, password: (user, password) == ("u", "better"))
    collector = make(brokers, sasl_mechanism="PLAIN", user="u", password_file=str(password_file))
    with pytest.raises(RefusedCredentialsError, match="do not accept the user") as caught:
        collector.deliver(flows(5))
    assert PASSWORD not in str(caught.value)
    assert caught.value.delivered == 0
    password_file.write_text("better", encoding="utf-8")
    collector.deliver(flows(5))
    assert secured.received() == [1, 2, 3, 4, 5]


def test_a_secret_is_nowhere_to_be_seen(
    password_file: Path, make: Callable[..., KafkaCollector], capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")
    collector = make(
        ["127.0.0.1:1"], sasl_mechanism="PLAIN", user="u", password_file=str(password_file)
    )
    shown = repr(collector) + repr(vars(collector)) + str(capfd.readouterr())
    assert PASSWORD not in shown


def test_files_that_the_library_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")
    path = tmp_path / "bad.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "utf-8")
    options = KafkaOptions(
        brokers=["127.0.0.1:1"], topic="t", tls=True, client_certificate_file=str(path)
    )
    collector = KafkaCollector(options, name="k")
    with pytest.raises(ConfigError, match=r"collector 'k': .*ssl.certificate.location"):
        collector.open()
    collector.close()
    assert capfd.readouterr() == ("", "")


def test_a_secret_that_is_missing_is_a_mistake_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")
    monkeypatch.delenv("NONE_SUCH", raising=False)
    table = {
        "brokers": ["127.0.0.1:1"],
        "topic": "t",
        "sasl_mechanism": "SCRAM-SHA-512",
        "user": "u",
        "password_env": "NONE_SUCH",
    }
    collector = KafkaCollector(msgspec.convert(table, KafkaOptions), name="k")
    with pytest.raises(ConfigError, match=r"environment variable NONE_SUCH.*not set"):
        collector.open()
