"""The types that a gob stream defines, and the values that they have here."""

from __future__ import annotations

import enum
from typing import Final, TypeAlias, Union

from msgspec import Struct

__all__ = [
    "ArrayType",
    "Basic",
    "Field",
    "GobStruct",
    "GobType",
    "GobValue",
    "MapType",
    "OpaqueKind",
    "OpaqueType",
    "SliceType",
    "StructType",
]

GobValue: TypeAlias = Union[
    bool, int, float, complex, bytes, str, "list[GobValue]", "dict[str, GobValue]", None
]
"""What a value becomes: structs and maps are dictionaries, arrays and slices are lists.

Nil interfaces are None. What a Go type encodes by itself stays bytes.
"""
GobStruct: TypeAlias = dict[str, GobValue]
"""A struct: the fields that are not zero, by name."""


class Basic(enum.IntEnum):
    """The types that nobody has to define."""

    BOOL = 1
    INT = 2
    UINT = 3
    FLOAT = 4
    BYTES = 5
    STRING = 6
    COMPLEX = 7
    INTERFACE = 8


FIRST_OWN_ID: Final = 64
"""Types of a stream are numbered from here on; what is below belongs to gob itself."""


class Field(Struct, frozen=True, gc=False):
    """A field of a struct: its name and the number of its type."""

    name: str
    type_id: int


class StructType(Struct, frozen=True):
    """A struct."""

    name: str
    fields: tuple[Field, ...] = ()


class ArrayType(Struct, frozen=True, gc=False):
    """An array of a fixed length."""

    name: str
    element: int
    length: int


class SliceType(Struct, frozen=True, gc=False):
    """A list of any length."""

    name: str
    element: int


class MapType(Struct, frozen=True, gc=False):
    """A map."""

    name: str
    key: int
    element: int


class OpaqueKind(enum.IntEnum):
    """How a type encodes itself; the number is that of the field in a definition."""

    GOB = 4
    BINARY = 5
    TEXT = 6


class OpaqueType(Struct, frozen=True, gc=False):
    """A type that encodes itself; its values are bytes to everybody else."""

    name: str
    kind: OpaqueKind = OpaqueKind.BINARY


GobType: TypeAlias = StructType | ArrayType | SliceType | MapType | OpaqueType
"""A type that a stream defines."""
