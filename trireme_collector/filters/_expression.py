"""The language of filters: from text to a tree, without knowing the fields.

::

    or      = and {"or" and}
    and     = not {"and" not}
    not     = {"not"} ("(" or ")" | comparison)
    comparison = field [operator literal]
    operator   = "==" | "!=" | "<" | "<=" | ">" | ">=" | "=~" | "in" | "not" "in"
    literal    = text | number | "true" | "false" | "[" [literal {"," literal}] "]"

A text stands in single or double quotes; a backslash takes the next character as it is.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MAX_DEPTH",
    "MAX_EXPRESSION_CHARACTERS",
    "And",
    "Comparison",
    "Expression",
    "ExpressionError",
    "Not",
    "Or",
    "parse_expression",
]

MAX_EXPRESSION_CHARACTERS: Final = 4096
"""No longer expression is read: whoever needs more writes several."""
MAX_DEPTH: Final = 32
"""Parentheses and ``not`` nest no deeper: the reader and the compiled filter are recursive."""

_MAX_DIGITS: Final = 20  # all of 64 bits
_QUOTES: Final = "\"'"
_SIGNS: Final = ("==", "!=", "<=", ">=", "=~", "<", ">", "(", ")", "[", "]", ",")
_OPERATORS: Final = frozenset({"==", "!=", "<", "<=", ">", ">=", "=~", "in"})
_WORDS: Final = frozenset({"and", "or", "not", "in", "true", "false"})

Scalar: TypeAlias = str | int | bool
Literal: TypeAlias = Scalar | tuple[Scalar, ...]


class ExpressionError(ValueError):
    """An expression cannot be used.

    Attributes:
        at: The index of the character that is wrong.
        found: What stands there.
        expected: What would be right.
        nearest: What was probably meant, or empty.
    """

    def __init__(self, at: int, found: str, expected: str, nearest: str = "") -> None:
        """Keep the parts of the message."""
        hint = f" (did you mean {nearest}?)" if nearest else ""
        super().__init__(f"character {at + 1}: found {found}, expected {expected}{hint}")
        self.at = at
        self.found = found
        self.expected = expected
        self.nearest = nearest


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """A field is compared with a literal; a field that stands alone is compared with true.

    Attributes:
        field: The path of the field.
        operator: How; ``not in`` is one operator.
        literal: With what.
        at: Where the field stands in the text.
        operator_at: Where the operator stands.
        literal_at: Where the literal stands.
    """

    field: str
    operator: str
    literal: Literal
    at: int = 0
    operator_at: int = 0
    literal_at: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Not:
    """Holds where its term does not."""

    term: Expression


@dataclasses.dataclass(frozen=True, slots=True)
class And:
    """Holds where all its terms do."""

    terms: tuple[Expression, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Or:
    """Holds where any of its terms does."""

    terms: tuple[Expression, ...]


Expression: TypeAlias = Comparison | Not | And | Or


class _Token(NamedTuple):
    kind: str  # "sign", "word", "text", "number", "end"
    text: str
    at: int

    @property
    def shown(self) -> str:
        if self.kind == "end":
            return "the end"
        return "a text" if self.kind == "text" else f'"{self.text[:60]}"'


def parse_expression(text: str) -> Expression:
    """Read an expression; fields and types are not looked at.

    Raises:
        ExpressionError: It cannot be read.
    """
    if len(text) > MAX_EXPRESSION_CHARACTERS:
        raise ExpressionError(
            MAX_EXPRESSION_CHARACTERS,
            f"an expression of {len(text)} characters",
            f"at most {MAX_EXPRESSION_CHARACTERS}",
        )
    parser = _Parser(list(_tokens(text)))
    expression = parser.read_or(0)
    parser.expect_end()
    return expression


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        character = text[at]
        if character in " \t\r\n":
            at += 1
            continue
        if character in _QUOTES:
            value, end = _read_text(text, at)
            yield _Token("text", value, at)
        elif sign := next((s for s in _SIGNS if text.startswith(s, at)), ""):
            yield _Token("sign", sign, at)
            end = at + len(sign)
        elif _is_word(character):
            end = at + 1
            while end < len(text) and _is_word(text[end]):
                end += 1
            word = text[at:end]
            yield _Token("number" if word[0] in "0123456789" else "word", word, at)
        else:
            shown = character if character.isprintable() else ascii(character)[1:-1]
            raise ExpressionError(at, f'"{shown}"', "a field, a value or an operator")
        at = end
    yield _Token("end", "", len(text))


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "_.")


def _read_text(text: str, start: int) -> tuple[str, int]:
    quote = text[start]
    found: list[str] = []
    at = start + 1
    while at < len(text):
        character = text[at]
        if character == quote:
            return "".join(found), at + 1
        if character == "\\":
            at += 1
            character = text[at : at + 1]
        found.append(character)
        at += 1
    raise ExpressionError(start, "a text without an end", f"a closing {quote}")


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def read_or(self, depth: int) -> Expression:
        terms = [self._read_and(depth)]
        while self._take("or"):
            terms.append(self._read_and(depth))
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def expect_end(self) -> None:
        token = self._token
        if token.kind != "end":
            raise ExpressionError(token.at, token.shown, '"and", "or" or the end')

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, word: str) -> bool:
        token = self._token
        if token.kind in {"word", "sign"} and token.text == word:
            self._next += 1
            return True
        return False

    def _read_and(self, depth: int) -> Expression:
        terms = [self._read_not(depth)]
        while self._take("and"):
            terms.append(self._read_not(depth))
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _read_not(self, depth: int) -> Expression:
        at = self._token.at
        if depth > MAX_DEPTH:
            raise ExpressionError(at, "more nesting", f"at most {MAX_DEPTH} levels")
        if self._take("not"):
            return Not(self._read_not(depth + 1))
        if self._take("("):
            expression = self.read_or(depth + 1)
            if not self._take(")"):
                raise ExpressionError(self._token.at, self._token.shown, '"and", "or" or ")"')
            return expression
        return self._read_comparison()

    def _read_comparison(self) -> Comparison:
        field = self._token
        if field.kind != "word" or field.text in _WORDS:
            raise ExpressionError(field.at, field.shown, "a field of a record")
        self._next += 1
        sign = self._token
        if self._take("not"):
            if not self._take("in"):
                raise ExpressionError(self._token.at, self._token.shown, '"in"')
            operator = "not in"
        elif sign.kind in {"word", "sign"} and sign.text in _OPERATORS:
            self._next += 1
            operator = sign.text
        else:
            return Comparison(field.text, "==", literal=True, at=field.at, operator_at=field.at)
        at = self._token.at
        return Comparison(field.text, operator, self._read_literal(), field.at, sign.at, at)

    def _read_literal(self) -> Literal:
        if not self._take("["):
            return self._read_scalar()
        values: list[Scalar] = []
        while not self._take("]"):
            if values and not self._take(","):
                raise ExpressionError(self._token.at, self._token.shown, '"," or "]"')
            if values and self._take("]"):
                break
            values.append(self._read_scalar())
        return tuple(values)

    def _read_scalar(self) -> Scalar:
        token = self._token
        self._next += token.kind != "end"
        if token.kind == "text":
            return token.text
        if token.kind == "word" and token.text in {"true", "false"}:
            return token.text == "true"
        if token.kind == "number":
            return _read_number(token)
        expected = "a text in quotes, a number, true, false or a list"
        raise ExpressionError(token.at, token.shown, expected)


def _read_number(token: _Token) -> int:
    digits = token.text
    is_hex = digits[:2] in {"0x", "0X"}
    plain = digits[2:] if is_hex else digits
    known = "0123456789abcdefABCDEF" if is_hex else "0123456789"
    if not plain or len(plain) > _MAX_DIGITS or any(digit not in known for digit in plain):
        expected = f"a number of at most {_MAX_DIGITS} digits; texts and addresses stand in quotes"
        raise ExpressionError(token.at, token.shown, expected)
    return int(plain, 16 if is_hex else 10)
