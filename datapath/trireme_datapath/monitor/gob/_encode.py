"""Values into a gob stream."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from trireme_datapath.monitor.gob._definitions import write_definition
from trireme_datapath.monitor.gob._errors import GobError
from trireme_datapath.monitor.gob._types import (
    ArrayType,
    Basic,
    GobType,
    GobValue,
    MapType,
    SliceType,
    StructType,
)
from trireme_datapath.monitor.gob._wire import write_bytes, write_signed, write_unsigned

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GobSchema"]

_DOUBLE: Final = struct.Struct("<d")
_MAX_DEPTH: Final = 24


class GobSchema:
    """Writes values of one type.

    ::

        schema = GobSchema({65: StructType("Point", (Field("X", Basic.INT),))}, root=65)
        schema.definitions + schema.encode({"X": 7})

    Args:
        types: The types by number, in the order in which they are to be defined.
        root: The number of the type of the values; `Basic` types need no definition.

    Attributes:
        definitions: The messages that a stream begins with.
    """

    def __init__(self, types: Mapping[int, GobType], root: int) -> None:
        """Write the definitions once."""
        self._types = dict(types)
        self._root = root
        self.definitions = b"".join(write_definition(*each) for each in types.items())

    def encode(self, value: GobValue) -> bytes:
        """Write the message of one value.

        Raises:
            GobError: It is no value of this type.
        """
        alone = b"" if isinstance(self._types.get(self._root), StructType) else b"\0"
        return write_bytes(write_signed(self._root) + alone + self._value(self._root, value, 0))

    def _value(self, type_id: int, value: GobValue, depth: int) -> bytes:
        if depth > _MAX_DEPTH:
            raise GobError(f"the value is nested deeper than {_MAX_DEPTH} levels")
        kind = self._types.get(type_id)
        match kind, value:
            case None, _:
                return _basic(type_id, value)
            case StructType(), dict():
                return self._struct(kind, value, depth + 1)
            case MapType(), dict():
                pairs = (
                    _basic(kind.key, key) + self._value(kind.element, element, depth + 1)
                    for key, element in value.items()
                )
                return write_unsigned(len(value)) + b"".join(pairs)
            case ((SliceType() | ArrayType()), list()):
                if isinstance(kind, ArrayType) and len(value) != kind.length:
                    raise GobError(f"{len(value)} elements for an array of {kind.length}")
                elements = (self._value(kind.element, element, depth + 1) for element in value)
                return write_unsigned(len(value)) + b"".join(elements)
        if not isinstance(value, bytes) or isinstance(
            kind, (StructType, MapType, SliceType, ArrayType)
        ):
            name = type(kind).__name__
            raise GobError(f"found {type(value).__name__}, expected a value for {name}")
        return write_bytes(value)

    def _struct(self, kind: StructType, value: Mapping[str, GobValue], depth: int) -> bytes:
        unknown = value.keys() - {field.name for field in kind.fields}
        if unknown:
            raise GobError(f"struct {kind.name!r} has no field {min(unknown)!r}")
        parts: list[bytes] = []
        last = -1
        for number, field in enumerate(kind.fields):
            held = value.get(field.name)
            if held is None or (not held and not isinstance(held, dict)):
                continue  # what is zero stays away
            parts += (write_unsigned(number - last), self._value(field.type_id, held, depth))
            last = number
        return b"".join(parts) + b"\0"


def _basic(type_id: int, value: GobValue) -> bytes:
    match type_id, value:
        case Basic.BOOL, bool():
            return write_unsigned(int(value))
        case Basic.UINT, int():
            return write_unsigned(value)
        case Basic.INT, int():
            return write_signed(value)
        case Basic.FLOAT, (float() | int()):
            return _double(float(value))
        case Basic.COMPLEX, (complex() | float() | int()):
            number = complex(value)
            return _double(number.real) + _double(number.imag)
        case Basic.BYTES, bytes():
            return write_bytes(value)
        case Basic.STRING, str():
            return write_bytes(value.encode("utf-8", "replace"))
        case Basic.INTERFACE, None:
            return write_bytes(b"")
    raise GobError(f"found {type(value).__name__}, expected a value of type {type_id}")


def _double(number: float) -> bytes:
    return write_unsigned(int.from_bytes(_DOUBLE.pack(number)))
