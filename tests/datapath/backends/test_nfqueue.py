"""The NetfilterQueue backend against a queue that has the form of the package's."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from trireme_collector.errors import DatapathError, MissingExtraError, PrivilegeError
from trireme_datapath.backends import nfqueue
from trireme_datapath.backends._errors import QueueBusyError
from trireme_datapath.backends._interfaces import InterfaceNames
from trireme_datapath.backends._netlink_socket import QueueSettings
from trireme_datapath.backends._queue_statistics import parse_statistics
from trireme_datapath.backends.nfqueue import NfqueueBackend
from trireme_datapath.packets import Decision, QueuedPacket, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.engine import Engine


class FakePacket:
    """A packet that lives only during its callback, as NetfilterQueue's does."""

    hook, indev, outdev, physindev, physoutdev = 2, 3, 4, 0, 0

    def __init__(self, number: int, payload: bytes, mark: int = 0) -> None:
        self.id = number
        self._payload = payload
        self._mark = mark
        self.calls: list[object] = []

    def get_payload(self) -> bytes:
        assert not self.calls, "the payload is gone after the verdict"
        return self._payload

    def get_mark(self) -> int:
        return self._mark

    def set_mark(self, mark: int) -> None:
        self.calls.append(mark)

    def accept(self) -> None:
        self.calls.append("accept")

    def drop(self) -> None:
        self.calls.append("drop")

    def repeat(self) -> None:
        self.calls.append("repeat")


class FakeQueue:
    """What `netfilterqueue.NetfilterQueue` is, without a kernel."""

    failure: OSError | None = None

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.packets: list[FakePacket] = []
        self.unbound = False

    def bind(self, number: int, callback: Callable[[Any], None], **settings: int) -> None:
        if self.failure:
            raise self.failure
        self.bound, self.callback, self.settings = number, callback, settings

    def get_fd(self) -> int:
        return self.read

    def put(self, *packets: FakePacket) -> None:
        self.packets += packets
        os.write(self.write, b"x")

    def run(self, *, block: bool) -> None:
        assert not block
        os.read(self.read, 100)
        packets, self.packets = self.packets, []
        for one in packets:
            self.callback(one)

    def unbind(self) -> None:
        self.unbound = True


class FakeEngine:
    """Answers with the decision that the first payload byte stands for."""

    def __init__(self) -> None:
        self.seen: list[tuple[QueuedPacket, int]] = []
        self.decide: Callable[[QueuedPacket], Decision] = lambda _: Decision(verdict=Verdict.ACCEPT)

    def receive(self, packet: QueuedPacket, now_ns: int) -> Decision:
        self.seen.append((packet, now_ns))
        return self.decide(packet)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> type[FakeQueue]:
    fake = ModuleType("netfilterqueue")
    fake.NetfilterQueue = FakeQueue  # type: ignore[attr-defined]  # a module made for the test
    monkeypatch.setitem(sys.modules, "netfilterqueue", fake)
    monkeypatch.setattr(FakeQueue, "failure", None)
    return FakeQueue


def opened(settings: QueueSettings | None = None) -> tuple[NfqueueBackend, FakeEngine, FakeQueue]:
    engine = FakeEngine()
    backend = NfqueueBackend(
        7,
        cast("Engine", engine),
        settings,
        interfaces=InterfaceNames(lambda index: f"eth{index}"),
    )
    return backend, engine, cast("FakeQueue", backend._queue)


V4 = bytes(IP(src="192.0.2.1", dst="10.0.0.2") / UDP() / Raw(b"x" * 500))
V6 = bytes(IPv6(src="fd00::1", dst="fd00::2") / UDP() / Raw(b"x" * 500))


@pytest.mark.usefixtures("module")
def test_packets_are_judged_while_they_live() -> None:
    backend, engine, queue = opened()
    first, second = FakePacket(1, V4[:128], mark=6), FakePacket(2, V6[:128])
    queue.put(first, second)
    assert backend.drain(99) == []
    assert (first.calls, second.calls) == (["accept"], ["accept"])
    packet, now_ns = engine.seen[0]
    assert now_ns == 99
    assert packet == QueuedPacket(
        data=V4[:128],
        original_length=528,
        hook=2,
        indev="eth3",
        outdev="eth4",
        mark=6,
        packet_id=1,
    )
    assert engine.seen[1][0].original_length == 548
    assert queue.settings == {"max_len": 8192, "range": 128, "sock_len": 8192 * 832}
    backend.close()
    backend.close()
    assert queue.unbound


@pytest.mark.usefixtures("module")
def test_nothing_waits_nothing_is_read() -> None:
    backend, engine, _ = opened()
    assert backend.drain(1) == []
    assert engine.seen == []
    backend.close()


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("decision", "calls"),
    [
        (Decision(verdict=Verdict.DROP), ["drop"]),
        (Decision(verdict=Verdict.REPEAT, mark=8), [8, "repeat"]),
        (Decision(verdict=Verdict.ACCEPT, mark=0), [0, "accept"]),
    ],
)
def test_verdict_and_mark_go_back(decision: Decision, calls: list[object]) -> None:
    backend, engine, queue = opened()
    engine.decide = lambda _: decision
    packet = FakePacket(1, V4[:100])
    queue.put(packet)
    backend.drain(1)
    assert packet.calls == calls
    assert engine.seen[0][0].original_length is None, "shorter than the copy range: all of it"
    backend.close()


@pytest.mark.usefixtures("module")
def test_a_packet_that_the_engine_fails_on_is_dropped_and_counted() -> None:
    backend, engine, queue = opened()

    def fail(packet: QueuedPacket) -> Decision:
        if packet.packet_id == 1:
            raise ZeroDivisionError
        return Decision(verdict=Verdict.ACCEPT)

    engine.decide = fail
    packets = FakePacket(1, b""), FakePacket(2, b"")
    queue.put(*packets)
    backend.drain(1)
    assert [one.calls for one in packets] == [["drop"], ["accept"]]
    assert backend.counters == {"packets": 2, "judge_errors": 1}
    backend.close()


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    "settings",
    [
        QueueSettings(copy_range=5_000),
        QueueSettings(copy_range=1),
        QueueSettings(fail_open=True),
        QueueSettings(uid_gid=True),
    ],
)
def test_what_the_package_can_not_do_is_refused(settings: QueueSettings) -> None:
    with pytest.raises(DatapathError):
        opened(settings)


def test_refusals_have_a_remedy(module: type[FakeQueue], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "failure", OSError("Failed to create queue 7."))
    monkeypatch.setattr(nfqueue, "read_statistics", dict)
    monkeypatch.setattr(nfqueue, "has_net_admin", lambda: False)
    with pytest.raises(PrivilegeError, match="CAP_NET_ADMIN"):
        opened()
    monkeypatch.setattr(nfqueue, "has_net_admin", lambda: True)
    with pytest.raises(DatapathError, match="nfnetlink_queue"):
        opened()
    held = parse_statistics("7 4000000001 0 2 128 0 0 0 1")
    monkeypatch.setattr(nfqueue, "read_statistics", lambda: held)
    with pytest.raises(QueueBusyError, match="queue 7 is in use by the netlink port 4000000001"):
        opened()


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "netfilterqueue", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'trireme-collector\[nfqueue\]'"):
        opened()
