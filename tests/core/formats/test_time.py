"""Times as RFC 3339 text."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.formats import format_rfc3339

LAST = 253_402_300_799_999_999_999


@given(st.integers(0, LAST))
def test_the_standard_library_reads_the_same_time(time_ns: int) -> None:
    parsed = datetime.datetime.fromisoformat(format_rfc3339(time_ns))
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert (parsed - epoch) // datetime.timedelta(microseconds=1) == time_ns // 1000


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_767_323_045_000_006_999, "2026-01-02T03:04:05.000006Z"),
        (LAST, "9999-12-31T23:59:59.999999Z"),
        (LAST + 1, ""),
        (-1, ""),
        (2**200, ""),
    ],
)
def test_golden(time_ns: int, text: str) -> None:
    assert format_rfc3339(time_ns) == text
