"""The fields of a record as flat names and texts."""

from __future__ import annotations

import base64
import enum
import functools
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trireme_collector.records import Record

__all__ = ["parameters"]

# Elements of a list are numbered from 1: a name that occurs twice is lost by some receivers.
_SINGULAR = {
    "tags": "tag",
    "claims": "claim",
    "counters": "counter",
    "ips": "ip",
    "lines": "line",
    "records": "step",
    "ip_address": "address",
}


def parameters(record: Record) -> Sequence[tuple[str, str]]:
    """List the fields of a record as names and texts, in the order of the fields.

    What is unknown or empty is left out. The identity of the record comes first, so that it
    survives when a message is cut.
    """
    return list(_fields(record, ""))


def _fields(struct: msgspec.Struct, prefix: str) -> Iterator[tuple[str, str]]:
    for name in _names(type(struct)):
        value = getattr(struct, name)
        if value is not msgspec.UNSET and value != "":
            yield from _parameter(prefix + name, value)


@functools.cache
def _names(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return kind.__struct_fields__


def _parameter(name: str, value: object) -> Iterator[tuple[str, str]]:
    match value:
        case str() if not isinstance(value, enum.Enum):
            yield name, value
        case bool():
            yield name, "true" if value else "false"
        case int():
            yield name, str(value)
        case enum.Enum():
            yield name, str(value.value)
        case bytes():
            if value:
                yield name, base64.b64encode(value).decode()
        case msgspec.Struct():
            yield from _fields(value, f"{name}_")
        case tuple() | list():
            singular = _SINGULAR.get(name, name)
            for number, item in enumerate(value, 1):
                yield f"{singular}.{number}", _element(item)
        case dict():
            singular = _SINGULAR.get(name, name)
            for number, (key, item) in enumerate(value.items(), 1):
                yield f"{singular}.{number}", f"{key}={item}"


def _element(item: object) -> str:
    if not isinstance(item, msgspec.Struct):
        return str(item)
    values = {name: getattr(item, name) for name in _names(type(item))}
    if set(values) == {"name", "value"}:
        return f"{values['name']}={values['value']}"
    return msgspec.json.encode(item).decode()
