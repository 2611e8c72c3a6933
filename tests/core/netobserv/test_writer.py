"""The strict profile writes the very text that the original writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.netobserv import vectors
from trireme_collector.netobserv import Flow, Profile, encode_flow, in_order
from trireme_collector.netobserv._writer import go_json


@pytest.mark.parametrize("message", vectors.load()["kafka"])
def test_messages_are_alike(message: dict[str, Any]) -> None:
    assert encode_flow(message["flow"], profile="strict").decode() == message["value_text"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (1e-7, "1e-7"),
        (1.5e-9, "1.5e-9"),
        (0.000001, "0.000001"),
        (-0.0, "-0"),
        (100.0, "100"),
        (2**53 + 1, "9007199254740992"),
        (float("nan"), "null"),
        (None, "null"),
        (True, "true"),
        ("<&>\u2028", '"\\u003c\\u0026\\u003e\\u2028"'),
        ({"b": 1, "a": [1.5, "x"]}, '{"a":[1.5,"x"],"b":1}'),
    ],
)
def test_texts(value: object, expected: str) -> None:
    assert go_json(value) == expected


def test_what_has_no_json() -> None:
    with pytest.raises(TypeError, match="bytes has no JSON"):
        go_json(b"x")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back(number: float) -> None:
    assert float(json.loads(go_json(number))) == number


def test_fields_have_an_order() -> None:
    fields = {"zoo": 1, "Bytes": 2, "SrcAddr": "x", "ant": 3, "SrcK8S_Namespace": "n"}
    assert list(in_order(fields)) == ["SrcK8S_Namespace", "SrcAddr", "Bytes", "ant", "zoo"]
    assert encode_flow(fields).startswith(b'{"SrcK8S_Namespace":"n","SrcAddr":"x"')


def test_half_a_character_is_replaced() -> None:
    fields = {"SrcAddr": "\ud800", "Interfaces": ["\udfff"], "x\ud800": {"y": 1}}
    assert encode_flow(fields) == b'{"SrcAddr":"?","Interfaces":["?"],"x?":{"y":1}}'
    assert encode_flow(Flow(src_addr="\ud800")) == b'{"SrcAddr":"?"}'
    assert encode_flow(fields, profile="strict").startswith(b'{"Interfaces":["?"]')


@pytest.mark.parametrize("profile", ["strict", "default"])
def test_what_nests_too_deeply_is_left_out(profile: Profile) -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert encode_flow({"Bytes": 1, "x": deep}, profile=profile) == b'{"Bytes":1}'
    while deep:
        deep = deep.pop()  # type: ignore[assignment]  # lists all the way down
