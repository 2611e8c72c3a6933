"""Source and sink of a group speak TLS and log in, and say who is refused."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme

from tests.plugins.kafka.mock_cluster import MockCluster
from tests.plugins.kafka.tls_proxy import Proxy
from tests.plugins.kafka.topics import read
from trireme_collector import TriremeError
from trireme_collector.netobserv.sharing import Partition, PartitionCheckpoint
from trireme_collector_kafka._source_options import KafkaSinkOptions, KafkaSourceOptions
from trireme_collector_kafka.sink import KafkaSink
from trireme_collector_kafka.source import KafkaSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

PASSWORD = "s3cr3t-value"
PATIENCE_SECONDS = 60.0
PLACE = Partition("flows", 0)


class Owner:
    """Takes whatever it is given."""

    def __init__(self) -> None:
        self.checkpoints: dict[Partition, PartitionCheckpoint | None] = {}

    def assigned(self, partition: Partition, checkpoint: PartitionCheckpoint | None) -> None:
        self.checkpoints[partition] = checkpoint

    def revoking(self, partitions: Sequence[Partition]) -> None:
        del partitions

    def lost(self, partitions: Sequence[Partition]) -> None:
        del partitions


class Guarded:
    """A broker that is reached over TLS, and with a password, alone."""

    def __init__(self, cluster: MockCluster, context: ssl.SSLContext, password_file: Path) -> None:
        self.direct = cluster.brokers[0]
        self.proxy = Proxy(self.direct, context=context, check=self._check)
        self._cluster = cluster
        self._password_file = password_file
        self.logins: list[tuple[str, str]] = []

    def _check(self, user: str, password: str) -> bool:
        self.logins.append((user, password))
        return (user, password) == ("u", PASSWORD)

    def options(self, ca_file: str, **more: object) -> dict[str, object]:
        self._cluster.advertise(1, self.proxy.port)
        return {
            "brokers": [f"127.0.0.1:{self.proxy.port}"],
            "tls": True,
            "ca_file": ca_file,
            "sasl_mechanism": "PLAIN",
            "user": "u",
            "password_file": str(self._password_file),
            **more,
        }

    def open_up(self) -> list[str]:
        self._cluster.advertise(1, int(self.direct.rpartition(":")[2]))
        return [self.direct]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    return path


@pytest.fixture
def guarded(authority: trustme.CA, password_file: Path) -> Iterator[Guarded]:
    pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with MockCluster() as cluster:
        for topic in ("flows", "group-state", "conversations"):
            cluster.create(topic, 1)
        found = Guarded(cluster, context, password_file)
        yield found
        found.proxy.close()


def sink(guarded: Guarded, topic: str, ca_file: str, **more: object) -> KafkaSink:
    options = msgspec.convert(guarded.options(ca_file, **more), KafkaSinkOptions)
    return KafkaSink(options, topic)


def source(guarded: Guarded, ca_file: str, **more: object) -> KafkaSource:
    more = {"session_timeout_seconds": 6, **more}
    options = msgspec.convert(guarded.options(ca_file, **more), KafkaSourceOptions)
    return KafkaSource(options, ["flows"], "group")


def eventually(what: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < limit


def test_a_group_reads_keeps_and_writes(guarded: Guarded, ca_file: str) -> None:
    lines = [b'{"n":%d}' % number for number in range(5)]
    writer = sink(guarded, "flows", ca_file)
    writer.write(lines, [str(number) for number in range(5)])
    assert writer.settle(PATIENCE_SECONDS)
    writer.close()

    member, owner = source(guarded, ca_file), Owner()
    member.start(owner)
    found: list[bytes] = []

    def come() -> bool:
        for portion in member.poll(0.2):
            found.extend(portion.values)
        return len(found) == 5

    eventually(come)
    assert found == lines
    member.keep({PLACE: PartitionCheckpoint(offset=5, note="{}", states=(b"live",))})
    member.close()

    heir, later = source(guarded, ca_file), Owner()
    heir.start(later)
    eventually(lambda: [*heir.poll(0.2)] or PLACE in later.checkpoints)
    heir.close()
    kept = later.checkpoints[PLACE]
    assert kept is not None
    assert (kept.offset, kept.note, kept.states) == (5, "{}", (b"live",))
    assert set(guarded.logins) == {("u", PASSWORD)}
    assert [message.value for message in read(guarded.open_up(), "flows")] == lines


def test_a_wrong_password_is_told_and_not_shown(
    guarded: Guarded, ca_file: str, password_file: Path
) -> None:
    password_file.write_text("wrong-value", encoding="utf-8")
    with pytest.raises(TriremeError, match="user") as refused:
        source(guarded, ca_file, timeout_seconds=3).start(Owner())
    assert "wrong-value" not in str(refused.value)
    writer = sink(guarded, "conversations", ca_file)
    writer.write([b"{}"], ["1"])
    assert not writer.settle(1.0)
    writer.close()


def test_a_certificate_of_somebody_else_is_told(guarded: Guarded, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    with pytest.raises(TriremeError, match="TLS"):
        source(guarded, str(tmp_path / "other.pem"), timeout_seconds=3).start(Owner())
