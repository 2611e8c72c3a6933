"""Records as a packet script speaks of them: ``accept office-http count=2``."""

from __future__ import annotations

import enum
import fnmatch
import shlex
from typing import Final, NamedTuple

from msgspec import UNSET

from trireme_collector.records import (
    RECORD_TYPES,
    ActionType,
    FlowRecord,
    PacketReport,
    Record,
)
from trireme_datapath.testing._crafting import ScriptError

__all__ = ["RecordPattern", "read_record", "tell"]

_ACTIONS: Final = frozenset(action.value for action in ActionType)
_KINDS: Final = {kind.__name__: kind for kind in RECORD_TYPES.values()}


class RecordPattern(NamedTuple):
    """What a script expects of a record.

    Attributes:
        kind: Its type, None for any.
        words: What stands before the fields.
        fields: Paths such as ``destination.port``, and the texts that their values have to be.
    """

    kind: type[Record] | None
    words: tuple[str, ...]
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def _names_kind_only(self) -> bool:
        return len(self.words) == 1 and self.words[0] not in {"packet", *_ACTIONS}

    def told(self) -> str:
        """Write it as in a script."""
        fields = (f"{path}={quoted(value)}" for path, value in self.fields)
        return " ".join([*map(quoted, self.words), *fields]) if self.kind else "*"

    def told_of(self, record: Record) -> str:
        """Write a record like this pattern: the same text when it fits."""
        if self.kind is None:
            return "*"
        if not isinstance(record, self.kind):
            return tell(record)
        words = _words(record)
        if self._names_kind_only or _all_fit(self.words, words):
            words = self.words
        fields = (
            f"{path}={quoted(expected if _fits(expected, actual) else _text(actual))}"
            for path, expected in self.fields
            for actual in (_value(record, path),)
        )
        return " ".join([*map(quoted, words), *fields])


def quoted(word: str) -> str:
    """Quote a word as far as a script needs it."""
    return shlex.quote(word) if not word or set(word) & set(" \t'\"\\") else word


def read_record(words: list[str]) -> RecordPattern:
    """Read the words of a record.

    Raises:
        ScriptError: They are none.
    """
    if words == ["*"]:
        return RecordPattern(None, ())
    plain = tuple(word for word in words if "=" not in word)
    split = (word.partition("=") for word in words if "=" in word)
    pairs = tuple((path, value) for path, _, value in split)
    first = plain[0] if plain else ""
    if first == "packet":
        kind: type[Record] = PacketReport
    elif first in RECORD_TYPES or first in _KINDS:
        kind = RECORD_TYPES.get(first) or _KINDS[first]
        if len(plain) > 1:
            raise ScriptError(f"expected field=value after {first}, found {plain[1]!r}")
    elif first in _ACTIONS:
        kind = FlowRecord
    else:
        known = ", ".join(["ACTION POLICY [REASON]", "packet REASON", *RECORD_TYPES])
        raise ScriptError(f"expected a record ({known} or *), found {' '.join(words)!r}")
    for path, _ in pairs:
        _value(kind(), path)
    return RecordPattern(kind, plain, pairs)


def tell(record: Record) -> str:
    """Say what a script says of a record."""
    return " ".join(map(quoted, _words(record)))


def _words(record: Record) -> tuple[str, ...]:
    if isinstance(record, FlowRecord):
        said: tuple[str, ...] = (record.action.describe(), record.policy_id, record.drop_reason)
    elif isinstance(record, PacketReport):
        said = ("packet", record.drop_reason)
    else:
        said = (type(record).__name__,)
    return tuple(filter(None, said))


def _all_fit(expected: tuple[str, ...], actual: tuple[str, ...]) -> bool:
    return len(expected) == len(actual) and all(map(_fits, expected, actual))


def _value(record: object, path: str) -> object:
    value = record
    for name in path.split("."):
        if value is UNSET:
            return UNSET
        if name not in getattr(value, "__struct_fields__", ()):
            known = ", ".join(getattr(value, "__struct_fields__", ())) or "no fields"
            raise ScriptError(f"{type(value).__name__} has no field {name!r}; it has {known}")
        value = getattr(value, name)
    return value


def _fits(expected: str, actual: object) -> bool:
    if isinstance(actual, int) and not isinstance(actual, bool):
        try:
            return int(expected, 0) == actual
        except ValueError:
            return fnmatch.fnmatchcase(str(actual), expected)
    text = _text(actual)
    return text == expected or fnmatch.fnmatchcase(text, expected)


def _text(value: object) -> str:
    if value is UNSET:
        return "absent"
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return str(value)
