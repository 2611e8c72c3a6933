"""The fields of every kind of record, as filters and masks name them."""

from __future__ import annotations

import dataclasses
import enum
import functools
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, inspect

from trireme_collector.records import RECORD_TYPES, ActionType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trireme_collector.records import Record

__all__ = ["FieldKind", "RecordField", "record_fields"]

_IDENTITY = frozenset({"instance", "epoch", "sequence"})


class FieldKind(enum.Enum):
    """What can be asked about a field; the value names it in messages."""

    TEXT = "a text"
    ADDRESS = "an IP address"
    NUMBER = "a number"
    FLAG = "true or false"
    CHOICE = "one of some words"
    ACTION = "a set of actions"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RecordField:
    """One field of one kind of record.

    Attributes:
        name: Its path, ``destination.port``.
        kind: What can be asked about it.
        many: Whether it holds any number of values.
        optional: Whether a record may lack it.
        choices: The members by word, for a choice.
        constant: The only value that it has in this kind of record: its type.
    """

    name: str
    kind: FieldKind
    many: bool = False
    optional: bool = False
    choices: Mapping[str, object] = dataclasses.field(default_factory=dict)
    constant: str = ""

    @property
    def is_identity(self) -> bool:
        """Whether receivers find lost and doubled records by it."""
        return self.name in _IDENTITY


@functools.cache
def record_fields() -> Mapping[type[Record], Mapping[str, RecordField]]:
    """List the fields of every kind of record by name."""
    types = {tag: tag for tag in RECORD_TYPES}
    found: dict[type[Record], Mapping[str, RecordField]] = {}
    for tag, kind in RECORD_TYPES.items():
        fields = {
            "type": RecordField(name="type", kind=FieldKind.CHOICE, choices=types, constant=tag)
        }
        fields.update((field.name, field) for field in _fields_of(kind, "", optional=False))
        found[kind] = fields
    return found


def _fields_of(kind: type[msgspec.Struct], prefix: str, *, optional: bool) -> Iterator[RecordField]:
    struct = inspect.type_info(kind)
    if not isinstance(struct, inspect.StructType):
        return
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    for field in struct.fields:
        name = prefix + field.name
        # The type information leaves out that a field may be unset.
        lacks = optional or defaults[field.name] is UNSET
        match field.type:
            case inspect.StructType():
                yield from _fields_of(field.type.cls, f"{name}.", optional=lacks)
            case inspect.VarTupleType(item_type=inspect.StrType()):
                yield RecordField(name=name, kind=_text_kind(name), many=True, optional=lacks)
            case inspect.DictType():
                yield RecordField(name=name, kind=_text_kind(name), many=True, optional=lacks)
            case inspect.StrType():
                yield RecordField(name=name, kind=_text_kind(name), optional=lacks)
            case inspect.IntType():
                yield RecordField(name=name, kind=FieldKind.NUMBER, optional=lacks)
            case inspect.BoolType():
                yield RecordField(name=name, kind=FieldKind.FLAG, optional=lacks)
            case inspect.EnumType():
                yield _enumerated(name, field.type.cls, optional=lacks)


def _enumerated(name: str, kind: type[enum.Enum], *, optional: bool) -> RecordField:
    if kind is ActionType:
        words = {word: member for member in ActionType if "|" not in (word := member.describe())}
        return RecordField(name=name, kind=FieldKind.ACTION, choices=words, optional=optional)
    members = {str(member.value): member for member in kind}
    return RecordField(name=name, kind=FieldKind.CHOICE, choices=members, optional=optional)


def _text_kind(name: str) -> FieldKind:
    last = name.rpartition(".")[2]
    is_address = last in {"ip", "ips", "ip_address"} or last.endswith("_ip")
    return FieldKind.ADDRESS if is_address else FieldKind.TEXT
