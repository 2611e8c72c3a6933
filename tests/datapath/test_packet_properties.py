"""What holds for any bytes: a result, the same from every kind of buffer, and sane."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from trireme_datapath.packet import (
    MAX_EXTENSION_BYTES,
    Malformed,
    MalformedReason,
    Packet,
    decode,
    decode_embedded,
)

_DATA = Path(__file__).parents[1] / "data" / "packets.toml"
_GOLDEN = tomllib.loads(_DATA.read_text(encoding="utf-8"))
_SEEDS = [bytes.fromhex(entry["hex"]) for kind in _GOLDEN.values() for entry in kind]

_ORIGINAL_LENGTHS = st.none() | st.integers(min_value=-1, max_value=70_000)


@st.composite
def _changed(draw: st.DrawFn) -> bytes:
    """Draw a golden datagram with a few bytes changed, added or removed."""
    data = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(min_value=1, max_value=4))):
        at = draw(st.integers(min_value=0, max_value=len(data)))
        gone = draw(st.integers(min_value=0, max_value=2))
        data[at : at + gone] = draw(st.binary(max_size=3))
    return bytes(data)


_ANY_BYTES = st.binary(max_size=200) | _changed()


def _check(result: Packet | Malformed | None, data: bytes, original_length: int | None) -> None:
    wire = max(len(data), original_length or 0)
    if isinstance(result, Malformed):
        assert isinstance(result.reason, MalformedReason)
        assert 0 <= result.offset <= max(wire, 0)
        assert len(result.source) == len(result.destination)
        assert len(result.source) in {0, 4 if result.version == 4 else 16}
        assert -1 <= result.protocol <= 255
        assert result.size_bytes <= wire
        return
    assert isinstance(result, Packet)
    addresses = 4 if result.version == 4 else 16
    smallest = 20 if result.version == 4 else 40
    assert len(result.source) == len(result.destination) == addresses
    assert smallest <= result.header_length_bytes <= result.payload_offset <= result.size_bytes
    assert result.header_length_bytes <= (60 if result.version == 4 else 40 + MAX_EXTENSION_BYTES)
    assert result.header_length_bytes <= len(data)
    assert result.size_bytes <= wire
    assert result.fragment_offset_bytes % 8 == 0
    assert result.is_fragment or result.fragment_offset_bytes == 0
    if result.fragment_offset_bytes:
        assert (result.source_port, result.destination_port) == (0, 0)
        assert (result.icmp_type, result.sctp_chunk_type) == (-1, -1)
    if result.protocol not in {6, 17, 132, 136}:
        assert (result.source_port, result.destination_port) == (0, 0)
    assert (result.icmp_type == -1) == (result.icmp_code == -1)


@given(data=_ANY_BYTES, original_length=_ORIGINAL_LENGTHS)
@example(data=b"", original_length=None)
def test_any_bytes_give_a_packet_or_one_fault(data: bytes, original_length: int | None) -> None:
    result = decode(data, original_length=original_length)
    _check(result, data, original_length)
    if isinstance(result, Packet):
        quoted = decode_embedded(result)
        assert quoted is None or isinstance(quoted, (Packet, Malformed))
        if isinstance(quoted, Packet):
            assert decode_embedded(quoted) is None


@given(data=_ANY_BYTES, original_length=_ORIGINAL_LENGTHS)
def test_every_buffer_is_read_alike(data: bytes, original_length: int | None) -> None:
    expected = decode(data, original_length=original_length)
    for buffer in (bytearray(data), memoryview(data), memoryview(bytearray(data))):
        assert decode(buffer, original_length=original_length) == expected


@given(data=_ANY_BYTES)
def test_what_follows_the_datagram_does_not_matter(data: bytes) -> None:
    result = decode(data)
    if isinstance(result, Packet):
        assert decode(data[: result.size_bytes]) == result
        assert decode(data + b"\xff" * 9) == result


@given(packet_type=st.sampled_from((b"\x03", b"\x0b")), quoted=_ANY_BYTES)
def test_any_quoted_bytes_give_a_result(packet_type: bytes, quoted: bytes) -> None:
    message = packet_type + bytes(7) + quoted
    total = (20 + len(message)).to_bytes(2, "big")
    header = b"\x45\x00" + total + bytes([0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2])
    packet = decode(header + message)
    assert isinstance(packet, Packet)
    result = decode_embedded(packet)
    whole = decode(quoted)
    assert isinstance(result, (Packet, Malformed))
    if (
        isinstance(whole, Packet)
        and whole.version == 4
        and whole.icmp_type not in {3, 4, 5, 11, 12}
    ):
        assert result == whole


def test_every_truncation_on_the_wire() -> None:
    for seed in _SEEDS:
        for size in range(len(seed)):
            _check(decode(seed[:size]), seed[:size], None)


def test_every_cut_of_a_capture_gives_the_same_packet_or_says_so() -> None:
    for entry in _GOLDEN["packet"]:
        data = bytes.fromhex(entry["hex"])
        whole = decode(data)
        assert isinstance(whole, Packet)
        for size in range(len(data)):
            result = decode(data[:size], original_length=len(data))
            if isinstance(result, Malformed):
                assert result.reason is MalformedReason.CUT
                # Besides its header, SCTP needs the head of the first chunk.
                assert size < whole.payload_offset + (4 if whole.protocol == 132 else 0)
            elif whole.embedded is None:
                assert result == whole
            else:
                assert result.embedded == data[whole.payload_offset : size]


def test_every_single_byte_change() -> None:
    for seed in _SEEDS:
        for at in range(len(seed)):
            for value in (0x00, 0x01, 0x7F, 0x80, 0xFF, seed[at] ^ 0x01, seed[at] ^ 0x10):
                data = seed[:at] + bytes([value]) + seed[at + 1 :]
                _check(decode(data), data, None)
