"""Loose values are read by the rules of the program that set the format."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from trireme_collector.netobserv._durations import parse_duration
from trireme_collector.netobserv._flags import flag_names, flags_of
from trireme_collector.netobserv._go_values import (
    as_float,
    float_of,
    float_text,
    go_text,
    integral,
    is_true,
    uint32_of,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (2.5, 2.5),
        ("2.5", 2.5),
        ("1_23.50_0_0e+1_2", 1.235e14),
        (".5", 0.5),
        ("5.", 5.0),
        ("+1e3", 1000.0),
        ("0x1p-2", 0.25),
        ("0x_1.8p1", 3.0),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
    ],
)
def test_numbers(value: object, expected: float) -> None:
    assert float_of(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, [], {}, "", " 1", "1 ", "abc", "1__2", "_1", "1_", "0x1", "1e999", "٣"),
        *("0x1p99999", "+nan", ".", "e5", "1e", 10**400),
    ],
)
def test_what_is_no_number(value: object) -> None:
    assert float_of(value) is None


def test_text_that_is_not_a_number_is_one() -> None:
    assert math.isnan(float_of("NaN") or 0.0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (256, 256),
        ("256", 256),
        (1.9, 1),
        (-1, 0xFFFFFFFF),
        (2**32 + 1, 1),
        (-1.0, 0xFFFFFFFF),
        (1e300, 0),
        (math.nan, 0),
        ("4294967295", 0xFFFFFFFF),
        ("0000000000001", 1),
        ("4294967296", None),
        ("9" * 5000, None),
        ("+1", None),
        ("SYN", None),
        (True, None),
        ([1], None),
    ],
)
def test_flags_are_32_bits(value: object, expected: int | None) -> None:
    assert uint32_of(value) == expected


@pytest.mark.parametrize("value", [True, 1, 1.0, 1.9, "1", "t", "T", "true", "True", "TRUE"])
def test_true(value: object) -> None:
    assert is_true(value)


@pytest.mark.parametrize("value", [False, 0, 2, 2.0, "yes", "tRUE", "", None, [1]])
def test_false(value: object) -> None:
    assert not is_true(value)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (5.0, 5),
        (0.5, 0.5),
        (-3.0, -3),
        (1.1619287038616003e18, 1161928703861600300),
        (1e21, 1e21),
    ],
)
def test_integral(number: float, expected: float) -> None:
    assert integral(number) == expected
    assert type(integral(number)) is type(expected)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_text_of_a_float_gives_it_back(number: float) -> None:
    assert float(float_text(number)) == number
    assert "e" not in float_text(number)


@given(st.integers(-(2**70), 2**70))
def test_an_integer_is_held_as_a_float(number: int) -> None:
    held = as_float(number)
    assert isinstance(held, (int, float))
    assert float(held) == float(number)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (443, "443"),
        (443.0, "443"),
        (0.5, "0.5"),
        (1_000_000, "1e+06"),
        (1_234_567, "1.234567e+06"),
        (-0.00001, "-1e-05"),
        (None, "<nil>"),
        (True, "true"),
        ("x", "x"),
    ],
)
def test_general_text(value: object, expected: str) -> None:
    assert go_text(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30_000_000_000),
        ("1m30s", 90_000_000_000),
        ("1.5h", 5_400_000_000_000),
        ("-2ms", -2_000_000),
        ("+.5s", 500_000_000),
        ("3µs", 3_000),
        ("0", 0),
        (7, 7),
        (2.9, 2),
    ],
)
def test_durations(text: object, expected: int) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "30", "s", "1d", "1s ", "--1s", True, None, "9" * 99 + "s"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_durations_have_an_end() -> None:
    for long in ("3000000h", "-9223372036.854775809s", float("inf"), "1" * 200 + "s"):
        with pytest.raises(ValueError, match="duration"):
            parse_duration(long)
    assert parse_duration("-9223372036.854775808s") == -(2**63)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 1e300])
def test_a_number_beyond_64_bits_is_the_duration_that_stands_for_that(number: float) -> None:
    assert parse_duration(number) == -(2**63)


def test_flags_have_names() -> None:
    assert flag_names(0x112) == ["SYN", "ACK", "SYN_ACK"]
    assert flags_of(["SYN", "SYN_ACK", "?", 7], with_names=True) == 0x102
    assert flags_of("FIN", with_names=True) == 1
    assert flags_of("FIN", with_names=False) == 0
    assert flags_of(UNSET, with_names=True) == 0
