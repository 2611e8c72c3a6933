"""Messages follow RFC 5424 to the letter, whatever is in the records."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import (
    RECORD_TYPES,
    ActionType,
    ContainerRecord,
    Counter,
    CounterReport,
    EndPoint,
    FlowRecord,
    PacketReport,
    Record,
    TraceReport,
)
from trireme_collector.formats import (
    SMALLEST_MAX_BYTES,
    Facility,
    Rfc5424Options,
    Severity,
    header_field,
    render_rfc5424,
    unescape_text,
)
from trireme_collector.testing.strategies import NASTY_TEXT, records

OPTIONS = Rfc5424Options(hostname="host1", app_name="app", procid="42")
# The grammar of RFC 5424 section 6; header fields have their own lengths and one alphabet.
GRAMMAR = re.compile(
    r"<(?P<pri>0|[1-9]\d{0,2})>1"
    r" (?P<time>-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z)"
    r" (?P<host>[\x21-\x7e]{1,255}) (?P<app>[\x21-\x7e]{1,48})"
    r" (?P<procid>[\x21-\x7e]{1,128}) (?P<msgid>[\x21-\x7e]{1,32})"
    r" (?P<data>-|(?:\[(?:[^\"\\\]]|\"(?:[^\"\\\]]|\\.)*\")*\])+)"
    r"(?: (?P<message>.*))?",
    re.DOTALL,
)
PARAMETER = re.compile(r' ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"')


class Message(NamedTuple):
    pri: int
    time: str
    host: str
    app: str
    procid: str
    msgid: str
    element: str
    parameters: dict[str, str]
    text: str


def parse(data: bytes) -> Message:
    """Read a message as a strict receiver does; anything wrong fails here."""
    match = GRAMMAR.fullmatch(data.decode("utf-8"))
    assert match is not None, data
    element, _, _ = match["data"][1:-1].partition(" ")
    position = 1 + len(element)
    parameters: dict[str, str] = {}
    while position < len(match["data"]) - 1:
        parameter = PARAMETER.match(match["data"], position)
        assert parameter is not None, match["data"][position:]
        assert parameter[1] not in parameters
        parameters[parameter[1]] = re.sub(r'\\(["\\\]])', r"\1", parameter[2])
        position = parameter.end()
    text = match["message"] or ""
    assert text.isascii() or text.startswith("\ufeff")
    return Message(
        int(match["pri"]),
        match["time"],
        match["host"],
        match["app"],
        match["procid"],
        match["msgid"],
        element,
        parameters,
        text.removeprefix("\ufeff"),
    )


def test_golden() -> None:
    record = FlowRecord(
        context_id="web",
        source=EndPoint(ip="10.0.0.1", port=4000),
        destination=EndPoint(ip="10.0.0.2", port=80, uri='a"b]c\\d'),
        tags=("app=web", "env=é"),
        policy_id="p1",
        count=1,
        action=ActionType.REJECT,
        drop_reason="policy",
        l4_protocol=6,
        end_time_ns=1_767_323_045_000_006_999,
        instance="host1",
        epoch=5,
        sequence=6,
    )
    assert render_rfc5424(record, OPTIONS).decode() == (
        "<28>1 2026-01-02T03:04:05.000006Z host1 app 42 FLOW"
        ' [flow@32473 instance="host1" epoch="5" sequence="6" context_id="web"'
        ' source_ip="10.0.0.1" source_type="ext" source_port="4000"'
        ' destination_ip="10.0.0.2" destination_uri="a\\"b\\]c\\\\d" destination_type="ext"'
        ' destination_port="80" tag.1="app=web" tag.2="env=é" drop_reason="policy"'
        ' policy_id="p1" service_type="L3" count="1" action="reject" observed_action="none"'
        ' l4_protocol="6" end_time_ns="1767323045000006999"]'
        " flow REJECT tcp 10.0.0.1:4000 -> 10.0.0.2:80 policy=p1 unit=web reason=policy"
        ' uri="a\\"b]c\\d"'
    )


@given(records(text=NASTY_TEXT), st.integers(SMALLEST_MAX_BYTES, 9000))
def test_any_record_is_a_valid_message_within_the_limit(record: Record, max_bytes: int) -> None:
    data = render_rfc5424(record, msgspec.structs.replace(OPTIONS, max_bytes=max_bytes))
    assert len(data) <= max_bytes
    assert data.decode().replace("\ufeff", "").isprintable()
    message = parse(data)
    assert message.msgid == str(type(record).__struct_config__.tag).upper()
    assert message.element.endswith("@32473")


@given(NASTY_TEXT, NASTY_TEXT)
def test_values_are_read_back_equal(uri: str, tag: str) -> None:
    record = FlowRecord(destination=EndPoint(uri=uri), tags=(tag, "b=2"))
    parameters = parse(render_rfc5424(record, OPTIONS)).parameters
    assert unescape_text(parameters.get("destination_uri", "")) == uri
    assert unescape_text(parameters["tag.1"]) == tag
    assert parameters["tag.2"] == "b=2"


@given(records(), st.text(max_size=400), st.text(max_size=400))
def test_header_fields_keep_to_their_alphabet(record: Record, host: str, app: str) -> None:
    options = Rfc5424Options(hostname=host, app_name=app)
    message = parse(render_rfc5424(record, options))
    assert (message.host == "-") == (host in {"", "-"})
    assert message.app == header_field(app, "app_name")


@pytest.mark.parametrize(
    ("record", "severity"),
    [
        (FlowRecord(action=ActionType.ACCEPT), Severity.INFO),
        (FlowRecord(action=ActionType.REJECT), Severity.WARNING),
        (
            FlowRecord(action=ActionType.ACCEPT, observed_action=ActionType.REJECT_OBSERVE),
            Severity.NOTICE,
        ),
        (PacketReport(drop_reason="packetdrop"), Severity.WARNING),
        (PacketReport(), Severity.INFO),
        (ContainerRecord(), Severity.DEBUG),
    ],
)
def test_priority(record: Record, severity: Severity) -> None:
    options = Rfc5424Options(facility=Facility.LOCAL7, other=Severity.DEBUG)
    assert parse(render_rfc5424(record, options)).pri == 23 * 8 + severity


def test_a_record_without_time_has_that_of_its_sending_or_none() -> None:
    assert parse(render_rfc5424(ContainerRecord(), OPTIONS)).time == "-"
    message = parse(render_rfc5424(ContainerRecord(), OPTIONS, now_ns=1_000))
    assert message.time == "1970-01-01T00:00:00.000001Z"


def test_unknown_header_fields_are_nil() -> None:
    message = parse(render_rfc5424(ContainerRecord(), Rfc5424Options()))
    assert (message.host, message.procid) == ("-", "-")


def test_lists_are_numbered() -> None:
    record = CounterReport(counters=(Counter(name="a", value=1), Counter(name="b", value=2)))
    parameters = parse(render_rfc5424(record, OPTIONS)).parameters
    assert parameters == {"counter.1": "a=1", "counter.2": "b=2"}
    record2 = ContainerRecord(ip_address={"bridge": "10.0.0.1"}, event="start")
    parameters = parse(render_rfc5424(record2, OPTIONS)).parameters
    assert parameters == {"address.1": "bridge=10.0.0.1", "event": "start"}
    assert (
        parse(render_rfc5424(PacketReport(payload=b"\x00\xff"), OPTIONS)).parameters["payload"]
        == "AP8="
    )


def test_a_message_beyond_ascii_has_a_byte_order_mark() -> None:
    assert b"] \xef\xbb\xbfuser" in render_rfc5424(
        RECORD_TYPES["user"](claims=("a=é",)),  # type: ignore[call-arg]  # a user has claims
        OPTIONS,
    )
    assert b"\xef\xbb\xbf" not in render_rfc5424(ContainerRecord(event="start"), OPTIONS)


@pytest.mark.parametrize("character", ["x", "é", "字", "😀", '"', "\n"])
def test_a_long_value_is_cut_and_the_verdict_is_not(character: str) -> None:
    record = FlowRecord(
        source=EndPoint(ip="10.0.0.1"),
        destination=EndPoint(uri=character * 20_000),
        action=ActionType.REJECT,
        policy_id="p1",
        sequence=9,
    )
    data = render_rfc5424(record, OPTIONS)
    assert 8000 < len(data) <= 8192
    message = parse(data)
    uri = message.parameters["destination_uri"]
    assert uri[-1] == "…"
    assert set(unescape_text(uri[:-1])) == {character}
    assert message.parameters["truncated"] == "1"
    assert message.parameters["action"] == "reject"
    assert message.parameters["policy_id"] == "p1"
    assert message.text.startswith("flow REJECT")


def test_too_many_values_are_left_out_from_the_end() -> None:
    lines = tuple(f"line number {number}" for number in range(2_000))
    data = render_rfc5424(TraceReport(lines=lines, sequence=3), OPTIONS)
    assert len(data) <= 8192
    parameters = parse(data).parameters
    assert parameters["sequence"] == "3"
    assert parameters["line.1"].startswith("line")
    left_out = 2_000 - sum(name.startswith("line.") for name in parameters)
    assert int(parameters["truncated"]) >= left_out > 0


def test_the_smallest_limit_holds_the_longest_header() -> None:
    options = Rfc5424Options(
        hostname="h" * 300,
        app_name="a" * 300,
        procid="p" * 300,
        enterprise_id=2**32 - 1,
        max_bytes=SMALLEST_MAX_BYTES,
    )
    for kind in RECORD_TYPES.values():
        data = render_rfc5424(kind(), options, now_ns=1)
        assert len(data) <= SMALLEST_MAX_BYTES
        parse(data)
