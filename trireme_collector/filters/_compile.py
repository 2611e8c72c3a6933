"""From a tree to functions, one for each kind of record, after its types were checked."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from msgspec import UNSET

from trireme_collector._toml_values import nearest, quote
from trireme_collector.filters._addresses import compile_networks, parse_network
from trireme_collector.filters._expression import (
    And,
    Comparison,
    ExpressionError,
    Not,
    Or,
    parse_expression,
)
from trireme_collector.filters._fields import FieldKind, RecordField, record_fields
from trireme_collector.filters._glob import compile_glob
from trireme_collector.records import ActionType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trireme_collector.filters._expression import Expression, Scalar
    from trireme_collector.records import Record

__all__ = ["Test", "compile_expression", "join_tests"]

Test: TypeAlias = "Callable[[Record], bool] | bool"
"""A function of one kind of record, or what it would always say."""

_Value: TypeAlias = "Callable[[object], bool]"

_SETS: Final = ("==", "!=", "in", "not in")
_OPERATORS: Final = {
    FieldKind.TEXT: (*_SETS, "=~"),
    FieldKind.ADDRESS: (*_SETS, "=~"),
    FieldKind.NUMBER: (*_SETS, "<", "<=", ">", ">="),
    FieldKind.FLAG: _SETS,
    FieldKind.CHOICE: _SETS,
    FieldKind.ACTION: _SETS,
}
_ORDER: Final = cast(
    "Mapping[str, Callable[[object, object], bool]]",
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge},
)


def compile_expression(text: str) -> dict[type[Record], Test]:
    """Read an expression and make it a function for each kind of record.

    Raises:
        ExpressionError: It cannot be read, names a field that no record has, or compares a field
            with something that it can never be.
    """
    expression = parse_expression(text)
    _check(expression)
    return {kind: _compile(expression, fields) for kind, fields in record_fields().items()}


def join_tests(tests: Iterable[Test], *, any_of: bool) -> Test:
    """Join tests; one that is known already decides or is left out."""
    unknown: list[Callable[[Record], bool]] = []
    for test in tests:
        if isinstance(test, bool):
            if test is any_of:
                return any_of
        else:
            unknown.append(test)
    if not unknown:
        return not any_of
    return unknown[0] if len(unknown) == 1 else _join(tuple(unknown), any_of=any_of)


def _join(tests: tuple[Callable[[Record], bool], ...], *, any_of: bool) -> Test:
    first, second = tests[:2]
    if len(tests) == 2:
        if any_of:
            return lambda record: first(record) or second(record)
        return lambda record: first(record) and second(record)

    def test(record: Record) -> bool:
        for one in tests:
            if one(record) is any_of:
                return any_of
        return not any_of

    return test


def _check(expression: Expression) -> None:
    match expression:
        case Not(term):
            _check(term)
        case And(terms) | Or(terms):
            for term in terms:
                _check(term)
        case Comparison():
            _check_comparison(expression)


def _check_comparison(comparison: Comparison) -> None:
    """Find a kind of record for which the comparison means something."""
    refused: ExpressionError | None = None
    for fields in record_fields().values():
        field = fields.get(comparison.field)
        if field is None:
            continue
        try:
            _value_test(comparison, field)
        except ExpressionError as error:
            refused = refused or error
        else:
            return
    raise refused or _unknown_field(comparison)


def _unknown_field(comparison: Comparison) -> ExpressionError:
    known = sorted({name for fields in record_fields().values() for name in fields})
    below = [name for name in known if name.startswith(comparison.field + ".")]
    found = quote(comparison.field)
    if below:
        return ExpressionError(comparison.at, found, "one of its fields: " + ", ".join(below))
    expected = "a field of a record that can be compared"
    return ExpressionError(comparison.at, found, expected, nearest(comparison.field, known))


def _compile(expression: Expression, fields: Mapping[str, RecordField]) -> Test:
    match expression:
        case Not(term):
            test = _compile(term, fields)
            return not test if isinstance(test, bool) else _negate(test)
        case And(terms):
            return join_tests([_compile(term, fields) for term in terms], any_of=False)
        case Or(terms):
            return join_tests([_compile(term, fields) for term in terms], any_of=True)
        case Comparison():
            field = fields.get(expression.field)
            return False if field is None else _compile_comparison(expression, field)


def _negate(test: Callable[[Record], bool]) -> Test:
    return lambda record: not test(record)


def _compile_comparison(comparison: Comparison, field: RecordField) -> Test:
    try:
        holds = _value_test(comparison, field)
    except ExpressionError:
        return False  # it means something for another kind of record
    if field.constant:
        return holds(field.constant)
    get = operator.attrgetter(field.name)
    if "." in field.name and field.optional:
        get = _get_inside(field.name)
    if field.many:
        return _test_many(get, holds, none=comparison.operator in {"!=", "not in"})
    if field.optional:
        return lambda record: (value := get(record)) is not UNSET and holds(value)
    return lambda record: holds(get(record))


def _get_inside(name: str) -> operator.attrgetter[object]:
    """Get a field of an end point that a record may lack altogether."""
    head, _, rest = name.partition(".")
    outer, inner = operator.attrgetter(head), operator.attrgetter(rest)

    def get(record: object) -> object:
        value = outer(record)
        return UNSET if value is UNSET else inner(value)

    return cast("operator.attrgetter[object]", get)


def _test_many(get: Callable[[object], object], holds: _Value, *, none: bool) -> Test:
    """Hold where one value does; a negated operator holds where every value does."""

    def test(record: Record) -> bool:
        values = get(record)
        if values is UNSET:
            return False
        if isinstance(values, dict):
            values = values.values()
        found = map(holds, cast("Iterable[object]", values))
        return all(found) if none else any(found)

    return test


def _value_test(comparison: Comparison, field: RecordField) -> _Value:
    """Make the function of one value.

    Raises:
        ExpressionError: The field can never be compared like this.
    """
    sign = comparison.operator
    if sign not in _OPERATORS[field.kind]:
        known = ", ".join(_OPERATORS[field.kind])
        expected = f"one of {known}: {field.name} is {field.kind.value}"
        raise ExpressionError(comparison.operator_at, f'"{sign}"', expected)
    values = _values(comparison, field)
    if sign == "=~":
        return cast("_Value", compile_glob(str(values[0])))
    if sign in _ORDER:
        compare, limit = _ORDER[sign], values[0]
        return lambda value: compare(value, limit)
    match field.kind:
        case FieldKind.ADDRESS:
            networks = [_network(comparison, str(value)) for value in values]
            inside = cast("_Value", compile_networks(networks))
            if sign in {"!=", "not in"}:
                return lambda value: not inside(value)
            return inside
        case FieldKind.CHOICE | FieldKind.ACTION:
            allowed = frozenset().union(*(_members(comparison, field, v) for v in values))
        case _:
            allowed = frozenset(values)
    if sign in {"!=", "not in"}:
        return lambda value: value not in allowed
    return allowed.__contains__


def _values(comparison: Comparison, field: RecordField) -> tuple[Scalar, ...]:
    literal, sign, at = comparison.literal, comparison.operator, comparison.literal_at
    if sign in {"in", "not in"}:
        if isinstance(literal, str) and field.kind is FieldKind.ADDRESS:
            literal = (literal,)
        if not isinstance(literal, tuple):
            raise ExpressionError(at, _shown(literal), 'a list, as in ["a", "b"]')
    elif isinstance(literal, tuple):
        raise ExpressionError(at, "a list", 'one value, or the operator "in" before the list')
    values = literal if isinstance(literal, tuple) else (literal,)
    wanted = {FieldKind.NUMBER: int, FieldKind.FLAG: bool}.get(field.kind, str)
    for value in values:
        if type(value) is not wanted:
            expected = f"{_NAMES[wanted]}: {field.name} is {field.kind.value}"
            raise ExpressionError(at, _shown(value), expected)
    return values


_NAMES: Final[Mapping[type, str]] = {
    int: "a number",
    bool: "true or false",
    str: "a text in quotes",
}


def _network(comparison: Comparison, text: str) -> tuple[int, int, int]:
    try:
        network = parse_network(text)
    except ValueError as error:
        reason = str(error)
        expected = 'an IP address or a network, as in "10.0.0.0/8"'
        if "host bits" in reason:
            expected = "a network without host bits"
        raise ExpressionError(comparison.literal_at, quote(text), expected) from error
    if "/" in text and comparison.operator in {"==", "!="}:
        raise ExpressionError(
            comparison.operator_at, f'"{comparison.operator}"', '"in" before a network'
        )
    return network


def _members(comparison: Comparison, field: RecordField, value: Scalar) -> frozenset[object]:
    """Give every member that a word stands for."""
    word = str(value)
    member = field.choices.get(word)
    if member is None:
        known = list(field.choices)
        expected = "one of " + ", ".join(map(quote, known))
        near = nearest(word, known)
        raise ExpressionError(
            comparison.literal_at, quote(word), expected, quote(near) if near else ""
        )
    if isinstance(member, ActionType) and member.bits:
        bits = member.bits
        return frozenset(action for action in ActionType if action.bits & bits)
    return frozenset({member})


def _shown(value: object) -> str:
    if isinstance(value, str):
        return quote(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
