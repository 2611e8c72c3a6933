"""Definitions of types, read and written."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from trireme_datapath.monitor.gob._types import (
    ArrayType,
    Field,
    GobType,
    MapType,
    OpaqueKind,
    OpaqueType,
    SliceType,
    StructType,
)
from trireme_datapath.monitor.gob._wire import Cursor, write_bytes, write_signed, write_unsigned

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["read_definition", "write_definition"]

# The fields of a definition, of which one is there; opaque types have the numbers of `OpaqueKind`.
_ARRAY: Final = 0
_SLICE: Final = 1
_STRUCT: Final = 2
_MAP: Final = 3
_EXTRA_NUMBERS: Final = {_ARRAY: 2, _SLICE: 1, _MAP: 2}
_OPAQUE_KINDS: Final = frozenset(OpaqueKind)

# A message of an agent brings all its definitions along, always the same ones.
_REMEMBERED: Final = 256
_REMEMBERED_BYTES: Final = 4096


def read_definition(body: bytes) -> GobType:
    """Read what follows the number of the type in a definition.

    Raises:
        GobError: It is no definition.
    """
    return _remembered(body) if len(body) <= _REMEMBERED_BYTES else _read(body)


def _read(body: bytes) -> GobType:
    cursor = Cursor(body, 0, len(body))
    found: GobType | None = None
    for number in _numbers(cursor):
        if found is not None:
            raise cursor.error("a definition defines two types")
        found = _read_kind(cursor, number)
    if found is None:
        raise cursor.error("a definition defines no type")
    if cursor.position != cursor.end:
        raise cursor.error("bytes follow the end of a definition")
    return found


_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_read)


def _numbers(cursor: Cursor) -> Iterator[int]:
    """Give the numbers of the fields of a struct that are there; read each before the next."""
    number = -1
    while delta := cursor.unsigned():
        number += delta
        yield number


def _read_kind(cursor: Cursor, kind: int) -> GobType:
    name = ""
    numbers = {1: 0, 2: 0}
    fields: tuple[Field, ...] = ()
    for number in _numbers(cursor):
        if number == 0:
            name = _read_name(cursor)
        elif kind == _STRUCT and number == 1:
            fields = tuple(_read_field(cursor) for _ in range(_count(cursor)))
        elif number <= _EXTRA_NUMBERS.get(kind, 0):
            numbers[number] = cursor.signed()
        else:
            raise cursor.error(f"a definition of kind {kind} has no field {number}")
    if kind == _STRUCT:
        return StructType(name, fields)
    if kind == _ARRAY:
        return ArrayType(name, numbers[1], numbers[2])
    if kind == _SLICE:
        return SliceType(name, numbers[1])
    if kind == _MAP:
        return MapType(name, numbers[1], numbers[2])
    if kind in _OPAQUE_KINDS:
        return OpaqueType(name, OpaqueKind(kind))
    raise cursor.error(f"{kind} is no kind of type")


def _read_name(cursor: Cursor) -> str:
    """Read what all definitions begin with; the number in it is that of the type, once more."""
    name = ""
    for number in _numbers(cursor):
        if number == 0:
            name = cursor.text()
        elif number == 1:
            cursor.signed()
        else:
            raise cursor.error(f"the name of a type has no field {number}")
    return name


def _read_field(cursor: Cursor) -> Field:
    name, type_id = "", 0
    for number in _numbers(cursor):
        if number == 0:
            name = cursor.text()
        elif number == 1:
            type_id = cursor.signed()
        else:
            raise cursor.error(f"the field of a struct has no field {number}")
    return Field(name, type_id)


def _count(cursor: Cursor) -> int:
    count = cursor.unsigned()
    if count > cursor.end - cursor.position:
        raise cursor.error(f"{count} fields are announced, and fewer bytes are there")
    return count


def write_definition(type_id: int, kind: GobType) -> bytes:
    """Write the message that defines a type."""
    name = write_unsigned(1) + write_bytes(kind.name.encode()) if kind.name else b""
    step = 1 if name else 2  # a field that is absent is stepped over
    head = write_unsigned(1) + name + write_unsigned(step) + write_signed(type_id) + b"\0"
    number, rest = 0, b""
    match kind:
        case StructType():
            number, rest = _STRUCT, _fields(kind)
        case ArrayType():
            number, rest = _ARRAY, _number(kind.element) + _number(kind.length)
        case SliceType():
            number, rest = _SLICE, _number(kind.element)
        case MapType():
            number, rest = _MAP, _number(kind.key) + _number(kind.element)
        case OpaqueType():
            number = int(kind.kind)
    body = write_signed(-type_id) + write_unsigned(number + 1) + head + rest + b"\0\0"
    return write_bytes(body)


def _number(number: int) -> bytes:
    return write_unsigned(1) + write_signed(number)


def _fields(kind: StructType) -> bytes:
    if not kind.fields:
        return b""
    written = b"".join(
        write_unsigned(1) + write_bytes(field.name.encode()) + _number(field.type_id) + b"\0"
        for field in kind.fields
    )
    return write_unsigned(1) + write_unsigned(len(kind.fields)) + written
