"""The parts of the netlink backend: layouts, receive ring, interface names, statistics."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from tests.datapath.backends.netlink_messages import packet_message
from tests.fuzz.fuzz_netlink import TARGET
from tests.fuzz.harness import fuzz
from trireme_collector.errors import DatapathError, PrivilegeError
from trireme_datapath.backends import _netlink_socket
from trireme_datapath.backends._errors import QueueBusyError
from trireme_datapath.backends._interfaces import InterfaceNames
from trireme_datapath.backends._netlink_layout import discover, may_widen
from trireme_datapath.backends._netlink_socket import (
    NetlinkQueue,
    QueueSettings,
    memory_per_packet,
)
from trireme_datapath.backends._queue_statistics import (
    QueueStatistics,
    holder_of,
    parse_statistics,
    read_statistics,
)
from trireme_datapath.backends._receive_ring import ReceiveRing

if TYPE_CHECKING:
    from pathlib import Path

SLOT = 320
TCP4 = bytes(IP(src="192.0.2.1", dst="10.0.0.2") / TCP(sport=258, dport=772, flags="SA"))
UDP6 = bytes(IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=258, dport=772) / (b"x" * 20))


def slot(message: bytes) -> memoryview:
    return memoryview(message.ljust(SLOT, b"\xee"))


def test_a_row_of_ipv4() -> None:
    message = packet_message(9, TCP4)
    layout = discover(memoryview(message), SLOT)
    assert layout is not None
    ((number, key, _, first, total, kind, flow, _, word),) = layout.rows(slot(message))
    assert (key, number) == (layout.key, 9)
    assert (first, total, kind & 0x3FFF00FF) == (0x45, 40, 6)
    assert flow == bytes([192, 0, 2, 1, 10, 0, 0, 2, 1, 2, 3, 4])
    assert word == 0x5012


def test_a_row_of_ipv6() -> None:
    message = packet_message(9, UDP6, outdev=3, hook=2)
    layout = discover(memoryview(message), SLOT)
    assert layout is not None
    ((_, _, _, first, total, kind, flow, udp_length, _),) = layout.rows(slot(message))
    assert (first >> 4, total, kind) == (6, 68, 17)
    assert flow == UDP6[8:44]
    assert udp_length == 28


@pytest.mark.parametrize(
    "other",
    [
        packet_message(9, TCP4, hook=2),
        packet_message(9, TCP4, indev=3),
        packet_message(9, TCP4, mark=1),
        packet_message(9, TCP4, outdev=1),
        packet_message(9, TCP4, info=1),
        packet_message(9, TCP4 + bytes(200)),
        packet_message(9, TCP4, timestamp=(1, 2)),
        packet_message(9, TCP4, owner=(0, 0)),
    ],
)
def test_another_kind_does_not_match(other: bytes) -> None:
    layout = discover(memoryview(packet_message(9, TCP4)), SLOT)
    assert layout is not None
    assert not layout.matches(memoryview(other))
    assert layout.matches(memoryview(packet_message(10, TCP4)))


def test_rows_of_another_kind_do_not_pass_for_this_one() -> None:
    kinds = [
        packet_message(1, TCP4),
        packet_message(1, TCP4, info=1),
        packet_message(1, TCP4 + bytes(200)),
        packet_message(1, TCP4 + bytes(200), info=1),
        packet_message(1, TCP4, timestamp=(1, 2)),
        packet_message(1, TCP4, hardware=b"123456"),
    ]
    for one in kinds:
        layout = discover(memoryview(one), SLOT)
        assert layout is not None
        for other in kinds:
            (row,) = layout.rows(slot(other))
            attribute_length = int.from_bytes(row[2].to_bytes(2, "big"), "little")
            looks_alike = row[1] == layout.key and attribute_length >= 44
            assert looks_alike == (one is other)


def test_a_changing_value_can_be_stepped_over() -> None:
    one = packet_message(1, TCP4, hardware=b"123456", timestamp=(1, 2), owner=(3, 4))
    other = packet_message(2, TCP4, hardware=b"abcdef", timestamp=(5, 6), owner=(7, 8))
    strict = discover(memoryview(one), SLOT)
    wide = discover(memoryview(one), SLOT, may_widen(memoryview(one)))
    assert strict is not None
    assert wide is not None
    assert not strict.matches(memoryview(other))
    assert wide.matches(memoryview(other))
    (row,) = wide.rows_at(slot(other), [0])
    assert row[1] == wide.key
    assert row[6] == TCP4[12:24]


@pytest.mark.parametrize(
    "message", [b"", packet_message(1, b""), packet_message(1, b"\x15" * 60), bytes(60)]
)
def test_what_no_struct_can_read_has_no_layout(message: bytes) -> None:
    assert discover(memoryview(message), SLOT) is None


def test_the_ring_takes_many_messages_at_once() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ring = ReceiveRing(4, 8)
        assert ring.receive(theirs.fileno()) == 0
        for one in (b"a", b"bcd", b"0123456789", b"", b"last"):
            ours.send(one)
        assert ring.receive(theirs.fileno()) == 4
        assert [bytes(ring.message(i)) for i in range(4)] == [b"a", b"bcd", b"01234567", b""]
        assert ring.receive(theirs.fileno()) == 1
        assert bytes(ring.message(0)) == b"last"
        assert ring.length(0) == 4
    with pytest.raises(OSError, match="descriptor"):
        ring.receive(theirs.fileno())


def test_names_are_remembered_and_asked_again() -> None:
    names = {2: "eth0", 3: "eth1"}
    asked: list[int] = []

    def lookup(index: int) -> str:
        asked.append(index)
        if index not in names:
            raise OSError(19, "No such device")
        return names[index]

    interfaces = InterfaceNames(lookup)
    assert [interfaces.name(one) for one in (2, 2, 3, 0, 9)] == ["eth0", "eth0", "eth1", "", ""]
    assert asked == [2, 3, 9]
    assert not interfaces.refresh(10**18)
    names[2] = "uplink"
    assert not interfaces.refresh(10**18 + 1), "not yet time"
    assert interfaces.name(2) == "eth0"
    assert interfaces.refresh(10**18 + 10**10)
    assert interfaces.name(2) == "uplink"


def test_the_names_are_bounded() -> None:
    interfaces = InterfaceNames(str)
    for index in range(1, 3_000):
        assert interfaces.name(index) == str(index)
    assert len(interfaces._names) <= 1_024


STATISTICS = """\
    5  27067     3 2   128     7     8     5000  1
   12  4026531840     0 1 65531     0     0        0  1
