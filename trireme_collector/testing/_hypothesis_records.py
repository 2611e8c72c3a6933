"""Hypothesis strategies for every record, made from the records' own annotations."""

from __future__ import annotations

import enum
import types
import typing
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from trireme_collector.records import RECORD_TYPES

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "trireme_collector.testing.strategies needs the package hypothesis:"
        ' pip install "trireme-collector[testing]"',
        name="hypothesis",
    ) from error

if TYPE_CHECKING:
    from trireme_collector.records import Record

__all__ = ["INTEGERS", "NASTY_TEXT", "TEXT", "records", "structs"]

StructT = TypeVar("StructT", bound=msgspec.Struct)

INTEGERS: Final = st.integers(-(2**63), 2**64 - 1)
"""What MessagePack can carry: 64 bits, signed or not."""
TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
"""Any text that UTF-8 can carry."""
# Joined from a list: `st.text` would make one large set of all the characters, and these few
# would hardly ever be drawn.
NASTY_TEXT: Final = st.lists(
    st.one_of(
        st.sampled_from('"\\]\n\r\t\0\x1b\x7f\x9b\u202e\u2028\ufeff\ud800\udfff/u0a=é 字😀'),
        st.characters(),
    ),
    max_size=30,
).map("".join)
"""What a network sends: quotes, brackets, line ends, terminal escapes, overrides, surrogates."""


def records(*kinds: type[Record], text: st.SearchStrategy[str] = TEXT) -> st.SearchStrategy[Record]:
    """Give a strategy for records, each field of any value that its type allows.

    Args:
        *kinds: Which kinds; all of them when none is given.
        text: The strategy for texts, for example `NASTY_TEXT`.
    """
    return st.one_of([_struct(kind, text) for kind in kinds or tuple(RECORD_TYPES.values())])


def structs(
    kind: type[StructT], text: st.SearchStrategy[str] = TEXT, **fields: st.SearchStrategy[object]
) -> st.SearchStrategy[StructT]:
    """Give a strategy for one kind of record, or for a part of one such as `EndPoint`.

    Args:
        kind: The type.
        text: The strategy for texts.
        **fields: Strategies for fields that are not to be of just any value.

    Raises:
        TypeError: The type has no such field.
    """
    unknown = fields.keys() - set(kind.__struct_fields__)
    if unknown:
        raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
    built: st.SearchStrategy[StructT] = _struct(kind, text, **fields)
    return built


def _struct(
    kind: type[typing.Any], text: st.SearchStrategy[str], **fields: st.SearchStrategy[object]
) -> st.SearchStrategy[typing.Any]:
    known = {name: _values(hint, text) for name, hint in _hints(kind).items()}
    return st.builds(kind, **{**known, **fields})


def _hints(kind: type[msgspec.Struct]) -> dict[str, object]:
    # `bytes` is also the name of a field of a flow, which its annotations do not mean.
    hints = typing.get_type_hints(kind, localns={"bytes": bytes})
    return {field.name: hints[field.name] for field in msgspec.structs.fields(kind)}


def _values(hint: object, text: st.SearchStrategy[str]) -> st.SearchStrategy[typing.Any]:
    """Give a strategy for one annotation."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of([_values(argument, text) for argument in arguments])
    if origin is tuple:
        return st.lists(_values(arguments[0], text), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(text, text, max_size=3)
    if hint is msgspec.UnsetType:
        return st.just(msgspec.UNSET)
    plain: dict[object, st.SearchStrategy[typing.Any]] = {
        str: text,
        bool: st.booleans(),
        int: INTEGERS,
        bytes: st.binary(max_size=64),
    }
    if hint in plain:
        return plain[hint]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct(hint, text)
    raise TypeError(f"there is no strategy for {hint!r}")
