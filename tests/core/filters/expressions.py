"""Strategies for expressions that mean something, and texts that write them."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from trireme_collector.filters import (
    And,
    Comparison,
    Expression,
    FieldKind,
    Not,
    Or,
    RecordField,
    record_fields,
)

ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["10.0.0.1", "10.1.2.3", "192.0.2.1", "2001:db8::1", "::1", "0.0.0.0"]),
)
NETWORKS = st.one_of(
    ADDRESSES,
    st.sampled_from(["10.0.0.0/8", "10.0.0.0/31", "0.0.0.0/0", "::/0", "2001:db8::/32"]),
)
# Few letters, so that texts meet each other.
SHORT = st.text("ab*?é[\"'\\", max_size=5)
FIELDS = sorted(
    {
        (f.name, kind.__name__): f
        for kind, fields in record_fields().items()
        for f in fields.values()
    }.items()
)


def literals(field: RecordField, sign: str) -> st.SearchStrategy[object]:
    match field.kind:
        case FieldKind.NUMBER:
            one: st.SearchStrategy[str | int | bool] = st.one_of(
                st.integers(0, 3), st.integers(0, 2**64 - 1)
            )
        case FieldKind.FLAG:
            one = st.booleans()
        case FieldKind.CHOICE | FieldKind.ACTION:
            one = st.sampled_from(sorted(field.choices))
        case FieldKind.ADDRESS if sign in {"in", "not in"}:
            one = NETWORKS
        case FieldKind.ADDRESS if sign in {"==", "!="}:
            one = ADDRESSES
        case _:
            one = SHORT
    if sign in {"in", "not in"}:
        lists = st.lists(one, max_size=3).map(tuple)
        return st.one_of(lists, one) if field.kind is FieldKind.ADDRESS else lists
    return one


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    _, field = draw(st.sampled_from(FIELDS))
    signs = ["==", "!=", "in", "not in"]
    if field.kind is FieldKind.NUMBER:
        signs += ["<", "<=", ">", ">="]
    if field.kind in {FieldKind.TEXT, FieldKind.ADDRESS}:
        signs.append("=~")
    sign = draw(st.sampled_from(signs))
    return Comparison(field.name, sign, draw(literals(field, sign)))  # type: ignore[arg-type]  # fits the field


def expressions() -> st.SearchStrategy[Expression]:
    return st.recursive(
        comparisons(),
        lambda inner: st.one_of(
            inner.map(Not),
            st.lists(inner, min_size=2, max_size=4).map(lambda terms: And(tuple(terms))),
            st.lists(inner, min_size=2, max_size=4).map(lambda terms: Or(tuple(terms))),
        ),
        max_leaves=6,
    )


def write(expression: Expression) -> str:
    """Write an expression so that it is read as it is."""
    match expression:
        case Not(term):
            return f"not ({write(term)})"
        case And(terms):
            return " and ".join(f"({write(term)})" for term in terms)
        case Or(terms):
            return " or ".join(f"({write(term)})" for term in terms)
        case Comparison():
            return f"{expression.field} {expression.operator} {write_literal(expression.literal)}"


def write_literal(literal: object) -> str:
    if isinstance(literal, tuple):
        return "[" + ", ".join(map(write_literal, literal)) + "]"
    if isinstance(literal, str):
        return '"' + literal.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return msgspec.json.encode(literal).decode()