"""


def test_the_kernels_counters_are_read(tmp_path: Path) -> None:
    path = tmp_path / "nfnetlink_queue"
    path.write_text(STATISTICS)
    queues = read_statistics(path)
    assert set(queues) == {5, 12}
    assert queues[5] == QueueStatistics(
        queue_number=5,
        port_id=27067,
        waiting=3,
        copy_mode=2,
        copy_range=128,
        dropped=7,
        user_dropped=8,
        last_packet_id=5000,
    )
    assert read_statistics(tmp_path / "absent") == {}


@given(st.text(max_size=200))
def test_any_text_is_read_without_error(text: str) -> None:
    assert isinstance(parse_statistics(text), dict)


@pytest.mark.parametrize(
    "line", ["1 2 3", "1 2 3 4 5 6 7 x", "1 2 3 4 5 6 7 -1", "१ 2 3 4 5 6 7 8"]
)
def test_a_line_of_another_form_is_left_out(line: str) -> None:
    assert parse_statistics(line) == {}


def test_a_port_that_nobody_has_is_named_as_such() -> None:
    assert holder_of(4_000_000_001) == "the netlink port 4000000001"


def test_damaged_messages_are_survived() -> None:
    assert fuzz(TARGET, seed=1, max_inputs=2_000).finding is None


@pytest.mark.parametrize(("copy_range", "expected"), [(64, 832), (128, 832), (1_400, 2_304)])
def test_what_a_waiting_packet_costs(copy_range: int, expected: int) -> None:
    assert memory_per_packet(copy_range) == expected


@pytest.mark.parametrize(
    ("number", "settings", "words"),
    [
        (-1, QueueSettings(), "0 to 65535"),
        (65_536, QueueSettings(), "0 to 65535"),
        (1, QueueSettings(copy_range=10), "copy range 10"),
        (1, QueueSettings(copy_range=65_535), "copy range 65535"),
        (1, QueueSettings(max_length=0), "queue length 0"),
    ],
)
def test_settings_that_the_kernel_would_change_are_refused(
    number: int, settings: QueueSettings, words: str
) -> None:
    with pytest.raises(DatapathError, match=words):
        NetlinkQueue.open(number, settings)


def test_only_a_queue_socket_can_be_taken_over() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(DatapathError, match="no netfilter netlink socket"):
            NetlinkQueue.from_socket(ours.fileno(), 1)
        assert ours.fileno() >= 0
        ours.getsockname()  # still open: it was not ours to close


def test_the_kernels_refusals_have_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = _netlink_socket._refusal
    queues = parse_statistics(STATISTICS)
    monkeypatch.setattr(_netlink_socket, "read_statistics", lambda: queues)
    busy = refusal(1, 5, "bind")
    assert isinstance(busy, QueueBusyError)
    assert busy.queue_number == 5
    assert "27067" in busy.holder or "process" in busy.holder
    monkeypatch.setattr(_netlink_socket, "has_net_admin", lambda: False)
    assert "CAP_NET_ADMIN is missing" in str(refusal(1, 6, "bind"))
    monkeypatch.setattr(_netlink_socket, "has_net_admin", lambda: True)
    assert "user namespace" in str(refusal(1, 6, "bind"))
    module = refusal(22, 6, "bind")
    assert isinstance(module, PrivilegeError)
    assert "modprobe nfnetlink_queue" in str(module)
    other = refusal(12, 6, "bind")
    assert type(other) is DatapathError
