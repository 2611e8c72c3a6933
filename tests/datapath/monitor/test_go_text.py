"""Addresses, JSON and quotes are as Go writes them."""

from __future__ import annotations

import json
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.monitor import Formatter, MessageError, decode_message
from trireme_datapath.monitor._go_text import ip_text, json_text, quoted
from trireme_datapath.monitor.gob import Basic, Field, GobSchema, StructType


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (b"", "<nil>"),
        (b"\x01\x02\x03\x04", "1.2.3.4"),
        (bytes(10) + b"\xff\xff\x01\x02\x03\x04", "1.2.3.4"),
        (bytes(16), "::"),
        (bytes(15) + b"\x01", "::1"),
        (bytes(12) + b"\x01\x02\x03\x04", "::102:304"),
        (bytes(12) + b"\x01\x02\x00\x00", "::102:0"),
        (b"\x01\x02\x03", "?010203"),
    ],
)
def test_addresses(packed: bytes, text: str) -> None:
    assert ip_text(packed) == text


@given(
    st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0x20]), min_size=8, max_size=8).map(
        lambda groups: b"".join(group.to_bytes(2, "big") for group in groups)
    )
)
def test_addresses_are_those_of_the_library_but_for_mapped_ones(packed: bytes) -> None:
    address = IPv6Address(packed)
    assert ip_text(packed) == str(address.ipv4_mapped or address)


def test_json_escapes_what_could_end_a_script() -> None:
    assert json_text({"a": "<&>\u2028\u2029\u00e9\n"}) == (
        '{"a":"\\u003c\\u0026\\u003e\\u2028\\u2029\u00e9\\n"}'
    )
    assert json_text("\udcff") == '"\\ufffd"'


@given(st.text())
def test_json_is_json(text: str) -> None:
    assert json.loads(json_text({"a": text}))["a"] == text


@pytest.mark.parametrize(
    ("text", "quotes"),
    [
        ("plain <b> \u05e9", '"plain <b> \u05e9"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\a\b\f\n\r\t\v\x00\x7f", '"\\a\\b\\f\\n\\r\\t\\v\\x00\\x7f"'),
        ("\u200e\U000e0001", '"\\u200e\\U000e0001"'),
    ],
)
def test_quotes(text: str, quotes: str) -> None:
    assert quoted(text) == quotes


AGENT = GobSchema(
    {65: StructType("AgentNotify", (Field("Type", Basic.UINT), Field("Text", Basic.STRING)))},
    root=65,
)


def test_a_stream_that_ends_too_early_ends_as_in_go() -> None:
    value = AGENT.encode({"Type": 1, "Text": "x"})
    message = b"\x82" + AGENT.definitions + value
    for size in range(1, len(message)):
        with pytest.raises(MessageError) as raised:
            decode_message(message[:size])
        # A definition announces a value: without one, the end is not expected either.
        assert str(raised.value) == ("EOF" if size == 1 else "unexpected EOF")
    assert Formatter().message(message[:1]) == (
        "Error while decoding agent notification message: EOF\n>> unspecified: \n"
    )


def test_other_faults_of_a_stream_are_told_as_they_are() -> None:
    with pytest.raises(MessageError, match="gob"):
        decode_message(b"\x82" + AGENT.definitions + b"\x03\x7e\x00\x00")
    with pytest.raises(MessageError, match="gob"):
        decode_message(b"\x81\x00")
