"""Values out of a gob stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_datapath.monitor.gob._definitions import read_definition
from trireme_datapath.monitor.gob._errors import (
    DEFAULT_LIMITS,
    GobError,
    GobLimits,
    GobStreamError,
)
from trireme_datapath.monitor.gob._types import (
    FIRST_OWN_ID,
    ArrayType,
    Basic,
    GobStruct,
    GobType,
    GobValue,
    MapType,
    SliceType,
    StructType,
)
from trireme_datapath.monitor.gob._wire import Cursor, peek_unsigned

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GobStream", "decode_gob"]


def _read_bool(cursor: Cursor) -> bool:
    return cursor.unsigned() != 0


def _read_complex(cursor: Cursor) -> complex:
    return complex(cursor.double(), cursor.double())


_BASIC: Final[dict[int, Callable[[Cursor], GobValue]]] = {
    Basic.BOOL: _read_bool,
    Basic.INT: Cursor.signed,
    Basic.UINT: Cursor.unsigned,
    Basic.FLOAT: Cursor.double,
    Basic.BYTES: Cursor.raw,
    Basic.STRING: Cursor.text,
    Basic.COMPLEX: _read_complex,
}


class _Decoder:
    """The types of one stream, and the values that are read by them."""

    def __init__(self, limits: GobLimits) -> None:
        self._limits = limits
        self._types: dict[int, GobType] = {}

    def message(self, data: bytes, start: int, end: int) -> GobValue | _Definition:
        """Read one message: its value, or `_DEFINITION` when it defines a type."""
        cursor = Cursor(data, start, end, self._limits.max_values)
        type_id = cursor.signed()
        if type_id < 0:
            self._define(-type_id, cursor)
            return _DEFINITION
        value = self._single(type_id, cursor, 0)
        if cursor.position != end:
            raise cursor.error(f"{end - cursor.position} bytes follow the value")
        return value

    def _define(self, type_id: int, cursor: Cursor) -> None:
        if type_id < FIRST_OWN_ID:
            raise cursor.error(f"type {type_id} cannot be defined, it belongs to gob itself")
        if type_id in self._types:
            raise cursor.error(f"type {type_id} is defined a second time")
        if len(self._types) >= self._limits.max_types:
            raise cursor.error(f"more than {self._limits.max_types} types are defined")
        self._types[type_id] = read_definition(cursor.data[cursor.position : cursor.end])

    def _single(self, type_id: int, cursor: Cursor, depth: int) -> GobValue:
        """Read a value that stands alone: all but structs have a zero in front."""
        is_struct = isinstance(self._types.get(type_id), StructType)
        if not is_struct and cursor.unsigned() != 0:
            raise cursor.error("a zero was expected in front of the value")
        return self._value(type_id, cursor, depth)

    def _value(self, type_id: int, cursor: Cursor, depth: int) -> GobValue:
        read = _BASIC.get(type_id)
        if read is not None:
            return read(cursor)
        if depth >= self._limits.max_depth:
            raise cursor.error(f"values are nested deeper than {self._limits.max_depth} levels")
        if type_id == Basic.INTERFACE:
            return self._interface(cursor, depth)
        kind = self._types.get(type_id)
        if isinstance(kind, StructType):
            return self._struct(kind, cursor, depth + 1)
        if isinstance(kind, SliceType):
            return self._elements(kind.element, cursor.count(), cursor, depth + 1)
        if isinstance(kind, MapType):
            return self._map(kind, cursor, depth + 1)
        if isinstance(kind, ArrayType):
            count = cursor.count()
            if count != kind.length:
                raise cursor.error(f"{count} elements in an array of {kind.length}")
            return self._elements(kind.element, count, cursor, depth + 1)
        if kind is None:
            raise cursor.error(f"type {type_id} was never defined")
        return cursor.raw()

    def _struct(self, kind: StructType, cursor: Cursor, depth: int) -> GobStruct:
        fields = kind.fields
        values: GobStruct = {}
        number = -1
        while delta := cursor.unsigned():
            number += delta
            if number >= len(fields):
                raise cursor.error(f"struct {kind.name!r} has no field {number}")
            cursor.spend(1)
            field = fields[number]
            values[field.name] = self._value(field.type_id, cursor, depth)
        return values

    def _elements(self, element: int, count: int, cursor: Cursor, depth: int) -> list[GobValue]:
        return [self._value(element, cursor, depth) for _ in range(count)]

    def _map(self, kind: MapType, cursor: Cursor, depth: int) -> GobStruct:
        if kind.key != Basic.STRING:
            raise cursor.error(f"map {kind.name!r} has keys that are no texts")
        values: GobStruct = {}
        for _ in range(cursor.count()):
            key = cursor.text()
            values[key] = self._value(kind.element, cursor, depth)
        return values

    def _interface(self, cursor: Cursor, depth: int) -> GobValue:
        name = cursor.text()
        if not name:
            return None
        type_id = cursor.signed()
        length = cursor.unsigned()
        stop = cursor.position + length
        if stop > cursor.end:
            raise cursor.error(f"{length} bytes are announced for an interface")
        cursor.spend(1)
        value = self._single(type_id, cursor, depth + 1)
        if cursor.position != stop:
            raise cursor.error("the value of an interface has another length than announced")
        return value


class _Definition:
    """What a message gives that defines a type."""


_DEFINITION: Final = _Definition()


class GobStream:
    """Reads a stream that comes in pieces of any size.

    Args:
        limits: How much is taken.

    Attributes:
        lost: Whether the stream cannot be followed any more.
    """

    def __init__(self, limits: GobLimits = DEFAULT_LIMITS) -> None:
        """Start before the first byte."""
        self._limits = limits
        self._decoder = _Decoder(limits)
        self._buffer = bytearray()
        self._needed = 0
        self.lost = False

    @property
    def inside_message(self) -> bool:
        """Whether the last piece ended inside a message."""
        return bool(self._buffer)

    def receive(self, data: bytes) -> list[GobValue | GobError]:
        """Take the next piece.

        Returns:
            What it completed, in order: values, and errors in place of values that could not be
            read. After a `GobStreamError` everything is ignored.
        """
        found: list[GobValue | GobError] = []
        if self.lost:
            return found
        self._buffer += data
        if len(self._buffer) < self._needed:  # a long message may come in very many pieces
            return found
        whole = bytes(self._buffer)
        position = 0
        try:
            while (place := self._next(whole, position)) is not None:
                start, position = place
                try:
                    value = self._decoder.message(whole, start, position)
                except GobError as error:
                    found.append(error)
                    continue
                if not isinstance(value, _Definition):
                    found.append(value)
        except GobStreamError as error:
            found.append(error)
            self.lost = True
            position = len(whole)
        del self._buffer[:position]
        return found

    def end(self) -> GobError | None:
        """Say what is wrong with an end of the stream here; None when nothing is."""
        if self.lost or not self._buffer:
            return None
        return GobError(f"gob: the stream ends inside a message, after {len(self._buffer)} bytes")

    def _next(self, data: bytes, position: int) -> tuple[int, int] | None:
        """Find the next message, if it is all there: its start and its end."""
        self._needed = 0
        try:
            length = peek_unsigned(data, position)
        except GobError as error:
            raise GobStreamError(f"gob: {error}; the stream cannot be followed") from error
        if length is None:
            return None
        size, start = length
        if not size or size > self._limits.max_message_bytes:
            msg = (
                f"gob: a message of {size} bytes is announced, expected 1 to"
                f" {self._limits.max_message_bytes}; the stream cannot be followed"
            )
            raise GobStreamError(msg)
        stop = start + size
        if stop > len(data):
            self._needed = stop - position
            return None
        return start, stop


def decode_gob(data: bytes, *, limits: GobLimits = DEFAULT_LIMITS) -> GobValue:
    """Read the first value of a stream that is all there, with the definitions before it.

    What follows the value is not looked at, as Go does it.

    Args:
        data: The stream.
        limits: How much is taken.

    Raises:
        GobError: There is no value, or it cannot be read.
    """
    decoder = _Decoder(limits)
    position = 0
    while True:
        place = peek_unsigned(data, position)
        if place is None:
            raise GobError(f"gob: the stream ends after {len(data)} bytes, before its first value")
        size, start = place
        if size > min(len(data) - start, limits.max_message_bytes):
            raise GobError(
                f"gob: a message of {size} bytes is announced, {len(data) - start} are there"
            )
        position = start + size
        value = decoder.message(data, start, position)
        if not isinstance(value, _Definition):
            return value
