"""The client of the agent's socket: reading, reconnecting, and every way to fail."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import pytest

from tests.datapath.monitor.monitor_servers import FakeClock, FakeMonitorServer, session
from trireme_datapath.monitor.sources import (
    Event,
    MonitorSocket,
    Payload,
    PayloadType,
    SourceError,
    SourceFault,
    reconnect_delay_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE = Payload(data=b"\x02one", cpu=3)
TWO = Payload(data=b"\x02two", cpu=0)
LOST = Payload(lost=7, cpu=1, type=PayloadType.LOST)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeMonitorServer]:
    with FakeMonitorServer(tmp_path / "monitor.sock") as running:
        yield running


@pytest.fixture
def client(tmp_path: Path, clock: FakeClock) -> Iterator[MonitorSocket]:
    opened = MonitorSocket(str(tmp_path / "monitor.sock"), clock=clock).open()
    yield opened
    opened.close()


def faults(events: list[Event]) -> list[SourceFault]:
    return [event.fault for event in events if isinstance(event, SourceError)]


def readable(client: MonitorSocket) -> bool:
    return bool(select.select([client.fileno()], [], [], 0)[0])


def test_it_reads_what_the_agent_sends(server: FakeMonitorServer, client: MonitorSocket) -> None:
    assert client.turn() == []
    agent = server.accept()
    assert client.connected
    assert not readable(client)
    agent.sendall(session(ONE, TWO, LOST))
    assert readable(client)
    assert client.read() == [ONE, TWO, LOST]
    assert client.read() == []
    assert client.counters["events"] == 3
    assert client.counters["lost"] == 7


def test_zeros_can_be_kept_as_cilium_keeps_them(tmp_path: Path, server: FakeMonitorServer) -> None:
    client = MonitorSocket(str(tmp_path / "monitor.sock"), keep_previous=True).open()
    client.turn()
    server.accept().sendall(session(ONE, TWO))
    first, second = client.read()
    assert isinstance(second, Payload)
    assert (first, second.cpu) == (ONE, 3)
    client.close()


def test_a_closed_connection_is_one_error_and_another_connection(
    server: FakeMonitorServer, client: MonitorSocket, clock: FakeClock
) -> None:
    client.turn()
    agent = server.accept()
    agent.sendall(session(ONE))
    agent.close()
    events = client.read()
    assert events[0] == ONE
    assert faults(events) == [SourceFault.CLOSED]
    assert client.turn() == []
    assert not client.connected
    clock.advance(1)
    assert client.turn() == []
    server.accept().sendall(session(TWO))
    assert client.read() == [TWO]
    assert client.counters["connections"] == 2
    assert client.counters["closed"] == 1


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_connection_that_is_closed_inside_a_message(
    server: FakeMonitorServer, client: MonitorSocket, kept: int
) -> None:
    client.turn()
    agent = server.accept()
    agent.sendall(session(ONE)[:kept])
    agent.close()
    (error,) = client.read()
    assert isinstance(error, SourceError)
    assert error.fault is SourceFault.CUT
    assert "was closed inside a message" in error.message


def test_an_agent_that_stalls_inside_a_message(
    server: FakeMonitorServer, client: MonitorSocket, clock: FakeClock
) -> None:
    client.turn()
    server.accept().sendall(session(ONE, TWO)[:-2])
    assert client.read() == [ONE]
    clock.advance(9.9)
    assert client.turn() == []
    clock.advance(0.2)
    (error,) = client.turn()
    assert isinstance(error, SourceError)
    assert error.fault is SourceFault.STALLED
    assert "says nothing for 10 s inside a message" in error.message
    clock.advance(1)
    client.turn()
    server.accept().sendall(session(TWO))
    assert client.read() == [TWO]


def test_a_quiet_agent_is_no_stalled_one(
    server: FakeMonitorServer, client: MonitorSocket, clock: FakeClock
) -> None:
    client.turn()
    server.accept().sendall(session(ONE))
    assert client.read() == [ONE]
    clock.advance(100_000)
    assert client.turn() == []
    assert client.connected


def test_a_damaged_message_is_one_error_and_the_stream_goes_on(
    server: FakeMonitorServer, client: MonitorSocket
) -> None:
    client.turn()
    before = len(session(ONE))
    damaged = bytearray(session(ONE, TWO, ONE))
    damaged[before + 3] = 0x60
    server.accept().sendall(damaged)
    events = client.read()
    assert [events[0], events[2]] == [ONE, ONE]
    assert faults(events) == [SourceFault.DAMAGED]
    assert client.connected
    assert client.counters["damaged"] == 1


def test_a_session_that_cannot_be_followed_is_left(
    server: FakeMonitorServer, client: MonitorSocket, clock: FakeClock
) -> None:
    client.turn()
    server.accept().sendall(session(ONE) + b"\xfc\x7f\xff\xff\xff" + session(ONE))
    events = client.read()
    assert events[0] == ONE
    assert faults(events) == [SourceFault.UNREADABLE]
    assert not client.connected
    clock.advance(1)
    client.turn()
    assert client.connected


def test_an_agent_that_is_not_there_is_told_once(
    tmp_path: Path, client: MonitorSocket, clock: FakeClock
) -> None:
    told = []
    for _ in range(60):
        told += client.turn()
        clock.advance(1)
    assert faults(told) == [SourceFault.UNREACHABLE]
    assert client.counters["unreachable"] == 8  # after 0, 1, 3, 7, 15, 27, 39 and 51 seconds
    with FakeMonitorServer(tmp_path / "monitor.sock") as server:
        clock.advance(12)
        assert client.turn() == []
        server.accept()
    assert faults(client.read()) == [SourceFault.CLOSED]


def test_the_wait_grows_to_that_of_ciliums_client() -> None:
    waits = [reconnect_delay_seconds(n) for n in (1, 2, 3, 4, 5, 1000)]
    assert waits == [1, 2, 4, 8, 12, 12]


def test_events_until_the_connection_ends(server: FakeMonitorServer, client: MonitorSocket) -> None:
    client.turn()
    agent = server.accept()
    agent.sendall(session(ONE, TWO))
    agent.close()
    events = [event for batch in client.events(reconnect=False) for event in batch]
    assert events[:2] == [ONE, TWO]
    assert faults(events) == [SourceFault.CLOSED]


def test_events_end_where_nobody_listens(tmp_path: Path) -> None:
    client = MonitorSocket(str(tmp_path / "nobody.sock")).open()
    events = [event for batch in client.events(reconnect=False) for event in batch]
    client.close()
    (error,) = events
    assert isinstance(error, SourceError)
    assert "nobody.sock cannot be connected: No such file or directory" in error.message


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    client = MonitorSocket(str(tmp_path / ("x" * 200))).open()
    (error,) = client.turn()
    client.close()
    assert isinstance(error, SourceError)
    assert error.fault is SourceFault.UNREACHABLE
