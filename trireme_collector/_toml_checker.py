"""Compares plain values with a type, and finds every difference rather than the first.

`msgspec.convert` stops at the first mistake. People who write files want all of them.
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec
from msgspec import inspect

from trireme_collector._toml_values import describe, nearest, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trireme_collector._toml_positions import KeyPath

__all__ = ["Finding", "Unfit", "find"]

_NUMBERS: TypeAlias = inspect.IntType | inspect.FloatType
_KINDS: tuple[tuple[type[inspect.Type], tuple[type, ...], str], ...] = (
    (inspect.BoolType, (bool,), "true or false"),
    (inspect.IntType, (int,), "an integer"),
    (inspect.FloatType, (int, float), "a number"),
    (inspect.StrType, (str,), "a string"),
    (inspect.DateTimeType, (datetime.datetime,), "a date and time"),
    (inspect.DateType, (datetime.date,), "a date"),
    (inspect.TimeType, (datetime.time,), "a time"),
    (inspect.StructType, (dict,), "a table"),
    (inspect.DictType, (dict,), "a table"),
    (inspect.ListType, (list,), "an array"),
    (inspect.SetType, (list,), "an array"),
    (inspect.FrozenSetType, (list,), "an array"),
    (inspect.VarTupleType, (list,), "an array"),
    (inspect.TupleType, (list,), "an array"),
)
_ARRAYS = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType)


class Unfit(ValueError):  # noqa: N818  what a validator says about a value, not a failure
    """Raised by a validator in ``Meta(extra={"validate": ...})`` for a value that will not do.

    Attributes:
        found: What stands there; empty to describe the value itself.
        expected: What would be right.
        nearest: A likely intended spelling, or empty.
    """

    def __init__(self, expected: str, *, found: str = "", nearest: str = "") -> None:
        """Keep the three parts of the message."""
        super().__init__(expected)
        self.found = found
        self.expected = expected
        self.nearest = nearest


class Finding(NamedTuple):
    """One difference between a value and its type."""

    path: KeyPath
    found: str
    expected: str
    nearest: str = ""
    of_key: bool = False


def find(value: object, kind: type, path: KeyPath) -> Iterator[Finding]:
    """Find every difference between a value and a type.

    Args:
        value: What the TOML parser returned.
        kind: Any type that msgspec knows; structs never take unknown keys.
        path: Where the value stands; the findings' paths begin with it.

    Yields:
        The differences in the order of the type's fields.
    """
    yield from _find(value, inspect.type_info(kind), path)


def _find(value: object, kind: inspect.Type, path: KeyPath) -> Iterator[Finding]:
    match kind:
        case inspect.Metadata():
            yield from _find_with_validator(value, kind, path)
        case inspect.UnionType():
            yield from _find_in_union(value, kind, path)
        case inspect.LiteralType():
            yield from _find_in_choice(value, kind.values, path)
        case inspect.EnumType():
            yield from _find_in_choice(value, [member.value for member in kind.cls], path)
        case inspect.AnyType():
            return
        case _ if not _same_kind(value, kind):
            yield Finding(path, describe(value), _expected(kind), _in_brackets(value, kind))
        case inspect.StructType():
            yield from _find_in_struct(value, kind, path)
        case inspect.DictType():
            yield from _find_in_dict(value, kind, path)
        case inspect.TupleType():
            yield from _find_in_tuple(value, kind, path)
        case (
            inspect.ListType()
            | inspect.SetType()
            | inspect.FrozenSetType()
            | (inspect.VarTupleType())
        ):
            yield from _find_in_array(value, kind, path)
        case inspect.IntType() | inspect.FloatType():
            yield from _find_in_number(value, kind, path)
        case inspect.StrType():
            yield from _find_in_string(value, kind, path)


def _in_brackets(value: object, kind: inspect.Type) -> str:
    """Show the array that somebody meant who wrote its only element, or nothing."""
    if not isinstance(value, str) or not isinstance(kind, _ARRAYS):
        return ""
    return f"[{quote(value)}]" if _same_kind(value, kind.item_type) else ""


def _find_with_validator(value: object, kind: inspect.Metadata, path: KeyPath) -> Iterator[Finding]:
    extra = kind.extra or {}
    wrong = False
    for finding in _find(value, kind.type, path):
        wrong = True
        better = extra.get("expected") if finding.path == path else None
        yield finding._replace(expected=str(better)) if better else finding
    validate: Callable[[object], object] | None = extra.get("validate")
    if wrong or validate is None:
        return
    try:
        validate(value)
    except Unfit as unfit:
        yield Finding(path, unfit.found or describe(value), unfit.expected, unfit.nearest)


def _find_in_union(value: object, kind: inspect.UnionType, path: KeyPath) -> Iterator[Finding]:
    fitting = [member for member in kind.types if _same_kind(value, member)]
    if not fitting:
        expected = " or ".join(dict.fromkeys(_expected(member) for member in kind.types))
        yield Finding(path, describe(value), expected)
        return
    tagged = [t for t in fitting if isinstance(t, inspect.StructType) and t.tag_field]
    if tagged and isinstance(value, dict):
        yield from _find_in_tagged(value, tagged, path)
        return
    attempts = [list(_find(value, member, path)) for member in fitting]
    yield from min(attempts, key=len)


def _find_in_tagged(
    value: dict[str, object], kinds: list[inspect.StructType], path: KeyPath
) -> Iterator[Finding]:
    field = str(kinds[0].tag_field)
    tags = [kind.tag for kind in kinds]
    if field not in value:
        yield Finding((*path, field), "nothing", _one_of(tags))
        return
    for kind in kinds:
        if kind.tag == value[field]:
            yield from _find_in_struct(value, kind, path)
            return
    yield from _find_in_choice(value[field], tags, (*path, field))


def _find_in_choice(value: object, choices: Iterable[object], path: KeyPath) -> Iterator[Finding]:
    choices = list(choices)
    if any(value == choice and type(value) is type(choice) for choice in choices):
        return
    words = [choice for choice in choices if isinstance(choice, str)]
    near = nearest(value, words) if isinstance(value, str) else ""
    yield Finding(path, describe(value), _one_of(choices), quote(near) if near else "")


def _find_in_struct(value: object, kind: inspect.StructType, path: KeyPath) -> Iterator[Finding]:
    if not isinstance(value, dict):
        return
    fields = {field.encode_name: field for field in kind.fields}
    known = [*fields, *([kind.tag_field] if kind.tag_field else [])]
    for key in value:
        if key not in known:
            near = nearest(key, known)
            expected = "one of " + ", ".join(sorted(known)) if known else "no key at all"
            yield Finding((*path, key), f"unknown key {quote(key)}", expected, near, of_key=True)
    for name, field in fields.items():
        if name in value:
            yield from _find(value[name], field.type, (*path, name))
        elif field.required:
            found = "nothing" if value or path else "an empty file"
            yield Finding((*path, name), found, _expected(field.type))


def _find_in_dict(value: object, kind: inspect.DictType, path: KeyPath) -> Iterator[Finding]:
    if not isinstance(value, dict):
        return
    for key, element in value.items():
        for finding in _find(key, kind.key_type, (*path, key)):
            yield finding._replace(of_key=True)
        yield from _find(element, kind.value_type, (*path, key))


def _find_in_array(
    value: object,
    kind: inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType,
    path: KeyPath,
) -> Iterator[Finding]:
    if not isinstance(value, list):
        return
    low, high = kind.min_length or 0, kind.max_length
    if len(value) < low or (high is not None and len(value) > high):
        yield Finding(path, describe(value), _expected(kind))
    for index, element in enumerate(value):
        yield from _find(element, kind.item_type, (*path, index))


def _find_in_tuple(value: object, kind: inspect.TupleType, path: KeyPath) -> Iterator[Finding]:
    if not isinstance(value, list):
        return
    if len(value) != len(kind.item_types):
        yield Finding(path, describe(value), _expected(kind))
        return
    for index, (element, item) in enumerate(zip(value, kind.item_types, strict=True)):
        yield from _find(element, item, (*path, index))


def _find_in_number(value: object, kind: _NUMBERS, path: KeyPath) -> Iterator[Finding]:
    if not isinstance(value, int | float):
        return
    if (
        (kind.ge is not None and not value >= kind.ge)
        or (kind.gt is not None and not value > kind.gt)
        or (kind.le is not None and not value <= kind.le)
        or (kind.lt is not None and not value < kind.lt)
        or (kind.multiple_of and value % kind.multiple_of)
    ):
        yield Finding(path, describe(value), _expected(kind))


def _find_in_string(value: object, kind: inspect.StrType, path: KeyPath) -> Iterator[Finding]:
    if not isinstance(value, str):
        return
    if (
        (kind.min_length is not None and len(value) < kind.min_length)
        or (kind.max_length is not None and len(value) > kind.max_length)
        or (kind.pattern is not None and not re.search(kind.pattern, value))
    ):
        yield Finding(path, describe(value), _expected(kind))


def _same_kind(value: object, kind: inspect.Type) -> bool:
    """Whether a value is of the TOML kind that a type is written as, whatever it contains."""
    match kind:
        case inspect.Metadata():
            return _same_kind(value, kind.type)
        case inspect.UnionType():
            return any(_same_kind(value, member) for member in kind.types)
        case inspect.LiteralType():
            return type(value) in {type(choice) for choice in kind.values}
        case inspect.EnumType():
            return type(value) in {type(member.value) for member in kind.cls}
        case inspect.AnyType():
            return True
        case inspect.CustomType():
            return isinstance(value, kind.cls)
    for known, accepted, _ in _KINDS:
        if isinstance(kind, known):
            if isinstance(value, bool):
                return bool in accepted
            if isinstance(value, datetime.datetime):
                return datetime.datetime in accepted
            return isinstance(value, accepted)
    return False


def _expected(kind: inspect.Type) -> str:
    text = next((text for known, _, text in _KINDS if isinstance(kind, known)), "something else")
    match kind:
        case inspect.Metadata():
            text = str((kind.extra or {}).get("expected") or _expected(kind.type))
        case inspect.UnionType():
            shown = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
            text = " or ".join(dict.fromkeys(_expected(member) for member in shown))
        case inspect.LiteralType():
            text = _one_of(kind.values)
        case inspect.EnumType():
            text = _one_of([member.value for member in kind.cls])
        case inspect.IntType() | inspect.FloatType():
            text = _expected_number(kind)
        case inspect.StrType():
            text = _expected_string(kind)
        case inspect.TupleType():
            text = f"an array of {len(kind.item_types)}"
        case inspect.StructType() if kind.tag is not None:
            text = f"a table with {kind.tag_field} = {_shown(kind.tag)}"
        case _ if isinstance(kind, _ARRAYS) and kind.max_length is not None:
            text = f"an array of {kind.min_length or 0} to {kind.max_length}"
        case _ if isinstance(kind, _ARRAYS) and kind.min_length:
            text = f"an array of at least {kind.min_length}"
    return text


def _expected_number(kind: _NUMBERS) -> str:
    noun = "an integer" if isinstance(kind, inspect.IntType) else "a number"
    if kind.ge is not None and kind.le is not None:
        return f"{noun} from {kind.ge} to {kind.le}"
    limits = [
        f"{words} {limit}"
        for words, limit in (
            ("at least", kind.ge),
            ("above", kind.gt),
            ("at most", kind.le),
            ("below", kind.lt),
            ("a multiple of", kind.multiple_of),
        )
        if limit is not None
    ]
    return " ".join([noun, " and ".join(limits)]).rstrip()


def _expected_string(kind: inspect.StrType) -> str:
    limits = []
    if kind.min_length is not None and kind.max_length is None:
        limits.append("that is not empty" if kind.min_length == 1 else f"of {kind.min_length}+")
    elif kind.max_length is not None:
        limits.append(f"of {kind.min_length or 0} to {kind.max_length} characters")
    if kind.pattern is not None:
        limits.append(f"matching {kind.pattern}")
    return " ".join(["a string", *limits])


def _one_of(choices: Iterable[object]) -> str:
    shown = [_shown(choice) for choice in choices]
    return shown[0] if len(shown) == 1 else "one of " + ", ".join(shown)


def _shown(choice: object) -> str:
    return quote(choice) if isinstance(choice, str) else msgspec.json.encode(choice).decode()
