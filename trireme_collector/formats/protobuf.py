"""The wire format of protobuf, as far as messages are written here; pure functions.

A message is its fields, one after the other. Fields that have the default value are left out by
whoever writes the message.
"""

from __future__ import annotations

import struct

__all__ = ["bytes_field", "double_field", "fixed64_field", "varint", "varint_field"]

_LENGTH, _FIXED64, _VARINT = 2, 1, 0
_DOUBLE = struct.Struct("<d")
_SMALL = tuple(bytes((number,)) for number in range(128))
_INT64 = 1 << 64


def varint(number: int) -> bytes:
    """Write a number from 0 on, seven bits a byte, the lowest first."""
    if number < 128:
        return _SMALL[number]
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def bytes_field(number: int, content: bytes) -> bytes:
    """Write a field that has a length: bytes, a text in UTF-8 or a message."""
    return varint(number << 3 | _LENGTH) + varint(len(content)) + content


def varint_field(number: int, value: int) -> bytes:
    """Write an integer, an enum or a boolean; negative ones as ``int64``."""
    return varint(number << 3 | _VARINT) + varint(value % _INT64)


def fixed64_field(number: int, value: int) -> bytes:
    """Write a ``fixed64``."""
    return varint(number << 3 | _FIXED64) + value.to_bytes(8, "little")


def double_field(number: int, value: float) -> bytes:
    """Write a ``double``."""
    return varint(number << 3 | _FIXED64) + _DOUBLE.pack(value)
