"""Over RELP records survive a receiver that dies, and a refused one costs itself."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.plugins.syslog.relp_server import RelpServer
from trireme_collector import PacketReport, PermanentDeliveryError, RetryableDeliveryError
from trireme_collector_syslog import SyslogCollector, SyslogOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def reports(*numbers: int) -> list[PacketReport]:
    return [PacketReport(packet_id=number, sequence=number) for number in numbers]


@pytest.fixture
def server() -> Iterator[RelpServer]:
    server = RelpServer()
    yield server
    server.close()


@pytest.fixture
def make(server: RelpServer) -> Iterator[Callable[..., SyslogCollector]]:
    made: list[SyslogCollector] = []

    def build(**more: object) -> SyslogCollector:
        table = {"transport": "relp", "port": server.port, "send_timeout_seconds": 5, **more}
        made.append(SyslogCollector(msgspec.convert(table, SyslogOptions), name="s"))
        return made[-1]

    yield build
    for collector in made:
        collector.close()


def test_records_are_delivered_and_the_session_ends_in_order(
    make: Callable[..., SyslogCollector], server: RelpServer
) -> None:
    collector = make(relp_window=2)
    collector.open()
    collector.deliver(reports(*range(300)))
    collector.close()
    assert server.taken == list(range(300))
    assert (server.sessions, server.closed_in_order) == (1, 1)


def test_what_a_dead_receiver_did_not_acknowledge_is_sent_again(
    make: Callable[..., SyslogCollector], server: RelpServer
) -> None:
    server.dies_at = {5, 17}
    collector = make(relp_window=8)
    batch = reports(*range(30))
    done = 0
    while done < len(batch):
        try:
            collector.deliver(batch[done:])
            done = len(batch)
        except RetryableDeliveryError as failure:
            done += failure.delivered
    collector.close()
    assert sorted(set(server.taken)) == list(range(30))
    assert server.sessions == 3
    assert len(server.seen) <= 30 + 2 * 8


def test_a_refused_record_is_the_only_one_lost(
    make: Callable[..., SyslogCollector], server: RelpServer
) -> None:
    server.refuses = {3}
    collector = make()
    batch = reports(*range(6))
    with pytest.raises(PermanentDeliveryError, match="500 cannot; see its log") as caught:
        collector.deliver(batch)
    assert (caught.value.delivered, caught.value.rejected) == (3, 1)
    collector.deliver(batch[4:])
    collector.close()
    assert server.seen == [0, 1, 2, 3, 4, 5]


def test_a_late_acknowledgement_is_waited_for_on_the_same_connection(
    make: Callable[..., SyslogCollector], server: RelpServer
) -> None:
    server.silent_at = {2}
    ticks = iter(range(1_000))
    collector = make(send_timeout_seconds=0.5)
    # Records without a time have that of their sending: what waits must stay as it was.
    collector._time_ns = lambda: next(ticks) * 1_000_000_000
    batch = reports(*range(3))
    with pytest.raises(RetryableDeliveryError, match="no answer in time") as caught:
        collector.deliver(batch)
    assert caught.value.delivered == 2
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(batch[2:]), type=list[PacketReport])
    collector.deliver([*again, *reports(3)])
    collector.close()
    assert server.seen == [0, 1, 2, 3]
    assert server.sessions == 1


def test_what_is_not_relp_is_explained(make: Callable[..., SyslogCollector]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(RetryableDeliveryError, match="check that port is one for RELP"):
            make(port=listener.getsockname()[1]).deliver(reports(1))
        thread.join(10)
