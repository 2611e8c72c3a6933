"""Fields of a struct, read by name and checked by type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.monitor.gob._errors import GobError

if TYPE_CHECKING:
    from trireme_datapath.monitor.gob._types import GobStruct, GobValue

__all__ = [
    "bytes_field",
    "list_field",
    "number_field",
    "struct_field",
    "text_field",
    "texts_field",
]


def number_field(struct: GobStruct, name: str) -> int:
    """Give a whole number, 0 when the field is absent.

    Raises:
        GobError: The field is something else.
    """
    value = struct.get(name, 0)
    if not isinstance(value, int):
        raise _mismatch(name, value, "a whole number")
    return value


def text_field(struct: GobStruct, name: str) -> str:
    """Give a text, empty when the field is absent.

    Raises:
        GobError: The field is something else.
    """
    value = struct.get(name, "")
    if not isinstance(value, str):
        raise _mismatch(name, value, "a text")
    return value


def bytes_field(struct: GobStruct, name: str) -> bytes:
    """Give bytes, empty when the field is absent.

    Raises:
        GobError: The field is something else.
    """
    value = struct.get(name, b"")
    if not isinstance(value, bytes):
        raise _mismatch(name, value, "bytes")
    return value


def list_field(struct: GobStruct, name: str) -> list[GobValue]:
    """Give a list, empty when the field is absent.

    Raises:
        GobError: The field is something else.
    """
    value = struct.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _mismatch(name, value, "a list")
    return value


def texts_field(struct: GobStruct, name: str) -> list[str]:
    """Give a list of texts, empty when the field is absent.

    Raises:
        GobError: The field is something else.
    """
    texts = []
    for value in list_field(struct, name):
        if not isinstance(value, str):
            raise _mismatch(name, value, "a list of texts")
        texts.append(value)
    return texts


def struct_field(struct: GobStruct, name: str) -> GobStruct | None:
    """Give a struct or map, None when the field is absent.

    Raises:
        GobError: The field is something else.
    """
    value = struct.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise _mismatch(name, value, "a struct")


def _mismatch(name: str, value: GobValue, expected: str) -> GobError:
    return GobError(f"gob: field {name!r} is of type {type(value).__name__}, expected {expected}")
