"""Fields of protobuf, to the byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.formats.protobuf import (
    bytes_field,
    double_field,
    fixed64_field,
    varint,
    varint_field,
)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (2**64 - 1, "ffffffffffffffffff01"),
    ],
)
def test_varints_are_those_of_the_specification(number: int, expected: str) -> None:
    assert varint(number).hex() == expected


@given(st.integers(0, 2**64 - 1))
def test_a_varint_can_be_read(number: int) -> None:
    data = varint(number)
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(data)) == number
    assert all(byte & 128 for byte in data[:-1])
    assert data[-1] < 128
    assert len(data) == max(1, -(-number.bit_length() // 7))


def test_fields_have_their_number_and_their_kind() -> None:
    assert bytes_field(2, b"testing") == b"\x12\x07testing"
    assert bytes_field(16, b"") == b"\x82\x01\x00"
    assert varint_field(1, 150) == b"\x08\x96\x01"
    assert varint_field(1, -1).hex() == "08ffffffffffffffffff01"
    assert fixed64_field(1, 2) == b"\x09\x02" + bytes(7)
    assert double_field(1, 1.5) == b"\x09" + struct.pack("<d", 1.5)
