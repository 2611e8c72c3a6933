"""Messages in JSON and times in text: what is read, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.observer._times import (
    json_time,
    parse_duration,
    parse_rfc3339,
    parse_when,
)
from trireme_datapath.observer.json_form import FLOW, RESPONSE, encode_json, read_message

SECOND = 1_000_000_000


def test_a_flow_is_read_in_the_order_of_the_schema() -> None:
    given_flow = {
        "Summary": "x",
        "unknown": 1,
        "socketCookie": 7,
        "isReply": False,
        "verdict": 2,
        "drop_reason_desc": "POLICY_DENIED",
        "reply": False,
        "event_type": {},
        "l4": {"UDP": {}},
        "labels": None,
        "drop_reason": "133",
        "time": "2026-01-01T01:00:00.1+01:00",
        "auth_type": 99,
    }
    assert encode_json(read_message(FLOW, given_flow)) == (
        '{"time":"2026-01-01T00:00:00.100Z","verdict":"DROPPED","drop_reason":133,"auth_type":99,'
        '"l4":{"UDP":{}},"event_type":{},"drop_reason_desc":"POLICY_DENIED","is_reply":false,'
        '"socket_cookie":"7","Summary":"x"}'
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"verdict": "NO"},
        {"verdict": 1.5},
        {"verdict": True},
        {"IP": "x"},
        {"IP": {"source": 1}},
        {"source_names": "x"},
        {"source_names": [1]},
        {"drop_reason": -1},
        {"drop_reason": 1 << 32},
        {"drop_reason": "9" * 50},
        {"drop_reason": "\u0662"},
        {"socket_cookie": 1 << 64},
        {"is_reply": 1},
        {"time": 1},
        {"time": "yesterday"},
        {"reply": "true"},
    ],
)
def test_what_is_no_flow(value: object) -> None:
    with pytest.raises(ValueError, match=r"expected|found"):
        read_message(FLOW, value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["flow", "time", "verdict", "IP", "source", "l4", "TCP", "flags"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_any_value_is_read_or_refused_and_stays_as_it_was_read(value: object) -> None:
    try:
        message = read_message(RESPONSE, value)
    except ValueError:
        return
    assert read_message(RESPONSE, json.loads(encode_json(message))) == message


def test_json_is_escaped_as_go_does_it() -> None:
    assert encode_json({"a": "<&>\u2028\u00e9\ud800"}) == (
        '{"a":"\\u003c\\u0026\\u003e\\u2028\u00e9\ufffd"}'
    )


@given(st.integers(-62_135_596_800 * SECOND, 253_402_300_799 * SECOND))
def test_times_come_back(time_ns: int) -> None:
    text = json_time(time_ns)
    assert parse_rfc3339(text) == time_ns
    assert len(text) in {20, 24, 27, 30}


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_against_the_library(moment: datetime) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    time_ns = (moment - epoch) // timedelta(microseconds=1) * 1000
    assert parse_rfc3339(moment.isoformat()) == time_ns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("5m", 300 * SECOND),
        ("1h30m", 5400 * SECOND),
        ("1.5s", 3 * SECOND // 2),
        (".5s", SECOND // 2),
        ("-2s", -2 * SECOND),
        ("250ms", SECOND // 4),
        ("3\u00b5s", 3000),
        ("3us1ns", 3001),
        ("", None),
        ("-", None),
        ("5", None),
        ("5 m", None),
        ("m", None),
        ("5m3", None),
        (".s", None),
        ("999999999999h", None),
    ],
)
def test_durations_are_those_of_go(text: str, expected: int | None) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1m", 940),
        ("1970-01-01T00:01:00Z", 60),
        ("1970-01-01T01:01:00+01:00", 60),
        ("1970-01-01T00:01Z", 60),
        ("1970-01-01T01Z", 3600),
        ("1970-01-02", 86400),
        ("Thu, 01 Jan 1970 01:00:00 +0100", 0),
        ("1970-13-01", None),
        ("1970-01-01T00:00:00", None),
        ("now", None),
    ],
)
def test_moments(text: str, expected: int | None) -> None:
    found = parse_when(text, 1000 * SECOND)
    assert found == (None if expected is None else expected * SECOND)
