"""Fields that are emptied or hashed before a record leaves."""

from __future__ import annotations

import hashlib
import operator
from typing import TYPE_CHECKING, Final, cast

from msgspec import UNSET
from msgspec.structs import replace

from trireme_collector._toml_checker import Unfit
from trireme_collector._toml_values import nearest, quote
from trireme_collector.filters._fields import FieldKind, record_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import msgspec

    from trireme_collector.filters._fields import RecordField
    from trireme_collector.records import Record

__all__ = ["MAX_KEY_BYTES", "MIN_KEY_BYTES", "check_blank", "check_hash", "compile_mask"]

MIN_KEY_BYTES: Final = 16
MAX_KEY_BYTES: Final = 64  # what BLAKE2b takes
_DIGEST_BYTES: Final = 12
_TEXTS: Final = frozenset({FieldKind.TEXT, FieldKind.ADDRESS})
_BLANKED: Final = _TEXTS | {FieldKind.NUMBER}


def check_blank(value: object) -> object:
    """Check the name of a field to be emptied; a validator."""
    return _check(str(value), _BLANKED, "emptied")


def check_hash(value: object) -> object:
    """Check the name of a field to be hashed; a validator."""
    return _check(str(value), _TEXTS, "hashed")


def _check(name: str, kinds: frozenset[FieldKind], verb: str) -> str:
    names = {
        field.name: field.kind
        for fields in record_fields().values()
        for field in fields.values()
        if field.kind in kinds and not field.is_identity
    }
    if name not in names:
        expected = f"a field that can be {verb}"
        raise Unfit(expected, found=quote(name), nearest=nearest(name, sorted(names)))
    return name


def compile_mask(
    kind: type[Record], blank: Iterable[str], hashed: Iterable[str], key: bytes
) -> Callable[[Record], Record] | None:
    """Make the function that masks one kind of record, or None if it has none of the fields."""
    fields = record_fields()[kind]
    digest = _digest(key)
    changes: dict[str, Callable[[object], object]] = {}
    for name in hashed:
        if name in fields:
            changes[name] = digest
    for name in blank:
        if name in fields:
            changes[name] = _blanked(fields[name])
    if not changes:
        return None
    return cast("Callable[[Record], Record]", _changer(changes))


def _changer(
    changes: Mapping[str, Callable[[object], object]],
) -> Callable[[msgspec.Struct], msgspec.Struct]:
    """Make a function that gives a struct with some fields changed, also inside of others."""
    own: dict[str, Callable[[object], object]] = {}
    inside: dict[str, dict[str, Callable[[object], object]]] = {}
    for name, change in changes.items():
        head, dot, rest = name.partition(".")
        if dot:
            inside.setdefault(head, {})[rest] = change
        else:
            own[head] = change
    for head, below in inside.items():
        own[head] = cast("Callable[[object], object]", _changer(below))
    steps = tuple((name, operator.attrgetter(name), change) for name, change in own.items())

    def change_all(struct: msgspec.Struct) -> msgspec.Struct:
        changed = {
            name: change(value)
            for name, get, change in steps
            if (value := get(struct)) is not UNSET
        }
        return replace(struct, **changed)

    return change_all


def _blanked(field: RecordField) -> Callable[[object], object]:
    if field.optional and "." not in field.name:
        return lambda _: UNSET
    if field.kind is FieldKind.NUMBER:
        return lambda _: 0
    if not field.many:
        return lambda _: ""
    return lambda values: {} if isinstance(values, dict) else ()


def _digest(key: bytes) -> Callable[[object], object]:
    def digest(value: object) -> object:
        if isinstance(value, dict):
            return {name: digest(one) for name, one in value.items()}
        if isinstance(value, tuple):
            return tuple(map(digest, value))
        text = str(value)
        if not text:
            return text  # that nothing is known is no secret
        data = text.encode("utf-8", "surrogatepass")
        return "hash-" + hashlib.blake2b(data, digest_size=_DIGEST_BYTES, key=key).hexdigest()

    return digest
