"""One id for both directions of a conversation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.netobserv.flows import flow
from trireme_collector import ConfigError
from trireme_collector.netobserv import (
    Numbers,
    UnencodableError,
    conversation_hash,
    default_tracking_config,
)
from trireme_collector.netobserv._hash import encode_value, fnv1a

KEY: Any = default_tracking_config()["keyDefinition"]
EXAMPLE = {
    "SrcAddr": "10.0.0.1",
    "SrcPort": 1234,
    "DstAddr": "10.0.0.2",
    "DstPort": 80,
    "Proto": 6,
}
VALUES = st.one_of(st.text(max_size=40), st.integers(0, 65535), st.booleans(), st.none())


@pytest.mark.parametrize(
    ("numbers", "expected"), [("agent", "df333207ee2dc123"), ("json", "54362d23b3c981cb")]
)
def test_the_worked_example(numbers: Numbers, expected: str) -> None:
    assert conversation_hash(EXAMPLE, KEY, numbers=numbers) == expected


def test_numbers_are_those_of_the_agent_by_default() -> None:
    assert conversation_hash(EXAMPLE, KEY) == conversation_hash(EXAMPLE, KEY, numbers="agent")
    assert conversation_hash({**EXAMPLE, "SrcPort": 1234.0}, KEY) == "df333207ee2dc123"


@given(
    st.text(max_size=40),
    st.text(max_size=40),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.sampled_from(["agent", "json"]),
)
def test_both_directions_are_one(
    one: str, other: str, port: int, other_port: int, numbers: Numbers
) -> None:
    there = {**EXAMPLE, "SrcAddr": one, "SrcPort": port, "DstAddr": other, "DstPort": other_port}
    back = {**EXAMPLE, "SrcAddr": other, "SrcPort": other_port, "DstAddr": one, "DstPort": port}
    assert conversation_hash(there, KEY, numbers=numbers) == conversation_hash(
        back, KEY, numbers=numbers
    )


def test_one_direction_without_sides() -> None:
    one_way = {**KEY, "hash": {"fieldGroupRefs": ["common", "src", "dst"]}}
    assert conversation_hash(flow(1, 2), one_way) != conversation_hash(flow(2, 1), one_way)


@pytest.mark.parametrize("value", [None, [], {}, b"x"])
def test_what_cannot_be_part_of_a_key(value: object) -> None:
    with pytest.raises(UnencodableError):
        conversation_hash({**EXAMPLE, "SrcPort": value}, KEY)


@pytest.mark.parametrize("number", [2**64, -(2**64), 10**400])
def test_what_no_integer_holds_is_a_float(number: int) -> None:
    as_float = float(number) if number < 10**308 else float("inf")
    assert conversation_hash({**EXAMPLE, "SrcPort": number}, KEY) == conversation_hash(
        {**EXAMPLE, "SrcPort": as_float}, KEY
    )


def test_a_key_definition_is_checked() -> None:
    with pytest.raises(ConfigError, match="not defined"):
        conversation_hash(EXAMPLE, {"hash": {"fieldGroupRefs": ["nobody"]}})
    with pytest.raises(ConfigError, match="did you mean 'fieldGroups'"):
        conversation_hash(EXAMPLE, {"fieldGroup": []})


@given(st.integers(-(2**63), 2**64 - 1))
def test_integers_are_told_apart(number: int) -> None:
    assert encode_value(number) != encode_value(number + 1 if number < 2**64 - 1 else number - 1)
    assert encode_value(number)[0] == len(encode_value(number)) - 1


def test_fnv1a() -> None:
    assert fnv1a(b"") == 0xCBF29CE484222325
    assert fnv1a(b"foobar") == 0x85944171F73967E8
