"""What a test says of a record: some of its fields, and each as exactly as it wants to.

A value that a test expects is compared like this:

* a matcher of this module says itself what differs;
* a mapping is compared key by key, with the fields of a record or the keys of a mapping; fields
  and keys that it does not name may be anything;
* a list or tuple is compared element by element;
* a type takes its instances, any other callable is asked;
* an enumeration's member is also equal to its value on the wire (``action="accept"``);
* anything else is compared with ``==``, the expected value first, so `unittest.mock.ANY`,
  ``pytest.approx`` and the like work.
"""

from __future__ import annotations

import difflib
import enum
import fnmatch
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Matcher",
    "RecordMatcher",
    "absent",
    "anything",
    "between",
    "contains",
    "differences",
    "glob",
    "in_network",
    "like",
    "not_",
    "one_of",
    "regex",
]

_LONGEST_SHOWN = 300


class Matcher:
    """A condition on a value; it is equal to every value that fulfils it.

    So it works on either side of ``==``, inside lists, and in the arguments that a mock of
    `unittest.mock` compares.

    Args:
        says: How it is shown.
        fits: Tells whether a value fulfils it.
    """

    __slots__ = ("_fits", "_says")

    def __init__(self, says: str, fits: Callable[[object], bool]) -> None:
        """Keep both."""
        self._says = says
        self._fits = fits

    def differences(self, actual: object, path: str = "") -> list[str]:
        """Say in what a value differs from what is expected; nothing when it fits."""
        return [] if self._fits(actual) else [_differ(path, self._says, actual)]

    def __eq__(self, other: object) -> bool:
        """Tell whether a value fulfils the condition."""
        return not self.differences(other)

    def __hash__(self) -> int:
        """Hash by identity: what is equal to it differs."""
        return id(self)

    def __repr__(self) -> str:
        """Show the condition."""
        return self._says


class RecordMatcher(Matcher):
    """A kind of record and what some of its fields have to be; made by `like`.

    Attributes:
        kind: The type of the record.
        fields: What is expected of its fields, by name.
    """

    __slots__ = ("fields", "kind")

    def __init__(self, kind: type[msgspec.Struct], fields: Mapping[str, object]) -> None:
        """Check the names of the fields, also those inside mappings."""
        _check_fields(kind, fields)
        super().__init__("", lambda _: True)
        self.kind = kind
        self.fields = dict(fields)

    def differences(self, actual: object, path: str = "") -> list[str]:
        """Say which fields differ; nothing when the record fits."""
        if not isinstance(actual, self.kind):
            return [_differ(path, f"a {self.kind.__name__}", actual)]
        return differences(self.fields, actual, path)

    def __repr__(self) -> str:
        """Show it as it was written."""
        return f"{self.kind.__name__}({said_fields(self.fields) or '...'})"


def like(kind: type[msgspec.Struct], /, **fields: object) -> RecordMatcher:
    """Match a record by some of its fields.

    ::

        assert memory.flows == [like(FlowRecord, destination={"ip": "10.0.0.2", "port": 443})]

    Args:
        kind: The type: a record, or a part of one such as `EndPoint`.
        **fields: What is expected, by the name of the field: a value, a mapping for some fields
            of a nested part, a type, a matcher, or a function that is given the value and says
            whether it will do.

    Raises:
        TypeError: The type has no such field.
    """
    return RecordMatcher(kind, fields)


def glob(pattern: str) -> Matcher:
    """Match a text by a pattern with ``*``, ``?`` and ``[...]``; case counts."""
    return Matcher(
        f"glob({pattern!r})",
        lambda actual: isinstance(actual, str) and fnmatch.fnmatchcase(actual, pattern),
    )


def regex(pattern: str | re.Pattern[str]) -> Matcher:
    """Match a text in which a regular expression is found."""
    compiled = re.compile(pattern)
    return Matcher(
        f"regex({compiled.pattern!r})",
        lambda actual: isinstance(actual, str) and compiled.search(actual) is not None,
    )


def contains(*items: object) -> Matcher:
    """Match a text with these parts, or a sequence with these elements among others.

    An element may be anything that can be expected of a value:
    ``counters=contains({"name": "packets_dropped", "value": between(1)})``.
    """

    def fits(actual: object) -> bool:
        if isinstance(actual, str):
            return all(isinstance(item, str) and item in actual for item in items)
        if isinstance(actual, bytes):
            return all(isinstance(item, bytes) and item in actual for item in items)
        if not isinstance(actual, list | tuple | set | frozenset | Mapping):
            return False
        return all(any(not differences(item, element) for element in actual) for item in items)

    return Matcher(f"contains({', '.join(map(said, items))})", fits)


def one_of(*choices: object) -> Matcher:
    """Match what any of several expectations matches."""
    return Matcher(
        f"one_of({', '.join(map(said, choices))})",
        lambda actual: any(not differences(choice, actual) for choice in choices),
    )


