"""Connections that break, receivers that stall, templates that get lost."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from trireme_collector import EndPoint, FlowRecord, RetryableDeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugins.ipfix.receivers import TcpReceiver, UdpReceiver
    from trireme_collector_ipfix import IpfixCollector


def flows(count: int, first: int = 1) -> list[FlowRecord]:
    return [
        FlowRecord(
            source=EndPoint(ip="192.0.2.1", port=n % 60_000),
            destination=EndPoint(ip="192.0.2.2", port=443),
            l4_protocol=6,
            count=1,
            sequence=n,
        )
        for n in range(first, first + count)
    ]


def deliver_again_and_again(collector: IpfixCollector, count: int) -> None:
    for start in range(1, 2000 * count, count):
        collector.deliver(flows(count, start))


def unused_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_session_over_tcp_tells_its_templates_once(
    tcp: TcpReceiver, make: Callable[..., IpfixCollector]
) -> None:
    collector = make(tcp.port, "tcp")
    collector.deliver(flows(500))
    collector.deliver(flows(500, 501))
    assert len(tcp.wait(1000)) == 1000
    (session,) = tcp.sessions
    assert (session.templates, session.gaps) == (1, 0)
    collector.reopen()
    collector.deliver(flows(1, 1001))
    tcp.wait(1001)
    assert [s.templates for s in tcp.sessions] == [1, 1]


def test_templates_come_again_over_udp(
    udp: UdpReceiver, make: Callable[..., IpfixCollector]
) -> None:
    now = [0.0]
    collector = make(udp.port, "udp", monotonic=lambda: now[0], template_interval_seconds=60)
    for seconds in (0.0, 30.0, 59.0, 60.0, 61.0, 120.0):
        now[0] = seconds
        collector.deliver(flows(1))
    assert len(udp.read(6)) == 6
    assert udp.collecting.templates == 3
    assert udp.collecting.gaps == 0


def test_a_batch_over_udp_is_packed(udp: UdpReceiver, make: Callable[..., IpfixCollector]) -> None:
    make(udp.port, "udp").deliver(flows(100))
    assert len(udp.read(100)) == 100
    assert udp.messages < 6


def test_nobody_listens(make: Callable[..., IpfixCollector]) -> None:
    collector = make(unused_port(socket.SOCK_STREAM), "tcp")
    with pytest.raises(RetryableDeliveryError, match="nothing listens there") as caught:
        collector.deliver(flows(10))
    assert "collector 'i' cannot export to tcp 127.0.0.1 port" in str(caught.value)
    assert caught.value.delivered == 0


def test_the_name_cannot_be_resolved(make: Callable[..., IpfixCollector]) -> None:
    with pytest.raises(RetryableDeliveryError, match="the name cannot be resolved"):
        make(4739, "udp", host="collector.invalid").deliver(flows(1))


def test_a_refusal_over_udp_is_noticed_with_the_next_message(
    make: Callable[..., IpfixCollector],
) -> None:
    collector = make(unused_port(socket.SOCK_DGRAM), "udp", max_message_bytes=512)
    with pytest.raises(RetryableDeliveryError, match="nothing listens there") as caught:
        deliver_again_and_again(collector, 100)
    assert caught.value.delivered < 100
    assert collector._exporter.sequence >= 0


def test_a_receiver_that_does_not_read_has_not_got_it(
    tcp: TcpReceiver, make: Callable[..., IpfixCollector]
) -> None:
    """What its host has acknowledged counts; beyond its buffers nothing does."""
    tcp.reading.clear()
    collector = make(tcp.port, "tcp", send_timeout_seconds=0.2)
    with pytest.raises(RetryableDeliveryError, match="no answer in time") as caught:
        deliver_again_and_again(collector, 5000)
    assert caught.value.delivered == 0
    tcp.reading.set()
    collector.deliver(flows(10))


def test_a_connection_that_ended_is_noticed_before_a_batch(
    tcp: TcpReceiver, make: Callable[..., IpfixCollector]
) -> None:
    collector = make(tcp.port, "tcp")
    collector.deliver(flows(10))
    tcp.wait(10)
    for connection in list(tcp._open):
        connection.shutdown(socket.SHUT_RDWR)
    collector.deliver(flows(10, 11))
    found = [int.from_bytes(record[148], "big") for record in tcp.wait(20)]
    assert found == list(range(1, 21))
    assert len(tcp.sessions) == 2
