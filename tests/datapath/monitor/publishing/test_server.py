"""The socket that decisions are published on: clients that come, go, stall and are too many."""

from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING

import pytest

from trireme_collector.errors import ConfigError
from trireme_collector.records import ActionType, FlowRecord, PacketReport, UserRecord
from trireme_collector.socket_path import SocketBusyError
from trireme_collector.testing import MemoryCollector
from trireme_datapath.monitor.publishing import (
    MonitorServer,
    Notifier,
    PublishingCollector,
)
from trireme_datapath.monitor.sources import (
    Event,
    MonitorSocket,
    Payload,
    PayloadType,
    SourceError,
    SourceFault,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "monitor.sock"


@pytest.fixture
def server(path: Path) -> Iterator[MonitorServer]:
    running = MonitorServer(path, client_bytes=65_536).open()
    yield running
    running.close()


@pytest.fixture
def client(path: Path, server: MonitorServer) -> Iterator[MonitorSocket]:
    connected = MonitorSocket(str(path)).open()
    connected.turn()
    server.turn()
    yield connected
    connected.close()


def samples(events: list[Event]) -> list[bytes]:
    return [e.data for e in events if isinstance(e, Payload) and e.type == PayloadType.SAMPLE]


def lost(events: list[Event]) -> int:
    return sum(e.lost for e in events if isinstance(e, Payload) and e.type == PayloadType.LOST)


def test_everybody_gets_every_message(
    path: Path, server: MonitorServer, client: MonitorSocket
) -> None:
    second = MonitorSocket(str(path)).open()
    second.turn()
    server.turn()
    for number in range(5):
        server.publish(bytes((5, number)))
    server.turn()
    expected = [bytes((5, number)) for number in range(5)]
    assert samples(client.read()) == expected
    assert samples(second.read()) == expected
    second.close()
    assert server.counters == {"clients": 2, "refused": 0, "messages": 5, "lost": 0}


def test_nothing_is_made_for_nobody(server: MonitorServer) -> None:
    assert not server.watched
    server.publish(b"\x05")
    assert server.counters["messages"] == 0


def test_a_client_that_went_is_forgotten(server: MonitorServer, client: MonitorSocket) -> None:
    client.close()
    server.turn()
    server.publish(b"\x05")
    assert (server.watched, server.counters["messages"]) == (False, 0)


def test_a_slow_client_is_told_what_it_lost_and_nobody_waits(
    server: MonitorServer, client: MonitorSocket
) -> None:
    message = b"\x05" + bytes(999)
    for _ in range(2000):  # far more than the socket and the buffer hold
        server.publish(message)
        server.turn()
    missed = server.counters["lost"]
    assert missed > 0
    events: list[Event] = []
    for _ in range(200):
        events += client.read()
        server.turn()
    assert not any(isinstance(event, SourceError) for event in events)
    assert lost(events) == missed
    assert len(samples(events)) + missed == 2000
    # From then on it gets everything again.
    server.publish(b"\x05again")
    server.turn()
    assert samples(client.read()) == [b"\x05again"]


def test_a_slow_client_takes_nothing_from_a_quick_one(
    path: Path, server: MonitorServer, client: MonitorSocket
) -> None:
    quick = MonitorSocket(str(path)).open()
    quick.turn()
    server.turn()
    seen = 0
    for _ in range(1500):
        server.publish(b"\x05" + bytes(999))
        server.turn()
        seen += len(samples(quick.read()))
    assert seen == 1500
    assert server.counters["lost"] > 0
    quick.close()
    assert client.connected


def test_too_many_clients_are_sent_away(path: Path) -> None:
    server = MonitorServer(path, max_clients=1).open()
    first, second = (MonitorSocket(str(path)).open() for _ in range(2))
    first.turn()
    second.turn()
    server.turn()
    (error,) = second.read()
    assert isinstance(error, SourceError)
    assert error.fault is SourceFault.CLOSED
    assert server.counters["refused"] == 1
    for opened in (first, second, server):
        opened.close()


def test_what_a_client_says_is_not_listened_to(server: MonitorServer, path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talker:
        talker.connect(str(path))
        server.turn()
        talker.sendall(b"hello" * 1000)
        server.turn()
        assert server.watched


def test_a_new_client_is_greeted(path: Path) -> None:
    server = MonitorServer(path, greeting=lambda: [b"\x82hello"]).open()
    client = MonitorSocket(str(path)).open()
    client.turn()
    server.turn()
    assert samples(client.read()) == [b"\x82hello"]
    client.close()
    server.close()


# The file of the socket.


def test_only_its_owner_may_connect_unless_told(path: Path) -> None:
    for mode in (0o600, 0o660):
        server = MonitorServer(path, mode=mode).open()
        assert stat.S_IMODE(path.stat().st_mode) == mode
        server.close()
        assert not path.exists()


def test_a_socket_that_was_left_behind_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
        dead.listen()
    MonitorServer(path).open().close()


def test_the_socket_of_another_process_is_left_alone(path: Path, server: MonitorServer) -> None:
    del server
    with pytest.raises(SocketBusyError, match="another process has"):
        MonitorServer(path).open()
    assert path.exists()


def test_a_file_of_that_name_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is there and is no socket"):
        MonitorServer(path).open()
    assert path.read_text() == "precious"


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory; create the directory"):
        MonitorServer(tmp_path / "nowhere" / "monitor.sock").open()


# In front of a pipeline.


def test_records_are_handed_on_and_published(server: MonitorServer, client: MonitorSocket) -> None:
    memory = MemoryCollector()
    collector = PublishingCollector(memory, Notifier(), server)
    records = FlowRecord(action=ActionType.ACCEPT), PacketReport(), UserRecord(id="x")
    collector.collect_flow_event(records[0])
    collector.collect_packet_event(records[1])
    collector.collect_user_event(records[2])
    server.turn()
    assert [message[0] for message in samples(client.read())] == [5, 4, 4]
    assert list(memory.records) == list(records)
    for name in dir(memory):
        if name.startswith("collect_"):
            assert callable(getattr(collector, name))
