"""A configuration as the original's reader takes it: any case of keys, and null for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args, get_origin

import msgspec

__all__ = ["as_read"]


def as_read(value: object, kind: object) -> object:
    """Bring a value into the form that its type has, as far as the original would.

    Keys are found in whatever case they are written, null leaves what it stands for as it is by
    default, and null among the items of a list is an item of which nothing is said. What does
    not fit stays as it is: whoever converts it says what is wrong.

    Args:
        value: The value as JSON gives it.
        kind: A struct, a tuple of one type, or anything else.
    """
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _section(value, kind) if isinstance(value, Mapping) else value
    if get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        of = get_args(kind)[0]
        return [("" if of is str else {}) if item is None else as_read(item, of) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _section(value: Mapping[str, object], kind: type[msgspec.Struct]) -> dict[str, object]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    folded = {name.casefold(): name for name in fields}
    section: dict[str, object] = {}
    for key, item in value.items():
        name = str(key) if key in fields else folded.get(str(key).casefold(), "")
        if not name:
            section[str(key)] = item
        elif item is not None or not _has_zero(fields[name].type):
            section[name] = as_read(item, fields[name].type)
    return section


def _has_zero(kind: object) -> bool:
    """Say whether null stands for nothing; durations are read by a rule of their own."""
    return kind in (str, bool, int) or not get_args(kind) or get_origin(kind) in (tuple, dict)
