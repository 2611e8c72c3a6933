"""Conversions of loosely typed values, by the rules of the Go program that set the format.

Flow logs mix numbers and text. Which text counts as a number, and what a fraction becomes where
an integer is asked for, decides what a conversation adds up to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

__all__ = ["as_float", "float_of", "float_text", "go_text", "integral", "is_true", "uint32_of"]

_DECIMAL = re.compile(r"[+-]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9][0-9_]*)?")
_HEXADECIMAL = re.compile(
    r"[+-]?0[xX](?=_?\.?[0-9a-fA-F])(?:_?[0-9a-fA-F]+)*\.?(?:[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)?"
    r"[pP][+-]?[0-9]+(?:_[0-9]+)*"
)
_SPECIAL = re.compile(r"nan|[+-]?inf(?:inity)?", re.IGNORECASE)
_UNSIGNED = re.compile(r"[0-9]+")
_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
_MAX_UINT32 = 0xFFFFFFFF
_INT64_RANGE = 2.0**63
_EXACT = 2**53
# From here on Go's encoder and text form use an exponent.
_EXPONENT_FROM = 1e21
# Between these powers of ten, %v writes a float without an exponent.
_FIRST_POWER, _END_OF_POWERS = -4, 6


def float_of(value: object) -> float | None:
    """Convert a value to a float; None if it cannot be.

    Text may have underscores between digits and be hexadecimal, but not stand between blanks;
    text out of range is no number. Neither are booleans.
    """
    match value:
        case bool():
            return None
        case float():
            return value
        case int():
            try:
                return float(value)
            except OverflowError:
                return None
        case str():
            return _parse(value)
        case _:
            return None


def _parse(text: str) -> float | None:
    if _SPECIAL.fullmatch(text):
        return float(text)
    try:
        if _DECIMAL.fullmatch(text):
            number = float(text)
        elif _HEXADECIMAL.fullmatch(text):
            number = float.fromhex(text.replace("_", ""))
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return None if math.isinf(number) else number


def uint32_of(value: object) -> int | None:
    """Convert a value to 32 bits without sign; None if it cannot be.

    Numbers are cut off, fractions and upper bits alike; text has to fit and has digits only.
    """
    match value:
        case bool():
            return None
        case int():
            return value & _MAX_UINT32
        case float():
            # What does not fit into 64 bits becomes the one value of which 32 bits are zero.
            return int(value) & _MAX_UINT32 if -_INT64_RANGE <= value < _INT64_RANGE else 0
        case str() if _UNSIGNED.fullmatch(value):
            number = int(value) if len(value.lstrip("0")) <= 10 else _MAX_UINT32 + 1
            return number if number <= _MAX_UINT32 else None
        case _:
            return None


def is_true(value: object) -> bool:
    """Read a boolean: true, the number 1, or text that says so; anything else is not."""
    match value:
        case bool():
            return value
        case int():
            return value == 1
        case float():
            return 1.0 <= value < 2.0
        case str():
            return value in _TRUE
        case _:
            return False


def integral(number: float) -> float | int:
    """Make an integer of a float that has no fraction, as its shortest text would be read.

    Beyond 53 bits the last digits are those of the text and not those of the bits: the text is
    what others see.
    """
    if -_EXACT <= number <= _EXACT:
        whole = int(number)
        return whole if whole == number else number
    if abs(number) < _EXPONENT_FROM:
        return int(float_text(number))
    return number


def as_float(value: object) -> object:
    """Give an integer the value that it has as a float; leave anything else."""
    if type(value) is not int or -_EXACT <= value <= _EXACT:
        return value
    number = float_of(value)
    return value if number is None else integral(number)


def float_text(number: float) -> str:
    """Write a float in plain decimal notation, with the fewest digits that give it back."""
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf"
    mantissa, _, exponent = repr(number).partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    fraction = "" if fraction == "0" else fraction
    shift = int(exponent or 0)
    digits = whole + fraction
    point = len(whole) + shift
    if point <= 0:
        digits, point = "0" * (1 - point) + digits, 1
    digits = digits.ljust(point, "0")
    head, tail = digits[:point].lstrip("0") or "0", digits[point:]
    return f"{sign}{head}.{tail}" if tail else f"{sign}{head}"


def go_text(value: object) -> str:
    """Write a value as Go's ``%v`` does, numbers as floats."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _general(float(value))
        case Mapping():
            members = sorted((str(name), item) for name, item in value.items())
            return f"map[{' '.join(f'{name}:{go_text(item)}' for name, item in members)}]"
        case list() | tuple():
            return f"[{' '.join(map(go_text, value))}]"
        case _:
            return str(value)


def _general(number: float) -> str:
    """Write a float with an exponent where ``%v`` has one: below 1e-4, and from 1e6 on."""
    plain = float_text(number)
    if number == 0 or not math.isfinite(number):
        return plain
    sign = "-" if number < 0 else ""
    digits = plain.lstrip("-").replace(".", "").strip("0")
    whole, _, fraction = plain.lstrip("-").partition(".")
    power = len(whole) - 1 if whole != "0" else len(fraction.lstrip("0")) - len(fraction) - 1
    if _FIRST_POWER <= power < _END_OF_POWERS:
        return plain
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
