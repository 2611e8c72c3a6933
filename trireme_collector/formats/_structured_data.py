"""The fields of a record as flat names and texts, and as parameters of structured data."""

from __future__ import annotations

import base64
import enum
import functools
import operator
import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from trireme_collector.formats._escaping import escape_text
from trireme_collector.formats._flow_parameters import render_flow_parameters
from trireme_collector.formats._text_cache import TextCache
from trireme_collector.records import FlowRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trireme_collector.records import Record

__all__ = ["parameter_value", "parameters", "render_parameters"]

# Elements of a list are numbered from 1: a name that occurs twice is lost by some receivers.
_SINGULAR = {
    "tags": "tag",
    "claims": "claim",
    "counters": "counter",
    "collectors": "collector",
    "ips": "ip",
    "lines": "line",
    "records": "step",
    "ip_address": "address",
}
# RFC 5424 section 6.3.3: these three, and only these, are escaped in a parameter value.
_SPECIAL = re.compile(r'["\\\]]')
_UNSET = msgspec.UNSET


def parameters(record: Record) -> Sequence[tuple[str, str]]:
    """List the fields of a record as names and texts, in the order of the fields.

    What is unknown or empty is left out. The identity of the record comes first, so that it
    survives when a message is cut.
    """
    return list(_fields(record, ""))


def render_parameters(record: Record) -> str:
    """Write the fields of a record as RFC 5424 parameters, each after a space.

    That is `parameters` with every value escaped, several times as fast.
    """
    if type(record) is FlowRecord:
        try:
            return render_flow_parameters(record, _VALUES, _render_kept)
        except (AttributeError, TypeError):
            pass  # a field of another type than it should be: the general way knows more of them
    plan = _plan(type(record))
    parts: list[str] = []
    add = parts.append
    values = _VALUES
    for head, value in zip(plan.heads, plan.get(record), strict=True):
        if value is _UNSET:
            continue
        kind = type(value)
        if kind is str:
            if value:
                add(f'{head}{values[value]}"')  # type: ignore[index]  # it is a text: see above
        elif kind is int:
            add(f'{head}{value}"')
        elif kind is tuple:
            if value:
                add(_render_kept(head, value))
        elif isinstance(value, enum.Enum):
            add(_render_kept(head, value))
        elif value != "":
            add(_render_others(head, value))
    return "".join(parts)


def parameter_value(text: str) -> str:
    """Escape a text for the inside of a parameter."""
    if text.isprintable() and "\\" not in text and '"' not in text and "]" not in text:
        return text
    return _SPECIAL.sub(_escape_special, escape_text(text))


class _Plan(NamedTuple):
    """How the fields of one type of record are read: in one call, ends of flows included."""

    heads: tuple[str, ...]
    get: Callable[[object], tuple[object, ...]]


_VALUES = TextCache(parameter_value)
# The parameters of tags and of enumerations, by their type and what stands before the value.
_KEPT: dict[tuple[type, str, object], str] = {}
_MAX_KEPT = 1024
_MAX_KEPT_CHARACTERS = 1024


def _render_kept(head: str, value: object) -> str:
    """Write a list or a member of an enumeration, which is likely to come again."""
    try:
        return _KEPT[type(value), head, value]
    except (KeyError, TypeError):
        rendered = _render_others(head, value)
    # Only texts in a list: 1 and True would be one key.
    texts = isinstance(value, tuple) and all(type(item) is str for item in value)
    if len(rendered) <= _MAX_KEPT_CHARACTERS and (texts or isinstance(value, enum.Enum)):
        if len(_KEPT) >= _MAX_KEPT:
            _KEPT.clear()
        _KEPT[type(value), head, value] = rendered
    return rendered


def _render_others(head: str, value: object) -> str:
    """Write a value that is neither text nor number."""
    if value == "":
        return ""
    return "".join(f' {name}="{_VALUES[text]}"' for name, text in _parameter(head[1:-2], value))


@functools.cache
def _plan(kind: type[msgspec.Struct]) -> _Plan:
    paths = list(_paths(kind, ""))
    heads = tuple(f' {path.replace(".", "_")}="' for path in paths)
    return _Plan(heads, operator.attrgetter(*paths))


def _paths(kind: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    for field in msgspec.structs.fields(kind):
        default = field.default
        if isinstance(default, msgspec.Struct):
            yield from _paths(type(default), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def _escape_special(match: re.Match[str]) -> str:
    return "\\" + match[0]


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
    try:
        return msgspec.json.encode(item).decode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON in UTF-8 cannot carry
        return msgspec.json.encode({name: _whole(text) for name, text in values.items()}).decode()


def _whole(value: object) -> object:
    if not isinstance(value, str):
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
