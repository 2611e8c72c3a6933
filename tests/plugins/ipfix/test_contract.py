"""The IPFIX collector keeps the contract of collectors, over both transports."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.plugins.ipfix.receivers import TcpReceiver, UdpReceiver
from trireme_collector.testing import CollectorContract, Fault
from trireme_collector_ipfix import IpfixCollector, IpfixOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from tests.plugins.ipfix.decoding import DataRecord

_FLOW_ID = 148


def _sequences(records: list[DataRecord]) -> list[int]:
    return [int.from_bytes(record[_FLOW_ID], "big") for record in records]


class TcpHarness:
    """A collecting process over TCP; it can be away, and never refuses a flow."""

    def __init__(self) -> None:
        self.receivers = [TcpReceiver()]
        self.port = self.receivers[0].port
        self.collectors: list[IpfixCollector] = []

    def build(self) -> object:
        return self._build("tcp")

    def _build(self, transport: str) -> IpfixCollector:
        table = {"host": "127.0.0.1", "port": self.port, "transport": transport}
        collector = IpfixCollector(msgspec.convert(table, IpfixOptions), name="contract")
        self.collectors.append(collector)
        return collector

    def received(self) -> Sequence[int]:
        self.stop()  # what was acknowledged is read before the connections end
        return [n for receiver in self.receivers for n in _sequences(receiver.records)]

    def fail(self, fault: Fault) -> AbstractContextManager[object] | None:
        return self._away() if fault is Fault.AWAY else None

    def stop(self) -> None:
        for collector in self.collectors:
            collector.close()
        for receiver in self.receivers:
            receiver.stop()

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        self.receivers[-1].stop()
        try:
            yield
        finally:
            self.receivers.append(TcpReceiver(self.port))


class UdpHarness(TcpHarness):
    """A collecting process over UDP, which nobody can know to be away."""

    def __init__(self) -> None:
        self.receiver = UdpReceiver()
        self.receivers = []
        self.port = self.receiver.port
        self.collectors = []

    def build(self) -> object:
        return self._build("udp")

    def received(self) -> Sequence[int]:
        with contextlib.suppress(TimeoutError):
            while True:
                self.receiver.collecting.message(self.receiver._socket.recv(65_536))
        return _sequences(self.receiver.collecting.records)

    def fail(self, fault: Fault) -> None:
        del fault

    def stop(self) -> None:
        super().stop()
        self.receiver.stop()


class TestIpfixCollector(CollectorContract):
    @pytest.fixture(params=[TcpHarness, UdpHarness])
    def harness(self, request: pytest.FixtureRequest) -> Iterator[TcpHarness]:
        harness: TcpHarness = request.param()
        yield harness
        harness.stop()
