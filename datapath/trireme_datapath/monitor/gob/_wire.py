"""Numbers and byte strings, the atoms of gob."""

from __future__ import annotations

import struct
from typing import Final

from trireme_datapath.monitor.gob._errors import GobError

__all__ = ["Cursor", "peek_unsigned", "write_bytes", "write_signed", "write_unsigned"]

_LONGEST: Final = 8  # bytes of a number
_DOUBLE: Final = struct.Struct("<d")
_MAX_UNSIGNED: Final = (1 << 64) - 1


class Cursor:
    """Reads the body of one message from its start to its end."""

    __slots__ = ("budget", "data", "end", "position", "start")

    def __init__(self, data: bytes, position: int, end: int, budget: int = 0) -> None:
        """Stand at `position`; `budget` is how many fields and elements may still be read."""
        self.data = data
        self.position = position
        self.start = position
        self.end = end
        self.budget = budget

    def unsigned(self) -> int:
        """Read a number that has no sign."""
        position = self.position
        if position >= self.end:
            raise self.error("the message ends where a number was expected")
        first = self.data[position]
        if first < 0x80:
            self.position = position + 1
            return first
        stop = position + 1 + 0x100 - first
        if first < 0x100 - _LONGEST:
            raise self.error(f"a number has {0x100 - first} bytes, expected at most {_LONGEST}")
        if stop > self.end:
            raise self.error("the message ends inside a number")
        self.position = stop
        return int.from_bytes(self.data[position + 1 : stop])

    def signed(self) -> int:
        """Read a number that has a sign."""
        number = self.unsigned()
        return ~(number >> 1) if number & 1 else number >> 1

    def double(self) -> float:
        """Read a floating-point number: its bytes stand the other way round."""
        value: float = _DOUBLE.unpack(self.unsigned().to_bytes(8))[0]
        return value

    def raw(self) -> bytes:
        """Read bytes behind their length."""
        length = self.unsigned()
        start = self.position
        if length > self.end - start:
            raise self.error(f"{length} bytes are announced, {self.end - start} are there")
        self.position = start + length
        return self.data[start : start + length]

    def text(self) -> str:
        """Read a text; what is not UTF-8 is replaced."""
        return self.raw().decode("utf-8", "replace")

    def count(self) -> int:
        """Read how many elements follow: there cannot be more than bytes."""
        count = self.unsigned()
        if count > self.end - self.position:
            left = self.end - self.position
            raise self.error(f"{count} elements are announced in {left} bytes")
        self.spend(count)
        return count

    def spend(self, values: int) -> None:
        """Take fields or elements from what the message may hold."""
        self.budget -= values
        if self.budget < 0:
            raise self.error("the message holds more values than are taken")

    def error(self, what: str) -> GobError:
        """Make the error that says what is wrong, and where."""
        return GobError(f"gob, byte {self.position - self.start} of a message: {what}")


def peek_unsigned(data: bytes | bytearray, position: int) -> tuple[int, int] | None:
    """Read the number at a place of a buffer that may not be all there yet.

    Returns:
        The number and where it ends; None when more bytes are needed.

    Raises:
        GobError: It is no number.
    """
    if position >= len(data):
        return None
    first = data[position]
    if first < 0x80:
        return first, position + 1
    stop = position + 1 + 0x100 - first
    if first < 0x100 - _LONGEST:
        raise GobError(f"a length has {0x100 - first} bytes, expected at most {_LONGEST}")
    if stop > len(data):
        return None
    return int.from_bytes(data[position + 1 : stop]), stop


def write_unsigned(number: int) -> bytes:
    """Encode a number that has no sign.

    Raises:
        GobError: It does not fit 64 bits.
    """
    if 0 <= number < 0x80:
        return bytes((number,))
    if not 0 <= number <= _MAX_UNSIGNED:
        raise GobError(f"{number} does not fit 64 bits without a sign")
    size = (number.bit_length() + 7) // 8
    return bytes((0x100 - size,)) + number.to_bytes(size)


def write_signed(number: int) -> bytes:
    """Encode a number that has a sign.

    Raises:
        GobError: It does not fit 64 bits.
    """
    if not -(1 << 63) <= number < 1 << 63:
        raise GobError(f"{number} does not fit 64 bits with a sign")
    return write_unsigned(~number << 1 | 1 if number < 0 else number << 1)


def write_bytes(data: bytes) -> bytes:
    """Encode bytes with their length in front."""
    return write_unsigned(len(data)) + data
