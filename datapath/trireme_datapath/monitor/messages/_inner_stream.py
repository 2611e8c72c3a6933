"""The gob stream behind the first byte of what an agent sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor.gob import GobError, decode_gob

if TYPE_CHECKING:
    from trireme_datapath.monitor.gob import GobStruct

__all__ = ["read_struct"]


def read_struct(message: bytes) -> GobStruct:
    """Read the struct that a message of an agent holds.

    Raises:
        MessageError: It does not hold one.
    """
    stream = message[1:]
    try:
        value = decode_gob(stream)
    except GobError as error:
        raise MessageError(_end(stream) or str(error)) from error
    if not isinstance(value, dict):
        raise MessageError(f"gob: expected a struct, found {type(value).__name__}")
    return value


def _end(stream: bytes) -> str:
    """Say how a stream ends before its value, in the words of Go; empty if it does not.

    What is read is a stream without a value: at its end there is nothing, or a part of a message.
    """
    position = 0
    while position < len(stream):
        size = stream[position]
        position += 1
        if size >= 0x80:
            width = 0x100 - size
            if width > 8:
                return ""
            size = int.from_bytes(stream[position : position + width], "big")
            position += width
        if position + size > len(stream):
            return "unexpected EOF"
        # A value starts with the positive number of its type, a definition with a negative one.
        if not size or not _is_negative(stream, position):
            return ""
        position += size
    # Whoever defines a type has to give a value of it.
    return "unexpected EOF" if stream else "EOF"


def _is_negative(stream: bytes, position: int) -> bool:
    first = stream[position]
    if first < 0x80:
        return bool(first & 1)
    last = position + 0x100 - first
    return last < len(stream) and bool(stream[last] & 1)
