"""What an expression says, worked out slowly and in the plainest way."""

from __future__ import annotations

import fnmatch
import ipaddress
import operator
import typing

import msgspec

from trireme_collector import ActionType, Record
from trireme_collector.filters import And, Comparison, Expression, FieldKind, Not, Or, record_fields

if typing.TYPE_CHECKING:
    from collections.abc import Callable

ORDER: dict[str, Callable[[typing.Any, typing.Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def evaluate(expression: Expression, record: Record) -> bool:
    match expression:
        case Not(term):
            return not evaluate(term, record)
        case And(terms):
            return all(evaluate(term, record) for term in terms)
        case Or(terms):
            return any(evaluate(term, record) for term in terms)
        case Comparison():
            return compare(expression, record)


def value_of(record: Record, name: str) -> object:
    if name == "type":
        return record.__struct_config__.tag
    value: object = record
    for part in name.split("."):
        value = getattr(value, part, msgspec.UNSET)
    return value


def compare(comparison: Comparison, record: Record) -> bool:
    field = record_fields()[type(record)].get(comparison.field)
    value = value_of(record, comparison.field)
    if field is None or value is msgspec.UNSET:
        return False
    wanted = comparison.literal if isinstance(comparison.literal, tuple) else (comparison.literal,)
    # A literal of another type, or an unknown word: the comparison is about other records.
    if field.kind in {FieldKind.CHOICE, FieldKind.ACTION} and set(wanted) - set(field.choices):
        return False
    own = {FieldKind.NUMBER: int, FieldKind.FLAG: bool}.get(field.kind, str)
    if any(type(one) is not own for one in wanted):
        return False
    values = list(value.values()) if isinstance(value, dict) else [value]
    if isinstance(value, tuple):
        values = list(value)
    sign = comparison.operator
    if sign in ORDER:
        return ORDER[sign](value, wanted[0])
    if sign == "=~":
        pattern = str(wanted[0]).replace("[", "[[]")
        return any(fnmatch.fnmatchcase(str(one), pattern) for one in values)
    found = any(is_one_of(one, wanted, field.kind) for one in values)
    return found if sign in {"==", "in"} else not found


def is_one_of(value: object, wanted: tuple[str | int | bool, ...], kind: FieldKind) -> bool:
    if isinstance(value, ActionType):
        words = set(value.describe().split("|"))
        return bool(words & set(map(str, wanted)))
    if kind is FieldKind.CHOICE:
        return getattr(value, "value", value) in wanted
    if kind is FieldKind.ADDRESS:
        return any(is_inside(str(value), str(one)) for one in wanted)
    return value in wanted


def is_inside(address: str, network: str) -> bool:
    if "%" in address:
        return False
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return found in ipaddress.ip_network(network)
