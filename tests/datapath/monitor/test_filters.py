"""Filters: every condition has to hold, and what somebody writes wrongly is refused."""

from __future__ import annotations

import pytest

from trireme_collector.errors import ConfigError
from trireme_datapath.monitor import EventFilter, event_filter, find_profile
from trireme_datapath.monitor.filters import filter_of


def test_no_condition_lets_everything_pass() -> None:
    assert EventFilter().accepts(1, (2, 3))
    assert filter_of(None, find_profile("1.16")) is None
    assert event_filter() == EventFilter()


@pytest.mark.parametrize(
    ("conditions", "accepted"),
    [
        ({"types": ["drop"]}, True),
        ({"types": ["trace"]}, False),
        ({"types": ["trace", "drop"]}, True),
        ({"from": ["10"]}, True),
        ({"from": [20]}, False),
        ({"to": ["20", "30"]}, True),
        ({"to": ["10"]}, False),
        ({"related": ["20"]}, True),
        ({"related": ["10"]}, True),
        ({"related": ["0"]}, False),
        ({"from": ["10"], "to": ["30"]}, False),
        ({"types": ["drop"], "from": ["10"], "to": ["20"], "related": ["20"]}, True),
        ({"types": ["trace"], "from": ["10"]}, False),
        ({"types": [], "from": []}, True),
    ],
    ids=str,
)
def test_conditions(conditions: dict[str, list[str]], accepted: bool) -> None:
    made = filter_of(conditions, find_profile("1.16"))
    assert made is not None
    assert made.accepts(1, (10, 20)) is accepted


def test_an_unknown_type_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(ConfigError) as raised:
        event_filter(types=["dorp"])
    assert str(raised.value) == (
        "Unknown type (dorp). Please use one of the following ones map[agent:130 capture:3 "
        "debug:2 drop:1 l7:129 policy-verdict:5 recorder:6 trace:4 trace-sock:7]"
    )
    with pytest.raises(ConfigError, match=r"Unknown type \(recorder\)"):
        event_filter(types=["recorder"], profile="1.9")


@pytest.mark.parametrize(
    ("text", "profile", "error"),
    [
        ("x", "1.16", 'strconv.ParseUint: parsing "x": invalid syntax'),
        ("", "1.16", 'strconv.ParseUint: parsing "": invalid syntax'),
        ("-1", "1.16", 'strconv.ParseUint: parsing "-1": invalid syntax'),
        ("65536", "1.16", 'strconv.ParseUint: parsing "65536": value out of range'),
        ("9" * 5000, "1.16", "value out of range"),
        ("x", "1.9", 'strconv.Atoi: parsing "x": invalid syntax'),
        ("9" * 30, "1.9", "value out of range"),
        ("\u0661", "1.16", "invalid syntax"),
    ],
    ids=repr,
)
def test_what_is_no_endpoint_is_refused(text: str, profile: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        event_filter(sources=[text], profile=profile)
    assert error in str(raised.value)


def test_1_9_keeps_the_last_16_bits_of_an_endpoint() -> None:
    assert event_filter(sources=["65537", "-1"], profile="1.9").sources == {1, 65535}


def test_an_unknown_condition_is_refused() -> None:
    with pytest.raises(ConfigError, match="no 'form'"):
        filter_of({"form": ["1"]}, find_profile("1.16"))
