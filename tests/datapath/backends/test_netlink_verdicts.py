"""Verdicts and payloads as those who watch read them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.datapath.backends.netlink_messages import packet_message
from trireme_datapath.backends._netlink_codec import (
    MessageError,
    PacketMessage,
    batch_verdict,
    parse_message,
    verdict,
    verdicts,
)
from trireme_datapath.backends._netlink_verdicts import payload_start, read_verdicts
from trireme_datapath.packets import Verdict

IPV4 = bytes.fromhex("4500001c00010000401100000a0000010a0000020035003500080000")


def test_single_verdicts_and_that_of_the_others() -> None:
    messages = (
        verdict(7, 3, Verdict.DROP, None)
        + verdict(7, 4, Verdict.REPEAT, 0x20000)
        + batch_verdict(7, 9, Verdict.ACCEPT, 0x10000)
    )
    assert read_verdicts(messages) == ({3: Verdict.DROP, 4: Verdict.REPEAT}, Verdict.ACCEPT)
    assert read_verdicts(b"") == ({}, None)
    assert read_verdicts(verdicts(7, [1, 2], Verdict.ACCEPT)) == (
        {1: Verdict.ACCEPT, 2: Verdict.ACCEPT},
        None,
    )


def test_the_payload_is_found_behind_any_attributes() -> None:
    for message in (
        packet_message(1, IPV4),
        packet_message(1, IPV4, mark=7, hardware=b"\x02" * 6, timestamp=(1, 2), owner=(3, 4)),
    ):
        start = payload_start(message)
        assert message[start : start + len(IPV4)] == IPV4


@given(st.binary(max_size=80))
def test_any_bytes_have_a_payload_or_none(tail: bytes) -> None:
    message = packet_message(1, IPV4)[:20] + tail
    start = payload_start(message)
    assert start == -1 or 24 <= start <= len(message)
    try:
        parsed = parse_message(message)
    except MessageError:
        return
    if isinstance(parsed, PacketMessage) and parsed.payload:
        assert message[start : start + len(parsed.payload)] == parsed.payload