def not_(expected: object) -> Matcher:
    """Match what an expectation does not match."""
    return Matcher(f"not_({said(expected)})", lambda actual: bool(differences(expected, actual)))


def between(low: float | None = None, high: float | None = None) -> Matcher:
    """Match a number from `low` to `high`, both included; None is no limit."""

    def fits(actual: object) -> bool:
        if not isinstance(actual, int | float) or isinstance(actual, bool):
            return False
        return (low is None or actual >= low) and (high is None or actual <= high)

    return Matcher(f"between({low}, {high})", fits)


def in_network(network: str) -> Matcher:
    """Match an address, written as text, by its network: ``in_network("10.0.0.0/8")``.

    Raises:
        ValueError: It is no network.
    """
    known = ipaddress.ip_network(network)

    def fits(actual: object) -> bool:
        try:
            return isinstance(actual, str) and ipaddress.ip_address(actual) in known
        except ValueError:
            return False

    return Matcher(f"in_network({network!r})", fits)


anything = Matcher("anything", lambda _: True)
"""Matches every value; `unittest.mock.ANY` does, too."""
absent = Matcher("absent", lambda actual: actual is UNSET)
"""Matches a field that is not set (``msgspec.UNSET``)."""


def differences(expected: object, actual: object, path: str = "") -> list[str]:
    """Say in what a value differs from what is expected of it.

    Args:
        expected: What is expected; see the head of this module.
        actual: The value.
        path: Where it stands, such as ``destination.port``.

    Returns:
        One line for each difference, none when the value fits.
    """
    if isinstance(expected, Matcher):
        return expected.differences(actual, path)
    if isinstance(expected, Mapping):
        if isinstance(actual, msgspec.Struct | Mapping):
            return [
                line
                for key, value in expected.items()
                for line in _differences_at(key, value, actual, path)
            ]
        return [_differ(path, said(expected), actual)]
    if isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
        if len(expected) != len(actual):
            return [_differ(path, f"{len(expected)} elements: {said(expected)}", actual)]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{path}[{index}]")]
    if isinstance(expected, msgspec.Struct) and type(expected) is type(actual):
        return [
            line
            for name in expected.__struct_fields__
            for line in differences(
                getattr(expected, name), getattr(actual, name), _join(path, name)
            )
        ]
    return [] if _fits(expected, actual) else [_differ(path, said(expected), actual)]


def _fits(expected: object, actual: object) -> bool:
    if expected is actual:
        return True
    if isinstance(expected, type):
        return isinstance(actual, expected)
    if isinstance(actual, enum.Enum) and not isinstance(expected, enum.Enum):
        if isinstance(expected, str | int):
            return bool(expected == actual.value)
    elif callable(expected) and type(expected).__eq__ is object.__eq__:
        return bool(expected(actual))
    return bool(expected == actual)


def _differences_at(key: object, value: object, actual: object, path: str) -> Iterator[str]:
    where = _join(path, str(key))
    if isinstance(actual, Mapping):
        if key in actual:
            yield from differences(value, actual[key], where)
        else:
            yield f"{where}: expected {said(value)}, but there is no such key"
    elif str(key) in getattr(actual, "__struct_fields__", ()):
        yield from differences(value, getattr(actual, str(key)), where)
    else:
        yield f"{where}: expected {said(value)}, but there is no such field"


def _check_fields(kind: type[msgspec.Struct], fields: Mapping[str, object], path: str = "") -> None:
    known = {field.name: field for field in msgspec.structs.fields(kind)}
    for name, expected in fields.items():
        field = known.get(name)
        if field is None:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {_join(path, near[0])}?)" if near else ""
            raise TypeError(
                f"{kind.__name__} has no field {_join(path, name)}{hint}; it has {', '.join(known)}"
            )
        if isinstance(expected, Mapping) and isinstance(field.default, msgspec.Struct):
            _check_fields(type(field.default), expected, name)


def said(value: object) -> str:
    """Show a value as a test would write it, on one line and not longer than people read."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {said(part)}" for key, part in value.items()) + "}"
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, msgspec.Struct):
        fields = {
            field.name: getattr(value, field.name)
            for field in msgspec.structs.fields(value)
            if getattr(value, field.name) != field.default
        }
        return f"{type(value).__name__}({said_fields(fields)})"
    code = getattr(value, "__code__", None)
    if code is not None:
        return f"{getattr(value, '__name__', 'function')} of line {code.co_firstlineno}"
    if isinstance(value, type):
        return value.__name__
    text = "UNSET" if value is UNSET else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def said_fields(fields: Mapping[str, object]) -> str:
    """Show fields as arguments."""
    return ", ".join(f"{name}={said(value)}" for name, value in fields.items())


def _differ(path: str, expected: str, actual: object) -> str:
    place = f"{path}: " if path else ""
    return f"{place}expected {expected}, got {said(actual)}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
