"""Strategies for every record, made from the records' own annotations."""

from __future__ import annotations

import enum
import types
import typing
from typing import TYPE_CHECKING

import msgspec
from hypothesis import strategies as st

from trireme_collector import RECORD_TYPES

if TYPE_CHECKING:
    from trireme_collector import Record

# MessagePack has 64 bits, signed or not.
INTEGERS = st.integers(-(2**63), 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# What a network sends: quotes, brackets, line ends, terminal escapes, overrides, surrogates.
NASTY_TEXT = st.text(
    st.one_of(
        st.sampled_from('"\\]\n\r\t\0\x1b\x7f\x9b\u202e\u2028\ufeff\ud800\udfff/u0a=é 字😀'),
        st.characters(),
    ),
    max_size=30,
)


def values(hint: object, text: st.SearchStrategy[str]) -> st.SearchStrategy[typing.Any]:
    """Give a strategy for one annotation."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values(argument, text) for argument in arguments])
    if origin is tuple:
        return st.lists(values(arguments[0], text), max_size=3).map(tuple)
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
    assert isinstance(hint, type)
    if issubclass(hint, enum.Enum):
        return st.sampled_from(hint)
    return structs(hint, text)


def structs(kind: type, text: st.SearchStrategy[str] = TEXT) -> st.SearchStrategy[typing.Any]:
    """Give a strategy for one kind of struct."""
    # `bytes` is also the name of a field of a flow, which its annotations do not mean.
    hints = typing.get_type_hints(kind, localns={"bytes": bytes})
    return st.builds(
        kind,
        **{field.name: values(hints[field.name], text) for field in msgspec.structs.fields(kind)},
    )


def records(text: st.SearchStrategy[str] = TEXT) -> st.SearchStrategy[Record]:
    """Give a strategy for any record."""
    return st.one_of([structs(kind, text) for kind in RECORD_TYPES.values()])
