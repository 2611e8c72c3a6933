"""The netlink backend against a kernel that keeps account of verdicts."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from tests.datapath.backends.netlink_messages import (
    COPY_RANGE,
    FakeKernel,
    error_message,
    packet_message,
)
from trireme_collector.records import FlowRecord
from trireme_datapath.backends._interfaces import InterfaceNames
from trireme_datapath.backends.netlink import NetlinkBackend, NetlinkQueue
from trireme_datapath.engine import Engine
from trireme_datapath.packets import Decision, QueuedPacket, Verdict
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_700_000_000_000_000_000
POLICY = """
version = 1
[[unit]]
id = "server"
select = { address = ["10.0.0.2", "fd00::2"] }
[[unit.ingress]]
id = "service"
action = "accept"
from = "any"
protocol = ["tcp", "udp"]
ports = [80]
"""
REFUSE = 0x100
ACCEPT = 0x400


class Bench:
    """A fake kernel, a backend and a real engine."""

    def __init__(
        self,
        *,
        refuse_mark: int | None = None,
        accept_mark: int | None = None,
        engine: Engine | None = None,
        inherited: bool = False,
    ) -> None:
        self.kernel = FakeKernel()
        self.engine = engine or Engine(
            compile_policy(parse_policy(POLICY, "p.toml")),
            refuse_mark=refuse_mark,
            accept_mark=accept_mark,
        )
        self.backend = NetlinkBackend(
            cast("NetlinkQueue", self.kernel),
            self.engine,
            interfaces=InterfaceNames(lambda index: f"eth{index}"),
            inherited=inherited,
        )

    def judge(self, *messages: bytes) -> dict[int, tuple[int, int | None]]:
        self.kernel.queue(messages)
        self.records = self.backend.drain(NOW)
        verdicts, self.kernel.verdicts = self.kernel.verdicts, {}
        return verdicts


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.kernel.close()


def datagram(version: int = 4, port: int = 80, size: int = 40, source_port: int = 1000) -> bytes:
    network = (
        IP(src="192.0.2.1", dst="10.0.0.2") if version == 4 else IPv6(src="fd00::1", dst="fd00::2")
    )
    return bytes(network / UDP(sport=source_port, dport=port) / Raw(bytes(size)))


ACCEPTED, DROPPED = (Verdict.ACCEPT, None), (Verdict.DROP, None)


def test_one_send_answers_a_batch(bench: Bench) -> None:
    bench.judge(packet_message(1, datagram()))  # the kind of message is learnt
    before = bench.kernel.sends
    verdicts = bench.judge(
        *(packet_message(one, datagram(port=81 if one % 3 else 80)) for one in range(2, 50))
    )
    assert verdicts == {one: DROPPED if one % 3 else ACCEPTED for one in range(2, 50)}
    assert bench.kernel.sends == before + 1
    assert bench.backend.counters["single_packets"] == 1
    assert bench.backend.counters["packets"] == 49
    assert not bench.kernel.unknown


def test_nothing_waits_nothing_is_sent(bench: Bench) -> None:
    assert bench.judge() == {}
    assert bench.kernel.sends == 0


def test_only_denied_packets_need_one_batch_verdict(bench: Bench) -> None:
    bench.judge(packet_message(1, datagram()))
    assert set(
        bench.judge(*(packet_message(i, datagram(port=9)) for i in range(2, 9))).values()
    ) == {DROPPED}
    assert not bench.kernel.waiting


def test_refused_packets_go_round_again_with_the_mark() -> None:
    bench = Bench(refuse_mark=REFUSE)
    for mark in (0, 3):
        messages = [packet_message(10 * mark + i, datagram(port=81 if i % 2 else 80), mark=mark)
                    for i in range(1, 9)]  # fmt: skip
        verdicts = bench.judge(*messages)
        assert {verdicts[10 * mark + i] for i in (1, 3, 5, 7)} == {(Verdict.REPEAT, REFUSE | mark)}
        assert {verdicts[10 * mark + i] for i in (2, 4, 6, 8)} == {ACCEPTED}
    bench.kernel.close()


def test_packets_of_two_kinds_stay_on_the_fast_door(bench: Bench) -> None:
    kinds: list[dict[str, Any]] = [{}, {"indev": 3}, {"mark": 7}]
    payloads = [datagram(), datagram(6), datagram(size=200), datagram(6, size=200)]
    every = [(payload, kind) for payload in payloads for kind in kinds]
    bench.judge(*(packet_message(i, p, **k) for i, (p, k) in enumerate(every)))
    singles = bench.backend.counters["single_packets"]
    verdicts = bench.judge(
        *(packet_message(100 + i, every[i % 12][0], **every[i % 12][1]) for i in range(60))
    )
    assert set(verdicts.values()) == {ACCEPTED}
    assert len(verdicts) == 60
    assert bench.backend.counters["single_packets"] == singles


def test_a_value_that_proves_to_change_is_stepped_over(bench: Bench) -> None:
    bench.judge(packet_message(1, datagram(), hardware=b"\x02\0\0\0\0\x01"))
    bench.judge(packet_message(2, datagram(), hardware=b"\x02\0\0\0\0\x02"))
    singles = bench.backend.counters["single_packets"]
    verdicts = bench.judge(
        *(
            packet_message(i, datagram(), hardware=b"\x02\0\0\0\0" + bytes([i]))
            for i in range(3, 40)
        )
    )
    assert set(verdicts.values()) == {ACCEPTED}
    assert bench.backend.counters["single_packets"] == singles


def test_time_stamps_do_not_make_kinds(bench: Bench) -> None:
    bench.judge(packet_message(1, datagram(), timestamp=(5, 6)))
    bench.judge(packet_message(2, datagram(), timestamp=(7, 8)))
    assert bench.backend.counters["single_packets"] == 1


def test_an_error_of_the_kernel_is_no_packet(bench: Bench) -> None:
    bench.judge(packet_message(1, datagram()), packet_message(2, datagram()))
    # The slots still hold the packets from before behind the shorter error messages.
    verdicts = bench.judge(error_message(errno.ENOENT), error_message(errno.EINVAL))
    assert verdicts == {}
    assert bench.backend.counters["unknown_packet_ids"] == 1
    assert bench.backend.counters["kernel_errors"] == 1
    verdicts = bench.judge(packet_message(3, datagram()), error_message(errno.ENOENT))
    assert verdicts == {3: ACCEPTED}
    assert not bench.kernel.unknown


def test_a_queue_whose_verdicts_are_refused_is_lost(bench: Bench) -> None:
    with pytest.raises(PermissionError, match="CAP_NET_ADMIN was lost"):
        bench.judge(packet_message(1, datagram()), error_message(errno.EPERM))
    assert bench.backend.counters["kernel_errors"] == 1


def test_a_message_that_can_not_be_read_is_never_released_by_the_batch(bench: Bench) -> None:
    bench.judge(packet_message(1, datagram()))
    hidden = bytearray(packet_message(3, datagram()))
    hidden[20:24] = b"\x0b\x00\x63\x00"  # the packet header is another attribute now,
    hidden[30] = 4  # and nothing that the fast door knows
    verdicts = bench.judge(
        packet_message(2, datagram()), bytes(hidden), packet_message(4, datagram(port=81)),
        packet_message(5, datagram()),
    )  # fmt: skip
    assert verdicts == {2: ACCEPTED, 4: DROPPED, 5: ACCEPTED}
    assert bench.kernel.waiting == [3]
    assert bench.backend.counters["malformed_messages"] == 1


def test_a_damaged_message_with_an_id_is_dropped(bench: Bench) -> None:
    damaged = bytearray(packet_message(2, datagram()))
    damaged[32:34] = b"\xff\xff"
    assert bench.judge(packet_message(1, datagram()), bytes(damaged)) == {1: ACCEPTED, 2: DROPPED}


def test_what_a_dead_owner_left_is_dropped_before_anything_is_accepted() -> None:
    bench = Bench(inherited=True)
    bench.kernel.waiting += [1, 2, 3]  # read by somebody, never judged
    verdicts = bench.judge(packet_message(4, datagram()), packet_message(5, datagram(port=81)))
    assert verdicts == {1: DROPPED, 2: DROPPED, 3: DROPPED, 4: ACCEPTED, 5: DROPPED}
    bench.kernel.close()


def test_verdicts_that_could_not_be_sent_do_not_let_packets_pass_later(bench: Bench) -> None:
    bench.kernel.failures = [OSError(errno.ENOBUFS, "x"), OSError(errno.ENOBUFS, "x")]
    assert bench.judge(packet_message(1, datagram()), packet_message(2, datagram(port=81))) == {}
    assert bench.judge(packet_message(3, datagram())) == {1: DROPPED, 2: DROPPED, 3: ACCEPTED}
    assert bench.backend.counters["send_errors"] == 2


def test_a_signal_in_between_does_not_let_packets_pass(bench: Bench) -> None:
    class Interrupt(BaseException):
        pass

    bench.kernel.failures = cast("list[OSError]", [Interrupt()])
    with pytest.raises(Interrupt):
        bench.judge(packet_message(1, datagram(port=81)))
    assert bench.judge(packet_message(2, datagram())) == {1: DROPPED, 2: ACCEPTED}


def test_a_socket_that_is_dead_is_told(bench: Bench) -> None:
    bench.kernel.failures = [OSError(errno.EBADF, "x")]
    with pytest.raises(OSError, match="x"):
        bench.judge(packet_message(1, datagram()))


def test_packets_that_came_while_the_queue_was_configured_are_judged(bench: Bench) -> None:
    bench.kernel.early = [packet_message(1, datagram()), packet_message(2, datagram(port=81))]
    bench.kernel.waiting = [1, 2]
    assert bench.judge(packet_message(3, datagram())) == {1: ACCEPTED, 2: DROPPED, 3: ACCEPTED}


class BrokenEngine:
    """Raises for packets to port 81, and for every batch."""

    def lane(self, packet: QueuedPacket, *, copy_range: int) -> object:
        return Engine(compile_policy(parse_policy(POLICY, "p.toml"))).lane(
            packet, copy_range=copy_range
        )

    def forget_lane(self, lane: object) -> None:
        pass

    def receive_batch(self, *_: object) -> tuple[list[int], list[int]]:
        raise ZeroDivisionError

    def receive(self, packet: QueuedPacket, _now_ns: int) -> Decision:
        if packet.data[22:24] == (81).to_bytes(2, "big"):
            raise ZeroDivisionError
        return Decision(verdict=Verdict.ACCEPT, mark=9 if packet.mark else None)


def test_a_packet_that_the_engine_fails_on_is_dropped_and_counted() -> None:
    bench = Bench(engine=cast("Engine", BrokenEngine()))
    bench.judge(packet_message(1, datagram()))
    verdicts = bench.judge(
        packet_message(2, datagram()), packet_message(3, datagram(port=81)),
        packet_message(4, datagram(), mark=1),
    )  # fmt: skip
    assert verdicts == {2: ACCEPTED, 3: DROPPED, 4: (Verdict.ACCEPT, 9)}
    assert bench.backend.counters["judge_errors"] == 1
    assert bench.backend.counters["batch_errors"] == 1
    bench.kernel.close()


def test_the_engine_is_told_what_the_kernel_said(bench: Bench) -> None:
    bench.judge(packet_message(1, datagram(size=300), indev=4, outdev=9, hook=2))
    (record,) = bench.records
    assert isinstance(record, FlowRecord)
    assert (record.interface, record.bytes) == ("eth4", 328)


_PACKETS = st.sampled_from(
    [
        (datagram(), True),
        (datagram(port=81), False),
        (datagram(6), True),
        (datagram(6, port=81), False),
        (datagram(size=300), True),
        (datagram(6, size=300, port=81), False),
        (bytes(IP(src="192.0.2.1", dst="10.0.0.2") / TCP(sport=7, dport=80)), True),
        (bytes(IP(src="192.0.2.1", dst="10.0.0.2") / TCP(sport=7, dport=82)), False),
        (bytes(IP(src="192.0.2.1", dst="10.0.0.2") / ICMP()), False),
        (bytes(IP(src="192.0.2.1", dst="10.0.0.2", options=[b"\x01"]) / UDP(dport=81)), False),
        (b"\x45", False),
        (b"", False),
    ]
)
_MESSAGES = st.lists(
    st.tuples(
        _PACKETS,
        st.sampled_from([2, 3]),
        st.sampled_from([0, 0, 5]),
        st.sampled_from([b"", b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"]),
        st.booleans(),
    ),
    max_size=90,
)


@given(
    st.lists(_MESSAGES, min_size=1, max_size=4),
    st.sampled_from([None, REFUSE]),
    st.sampled_from([None, ACCEPT]),
)
def test_every_packet_gets_the_one_verdict_that_it_should(
    batches: list[list[Any]], refuse_mark: int | None, accept_mark: int | None
) -> None:
    bench = Bench(refuse_mark=refuse_mark, accept_mark=accept_mark)
    packet_id = 0xFFFFFFE0  # ids wrap
    for batch in batches:
        messages, expected = [], {}
        marks: dict[int, int | None] = {}
        for (payload, accepted), indev, mark, hardware, noise in batch:
            if noise:
                messages.append(error_message(errno.ENOENT))
            packet_id = (packet_id + 1) % 2**32
            messages.append(
                packet_message(packet_id, payload, indev=indev, mark=mark, hardware=hardware)
            )
            expected[packet_id] = accepted
            if accepted:
                marks[packet_id] = None if accept_mark is None else mark | accept_mark
        verdicts = {}
        for start in range(0, len(messages), 30):  # what a local socket holds
            verdicts.update(bench.judge(*messages[start : start + 30]))
        assert {one: verdict[0] == Verdict.ACCEPT for one, verdict in verdicts.items()} == expected
        assert {one: verdicts[one][1] for one in marks} == marks
        assert not bench.kernel.waiting
        assert not bench.kernel.unknown
    bench.kernel.close()


def test_one_send_marks_a_batch() -> None:
    bench = Bench(accept_mark=ACCEPT)
    bench.judge(packet_message(1, datagram()))
    before = bench.kernel.sends
    verdicts = bench.judge(*(packet_message(one, datagram()) for one in range(2, 30)))
    assert verdicts == dict.fromkeys(range(2, 30), (Verdict.ACCEPT, ACCEPT))
    assert bench.kernel.sends == before + 1
    bench.kernel.close()


def test_the_copy_range_of_the_tests_is_the_default() -> None:
    assert COPY_RANGE == 128
