"""Messages in the old format say the same, in one line that old receivers take apart."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import (
    RECORD_TYPES,
    ActionType,
    ContainerRecord,
    EndPoint,
    FlowRecord,
    Record,
)
from trireme_collector.formats import (
    SMALLEST_MAX_BYTES,
    Rfc3164Options,
    render_rfc3164,
    unescape_text,
)
from trireme_collector.testing.strategies import NASTY_TEXT, records

if TYPE_CHECKING:
    import pytest

NOW = 1_767_323_045_000_006_000
OPTIONS = Rfc3164Options(hostname="host1", app_name="app", procid="42", utc=True)
# RFC 3164 section 4.1: days below ten have a space instead of the first digit.
GRAMMAR = re.compile(
    r"<(?P<pri>0|[1-9]\d{0,2})>"
    r"(?P<time>(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 123]\d \d\d:\d\d:\d\d)"
    r"(?: (?P<host>[A-Za-z0-9_.:-]+))? (?P<tag>[A-Za-z0-9_.-]{1,32})(?:\[(?P<pid>[^\]]+)\])?: "
    r"(?P<text>.*) \[(?P<element>[a-z_]+@\d+)(?P<values>(?: [^ =]+=\"(?:[^\"\\\]]|\\.)*\")*)\]"
)
PARAMETER = re.compile(r' ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"')


def parse(data: bytes) -> re.Match[str]:
    match = GRAMMAR.fullmatch(data.decode("utf-8"))
    assert match is not None, data
    return match


def values(match: re.Match[str]) -> dict[str, str]:
    return {
        name: unescape_text(re.sub(r'\\(["\\\]])', r"\1", value))
        for name, value in PARAMETER.findall(match["values"])
    }


def test_golden() -> None:
    record = FlowRecord(
        source=EndPoint(ip="10.0.0.1", port=4000),
        destination=EndPoint(ip="10.0.0.2", port=80, uri='a"b]c\n'),
        policy_id="p1",
        count=1,
        action=ActionType.REJECT,
        drop_reason="policy",
        l4_protocol=6,
        end_time_ns=NOW,
    )
    assert render_rfc3164(record, OPTIONS, now_ns=0).decode() == (
        "<28>Jan  2 03:04:05 host1 app[42]:"
        " flow REJECT tcp 10.0.0.1:4000 -> 10.0.0.2:80 policy=p1 reason=policy"
        ' uri="a\\"b]c\\u000a"'
        ' [flow@32473 source_ip="10.0.0.1" source_type="ext" source_port="4000"'
        ' destination_ip="10.0.0.2" destination_uri="a\\"b\\]c\\\\u000a" destination_type="ext"'
        ' destination_port="80" drop_reason="policy" policy_id="p1" service_type="L3" count="1"'
        ' action="reject" observed_action="none" l4_protocol="6"'
        ' end_time_ns="1767323045000006000"]'
    )


def test_on_a_local_socket_there_is_no_host() -> None:
    options = msgspec.structs.replace(OPTIONS, hostname="", procid="")
    assert render_rfc3164(ContainerRecord(event="start"), options, now_ns=NOW).startswith(
        b"<30>Jan  2 03:04:05 app: unit start"
    )


@given(records(text=NASTY_TEXT), st.integers(SMALLEST_MAX_BYTES, 9000), st.integers(-1, 2**70))
def test_any_record_is_a_valid_message_within_the_limit(
    record: Record, max_bytes: int, now_ns: int
) -> None:
    options = msgspec.structs.replace(OPTIONS, max_bytes=max_bytes)
    data = render_rfc3164(record, options, now_ns=now_ns)
    assert len(data) <= max_bytes
    assert data.decode().isprintable()
    assert parse(data)["element"].endswith("@32473")


@given(NASTY_TEXT, NASTY_TEXT)
def test_values_are_read_back_equal(uri: str, tag: str) -> None:
    record = FlowRecord(destination=EndPoint(uri=uri), tags=(tag,))
    found = values(parse(render_rfc3164(record, OPTIONS, now_ns=NOW)))
    assert found.get("destination_uri", "") == uri
    assert found["tag.1"] == tag


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400))
def test_header_fields_keep_to_their_alphabet(host: str, app: str, procid: str) -> None:
    options = Rfc3164Options(hostname=host, app_name=app, procid=procid)
    match = parse(render_rfc3164(ContainerRecord(), options, now_ns=NOW))
    assert (match["host"] is None) == (not host)
    assert (match["pid"] is None) == (not procid)


def test_the_time_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    options = msgspec.structs.replace(OPTIONS, utc=False)
    record = FlowRecord(end_time_ns=NOW + 7_000_000_000)  # not a second of another test
    monkeypatch.setenv("TZ", "XYZ-3")
    time.tzset()
    try:
        assert parse(render_rfc3164(record, options, now_ns=0))["time"] == "Jan  2 06:04:12"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_smallest_limit_holds_the_longest_header() -> None:
    options = Rfc3164Options(
        hostname="h" * 300,
        app_name="a" * 300,
        procid="p" * 300,
        enterprise_id=2**32 - 1,
        max_bytes=SMALLEST_MAX_BYTES,
    )
    for kind in RECORD_TYPES.values():
        data = render_rfc3164(kind(), options, now_ns=NOW)
        assert len(data) <= SMALLEST_MAX_BYTES
        parse(data)


def test_a_long_value_is_cut_and_the_verdict_is_not() -> None:
    record = FlowRecord(
        destination=EndPoint(uri="é" * 20_000), action=ActionType.REJECT, sequence=9
    )
    match = parse(render_rfc3164(record, OPTIONS, now_ns=NOW))
    found = values(match)
    assert found["destination_uri"].endswith("é…")
    assert (found["truncated"], found["action"], found["sequence"]) == ("1", "reject", "9")
    assert match["text"].startswith("flow REJECT")
