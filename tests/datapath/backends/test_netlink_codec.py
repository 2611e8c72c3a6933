"""The messages of the kernel's packet queue, byte by byte."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datapath.backends.netlink_messages import error_message, message, packet_message
from trireme_datapath.backends._netlink_codec import (
    Attribute,
    ErrorMessage,
    MessageError,
    PacketMessage,
    QueueFlag,
    batch_verdict,
    bind_message,
    copy_message,
    flags_message,
    max_length_message,
    parse_message,
    unbind_message,
    verdict,
    verdicts,
)

little = pytest.mark.skipif(sys.byteorder != "little", reason="bytes as on a little-endian machine")

# As Linux 6.18 writes it for a veth interface: UDP to port 8080, 64 bytes of payload, hook INPUT.
CAPTURED = bytes.fromhex(
    "a0000000 0003 0000 00000000 00000000 02000005"
    "0b000100 00000001 0800 01 00"
    "08000500 00000002"
    "10000900 0006 0000 2654c4d66660 0000"
    "08000e00 00000001"
    "60000a00 4500005c 6a3b4000 40114c52 c0000201 c0000202 d431 1f90 0048 8477" + "78" * 64
)


@little
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            bind_message(7, 1),
            "1c000000 0203 0500 01000000 00000000 00000007  0800 0100 01 00 0000",
        ),
        (
            unbind_message(7, 2),
            "1c000000 0203 0500 02000000 00000000 00000007  0800 0100 02 00 0000",
        ),
        (
            copy_message(258, 3, 128),
            "20000000 0203 0500 03000000 00000000 00000102  0900 0200 00000080 02 000000",
        ),
        (
            max_length_message(7, 4, 8192),
            "1c000000 0203 0500 04000000 00000000 00000007  0800 0300 00002000",
        ),
        (
            flags_message(7, 5, QueueFlag.GSO, QueueFlag.GSO | QueueFlag.FAIL_OPEN),
            "24000000 0203 0500 05000000 00000000 00000007 0800 0400 00000005  0800 0500 00000004",
        ),
        (
            verdict(7, 0x01020304, 1),
            "20000000 0103 0100 ffffffff 00000000 00000007  0c00 0200 00000001 01020304",
        ),
        (
            verdict(7, 5, 4, 0x40000000),
            (
                "28000000 0103 0100 ffffffff 00000000 00000007  0c00 0200 00000004 00000005"
                "0800 0300 40000000"
            ),
        ),
        (
            batch_verdict(7, 9, 1),
            "20000000 0303 0100 ffffffff 00000000 00000007  0c00 0200 00000001 00000009",
        ),
    ],
)
def test_what_is_sent(made: bytes, expected: str) -> None:
    assert made == bytes.fromhex(expected.replace(" ", ""))


def test_many_verdicts_are_single_ones_in_a_row() -> None:
    assert verdicts(1, [3, 4], 0) == verdict(1, 3, 0) + verdict(1, 4, 0)
    assert verdicts(1, [3], 4, 8) == verdict(1, 3, 4, 8)
    assert verdicts(1, [], 1) == b""


@little
def test_what_the_kernel_sends() -> None:
    assert parse_message(CAPTURED) == PacketMessage(
        queue_number=5,
        family=2,
        packet_id=1,
        hardware_protocol=0x0800,
        hook=1,
        indev=2,
        hardware_address=bytes.fromhex("2654c4d66660"),
        packet_info=1,
        payload=CAPTURED[-92:],
    )


def test_every_attribute_is_read() -> None:
    parsed = parse_message(
        packet_message(
            0xFFFFFFFF,
            b"\x60" + bytes(299),
            hook=3,
            indev=0,
            outdev=0x01020304,
            mark=0x80000001,
            timestamp=(1_700_000_000, 999_999),
            owner=(1000, 100),
            info=6,
        )
    )
    assert parsed == PacketMessage(
        queue_number=5,
        family=10,
        packet_id=0xFFFFFFFF,
        hardware_protocol=0x86DD,
        hook=3,
        outdev=0x01020304,
        mark=0x80000001,
        timestamp_ns=1_700_000_000_999_999_000,
        uid=1000,
        gid=100,
        captured_of=300,
        packet_info=6,
        payload=b"\x60" + bytes(127),
    )


def test_an_unknown_attribute_is_stepped_over() -> None:
    body = packet_message(7, b"E" * 20)[20:]
    parsed = parse_message(message(0, bytes.fromhex("0600e700aabb0000") + body))
    assert isinstance(parsed, PacketMessage)
    assert parsed.packet_id == 7


@pytest.mark.parametrize(("errno", "sequence"), [(0, 4), (2, 0xFFFFFFFF), (1, 1)])
def test_an_error_is_read(errno: int, sequence: int) -> None:
    assert parse_message(error_message(errno, sequence)) == ErrorMessage(
        errno=errno, sequence=sequence
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(15),
        bytes(16),
        bytes(64),
        message(2, b""),
        message(0, b""),
        message(0, packet_message(1, b"")[32:]),
        message(0, packet_message(1, b"E" * 20)[20:] + packet_message(2, b"E" * 20)[20:]),
        message(0, bytes.fromhex("03000100")),
        message(0, bytes.fromhex("ffff0100")),
        message(0, bytes.fromhex("0600010000000000")),
    ],
)
def test_what_is_no_packet_is_one_error(data: bytes) -> None:
    with pytest.raises(MessageError):
        parse_message(data)


def test_a_message_that_was_cut_still_names_its_packet() -> None:
    whole = packet_message(0x01020304, b"E" * 40)
    with pytest.raises(MessageError) as caught:
        parse_message(whole[:40])
    assert caught.value.packet_id == 0x01020304
    with pytest.raises(MessageError) as caught:
        parse_message(whole[:27])
    assert caught.value.packet_id is None


def test_an_attribute_that_is_too_long_still_names_its_packet() -> None:
    whole = bytearray(packet_message(9, b"E" * 40))
    whole[32:34] = b"\xff\xff"
    with pytest.raises(MessageError) as caught:
        parse_message(bytes(whole))
    assert caught.value.packet_id == 9


def test_what_follows_a_message_is_not_read() -> None:
    whole = packet_message(9, b"E" * 40)
    assert parse_message(whole + b"\xff" * 50, len(whole)) == parse_message(whole)
    assert parse_message(memoryview(whole)) == parse_message(whole)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_the_one_error(data: bytes) -> None:
    try:
        parsed = parse_message(data)
    except MessageError:
        return
    assert isinstance(parsed, PacketMessage | ErrorMessage)


@given(st.data())
def test_a_damaged_message_gives_a_message_or_the_one_error(data: st.DataObject) -> None:
    damaged = bytearray(packet_message(1, b"E" * 60, mark=3, owner=(1, 2), info=1))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    try:
        parse_message(bytes(damaged[:cut]))
    except MessageError:
        return


@given(
    packet_id=st.integers(0, 2**32 - 1),
    payload=st.binary(max_size=128),
    hook=st.integers(0, 4),
    indev=st.integers(0, 2**31),
    outdev=st.integers(0, 2**31),
    mark=st.integers(0, 2**32 - 1),
    hardware=st.binary(max_size=8),
    owner=st.none() | st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)
def test_what_was_written_is_read(
    packet_id: int,
    payload: bytes,
    hook: int,
    indev: int,
    outdev: int,
    mark: int,
    hardware: bytes,
    owner: tuple[int, int] | None,
) -> None:
    parsed = parse_message(
        packet_message(
            packet_id,
            payload,
            hook=hook,
            indev=indev,
            outdev=outdev,
            mark=mark,
            hardware=hardware,
            owner=owner,
        )
    )
    assert isinstance(parsed, PacketMessage)
    assert (parsed.packet_id, parsed.payload, parsed.hook) == (packet_id, payload, hook)
    assert (parsed.indev, parsed.outdev, parsed.mark) == (indev, outdev, mark)
    assert parsed.hardware_address == hardware
    assert (parsed.uid, parsed.gid) == (owner or (None, None))


def test_the_numbers_are_those_of_the_kernel() -> None:
    assert (Attribute.PAYLOAD, Attribute.CAP_LEN, Attribute.UID) == (10, 13, 16)
    assert (QueueFlag.FAIL_OPEN, QueueFlag.GSO, QueueFlag.UID_GID) == (1, 4, 8)
