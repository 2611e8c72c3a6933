"""Sound packets are sound, by our decoder and by scapy; malformed ones are refused."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from tests.datapath.testing.policies import SHOP
from trireme_datapath.engine import Engine
from trireme_datapath.packet import Malformed, MalformedReason, Packet, decode, decode_embedded
from trireme_datapath.packets import QueuedPacket, Verdict
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing.strategies import (
    PROTOCOLS,
    addresses,
    malformed_packets,
    packets,
    queued_packets,
)


@given(packets())
def test_sound_packets_are_read_whole(data: bytes) -> None:
    packet = decode(data)
    assert isinstance(packet, Packet)
    assert packet.size_bytes == len(data)
    quoted = decode_embedded(packet)
    assert quoted is None or isinstance(quoted, Packet)


@given(packets(protocols=[1, 6, 17, 58]))
def test_their_checksums_are_those_of_scapy(data: bytes) -> None:
    layer = IP if data[0] >> 4 == 4 else IPv6
    whole = layer(data)
    for part in (whole, whole.payload):
        for name in {"chksum", "cksum"} & part.fields.keys():
            part.delfieldval(name)
    assert bytes(layer(bytes(whole))) == data


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [6, 17, 132, 136, 47])
def test_version_and_protocol_can_be_chosen(version: Literal[4, 6], protocol: int) -> None:
    @settings(max_examples=10)
    @given(packets(version=version, protocols=[protocol]))
    def check(data: bytes) -> None:
        packet = decode(data)
        assert isinstance(packet, Packet)
        assert (packet.version, packet.protocol) == (version, protocol)

    check()


def test_every_protocol_is_drawn() -> None:
    seen: set[int] = set()
    quoting: set[bool] = set()

    @settings(max_examples=300)
    @given(packets())
    def look(data: bytes) -> None:
        packet = decode(data)
        assert isinstance(packet, Packet)
        seen.add(packet.protocol)
        quoting.add(packet.embedded is not None)

    look()
    assert seen == set(PROTOCOLS)
    assert quoting == {True, False}


def test_malformed_packets_are_refused_for_many_reasons() -> None:
    reasons: set[MalformedReason] = set()

    @settings(max_examples=400)
    @given(malformed_packets())
    def look(data: bytes) -> None:
        found = decode(data)
        assert isinstance(found, Malformed)
        reasons.add(found.reason)

    look()
    assert reasons >= {
        MalformedReason.EMPTY,
        MalformedReason.VERSION,
        MalformedReason.TRUNCATED,
        MalformedReason.HEADER_LENGTH,
        MalformedReason.TRANSPORT_TRUNCATED,
    }


@given(st.lists(queued_packets(packets() | malformed_packets()), max_size=5))
def test_an_engine_judges_whatever_is_drawn(queued: list[QueuedPacket]) -> None:
    engine = Engine(compile_policy(parse_policy(SHOP)))
    for number, packet in enumerate(queued):
        assert engine.receive(packet, number).verdict in set(Verdict)


@given(addresses(4), addresses(6))
def test_addresses_have_the_length_of_their_version(four: bytes, six: bytes) -> None:
    assert (len(four), len(six)) == (4, 16)
