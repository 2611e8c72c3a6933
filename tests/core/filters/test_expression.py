"""Expressions are read as they are written, and mistakes are shown where they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.filters.expressions import expressions, write
from trireme_collector.filters import (
    MAX_DEPTH,
    MAX_EXPRESSION_CHARACTERS,
    And,
    Comparison,
    Expression,
    ExpressionError,
    Not,
    Or,
    compile_expression,
    parse_expression,
)


def plain(expression: Expression) -> Expression:
    """Forget the places."""
    match expression:
        case Not(term):
            return Not(plain(term))
        case And(terms):
            return And(tuple(map(plain, terms)))
        case Or(terms):
            return Or(tuple(map(plain, terms)))
        case Comparison(field, sign, literal):
            return Comparison(field, sign, literal)


A = Comparison("a", "==", 1)
B = Comparison("b", "==", 2)
C = Comparison("c", "==", literal=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a == 1", A),
        ("  ( a==1 )", A),
        ("c", C),
        ("a == 1 and b == 2 or c", Or((And((A, B)), C))),
        ("a == 1 and (b == 2 or c)", And((A, Or((B, C))))),
        ("not a == 1 and c", And((Not(A), C))),
        ("not not c", Not(Not(C))),
        ("not (a == 1 or b == 2)", Not(Or((A, B)))),
        (
            "x.y not in ['p', \"q\", 0x1F, false,]",
            Comparison("x.y", "not in", ("p", "q", 31, False)),
        ),
        ("x in []", Comparison("x", "in", ())),
        (r'x =~ "a\"b\\*"', Comparison("x", "=~", 'a"b\\*')),
        ("x == 'it\"s'", Comparison("x", "==", 'it"s')),
    ],
)
def test_expressions_are_read(text: str, expected: Expression) -> None:
    assert plain(parse_expression(text)) == expected


@given(expressions())
def test_what_is_written_is_read(expression: Expression) -> None:
    assert plain(parse_expression(write(expression))) == expression


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1: found the end, expected a field of a record"),
        (
            "a == ",
            "character 6: found the end, expected a text in quotes, a number, true, false or",
        ),
        ("a == b", 'character 6: found "b", expected a text in quotes'),
        ("a == 1 b", 'character 8: found "b", expected "and", "or" or the end'),
        ("(a == 1", 'character 8: found the end, expected "and", "or" or ")"'),
        ("a == 'x", "character 6: found a text without an end, expected a closing '"),
        ("a = 1", 'character 3: found "=", expected a field, a value or an operator'),
        ("a == 1 and", "character 11: found the end, expected a field of a record"),
        ("and == 1", 'character 1: found "and", expected a field of a record'),
        ("a not == 1", 'character 7: found "==", expected "in"'),
        ("a in [1 2]", 'character 9: found "2", expected "," or "]"'),
        ("a in [,]", 'character 7: found ",", expected a text in quotes'),
        ("a == 10.0.0.1", 'character 6: found "10.0.0.1", expected a number of at most 20 digits'),
        ("a == " + "9" * 21, "expected a number of at most 20 digits"),
        ("a == 0x", 'character 6: found "0x", expected a number'),
        ("a == \x1b[2J", r'character 6: found "\x1b", expected'),
        ("(" * (MAX_DEPTH + 2) + "c", f"expected at most {MAX_DEPTH} levels"),
        ("not " * (MAX_DEPTH + 2) + "c", f"expected at most {MAX_DEPTH} levels"),
        ("c" * (MAX_EXPRESSION_CHARACTERS + 1), f"expected at most {MAX_EXPRESSION_CHARACTERS}"),
    ],
)
def test_mistakes_are_shown_where_they_are(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_the_deepest_expression_is_read_and_evaluated() -> None:
    text = "(" * MAX_DEPTH + "not encrypt" + ")" * MAX_DEPTH
    with pytest.raises(ExpressionError, match="levels"):
        parse_expression("(" + text + ")")
    compile_expression("(" * (MAX_DEPTH - 1) + "not encrypt" + ")" * (MAX_DEPTH - 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "destination.prot == 1",
            'character 1: found "destination.prot", expected a field of a record that can be',
        ),
        ("destination.prot == 1", "(did you mean destination.port?)"),
        ("destination == 1", "expected one of its fields: destination.http_method, destination.id"),
        ("payload == 'x'", "expected a field of a record that can be compared"),
        ("type == 'flwo'", 'character 9: found "flwo", expected one of "flow", "container"'),
        ("type == 'flwo'", '(did you mean "flow"?)'),
        ("destination.port == '22'", 'character 21: found "22", expected a number'),
        ("destination.port == true", "found true, expected a number: destination.port is a number"),
        ("destination.port == [22]", 'found a list, expected one value, or the operator "in"'),
        ("destination.port in 22", 'character 21: found 22, expected a list, as in ["a", "b"]'),
        (
            "destination.port =~ '2*'",
            'character 18: found "=~", expected one of ==, !=, in, not in, <',
        ),
        ("policy_id < 'x'", 'character 11: found "<", expected one of ==, !=, in, not in, =~'),
        ("policy_id", "found true, expected a text in quotes: policy_id is a text"),
        ("source.ip == '10.0.0.300'", 'found "10.0.0.300", expected an IP address or a network'),
        ("source.ip in '10.0.0.1/8'", "expected a network without host bits"),
        ("source.ip in '10.0.0.0/33'", "expected an IP address or a network"),
        ("source.ip == '10.0.0.0/8'", 'character 11: found "==", expected "in" before a network'),
        ("action == 'denied'", 'expected one of "none", "accept", "reject", "encrypt", "log"'),
        ("encrypt == 1", "found 1, expected true or false: encrypt is true or false"),
        ("direction == 'in'", 'expected one of "ingress", "egress"'),
    ],
)
def test_what_can_never_be_is_a_mistake(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert message in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    refused: ExpressionError | None = None
    try:
        compile_expression(text)
    except ExpressionError as error:
        refused = error
    if refused is not None:
        assert 0 <= refused.at <= len(text)
        assert str(refused).isprintable()
