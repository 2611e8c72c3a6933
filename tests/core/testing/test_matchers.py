"""Matchers say what they expect, take what fits, and tell in what the rest differs."""

from __future__ import annotations

from unittest.mock import ANY

import msgspec
import pytest
from hypothesis import given

from trireme_collector.records import (
    ActionType,
    ContainerRecord,
    Counter,
    CounterReport,
    DNSRequestReport,
    EndPoint,
    FlowRecord,
    PacketReport,
    Record,
)
from trireme_collector.testing import (
    Matcher,
    absent,
    anything,
    between,
    contains,
    differences,
    glob,
    in_network,
    like,
    not_,
    one_of,
    regex,
)
from trireme_collector.testing.strategies import records

FLOW = FlowRecord(
    source=EndPoint(ip="192.0.2.1", port=40000),
    destination=EndPoint(ip="10.0.0.2", port=443, id="web"),
    action=ActionType.ACCEPT,
    tags=("app=web", "env=prod"),
    count=2,
)


@pytest.mark.parametrize(
    ("matcher", "fitting", "other"),
    [
        (glob("10.0.*"), "10.0.0.2", "10.1.0.2"),
        (glob("a*"), "ab", b"ab"),
        (regex(r"^\d+ms$"), "12ms", "12s"),
        (contains("app=web"), ("app=web", "x=y"), ("x=y",)),
        (contains("we"), "web", "bew"),
        (contains(b"\x45"), b"\x45\x00", b"\x00"),
        (contains({"value": between(1)}), (Counter(value=0), Counter(value=3)), (Counter(),)),
        (one_of("start", glob("st*")), "stop", "delete"),
        (not_("policy"), "", "policy"),
        (not_(absent), 0, msgspec.UNSET),
        (between(1, 3), 3, 4),
        (between(None, 3), -1, 4),
        (between(1), 2.5, True),
        (in_network("10.0.0.0/8"), "10.1.2.3", "11.1.2.3"),
        (in_network("2001:db8::/32"), "2001:db8::1", "10.0.0.1"),
        (in_network("10.0.0.0/8"), "10.0.0.1", "web"),
        (absent, msgspec.UNSET, None),
    ],
)
def test_a_matcher_takes_what_fits(matcher: Matcher, fitting: object, other: object) -> None:
    assert matcher == fitting
    assert fitting == matcher
    assert matcher != other
    assert differences(matcher, fitting) == []
    (line,) = differences(matcher, other)
    assert line.startswith(f"expected {matcher!r}, got ")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"destination": {"ip": "10.0.0.2", "port": 443}},
        {"destination": like(EndPoint, port=443), "source": ANY},
        {"action": "accept"},
        {"action": ActionType.ACCEPT, "packets": absent},
        {"tags": ["app=web", glob("env=*")]},
        {"tags": contains("env=prod"), "count": int},
        {"count": lambda count: count > 1},
        {"source": EndPoint(ip="192.0.2.1", port=40000)},
        {"destination": {"ip": anything, "id": one_of("web", "db")}},
        {"count": pytest.approx(2.0)},
    ],
)
def test_a_record_is_matched_by_some_of_its_fields(fields: dict[str, object]) -> None:
    assert like(FlowRecord, **fields) == FLOW
    assert [like(FlowRecord, **fields)] == [FLOW]
    assert not differences(fields, FLOW)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"count": 3}, ["count: expected 3, got 2"]),
        ({"action": "reject"}, ["action: expected 'reject', got ActionType.ACCEPT"]),
        ({"action": ActionType.REJECT}, ["action: expected ActionType.REJECT, got ActionType.ACC"]),
        (
            {"destination": {"ip": "10.0.0.3", "port": 443}, "count": 9},
            ["destination.ip: expected '10.0.0.3', got '10.0.0.2'", "count: expected 9, got 2"],
        ),
        ({"destination": EndPoint(ip="10.0.0.2", port=443)}, ["destination.id: expected '', got "]),
        ({"tags": ["app=web"]}, ["tags: expected 1 elements: ['app=web'], got ("]),
        ({"tags": ["app=web", "env=test"]}, ["tags[1]: expected 'env=test', got 'env=prod'"]),
        ({"count": {"a": 1}}, ["count: expected {'a': 1}, got 2"]),
        ({"count": str}, ["count: expected str, got 2"]),
        ({"packets": 1}, ["packets: expected 1, got UNSET"]),
        ({"count": lambda _: False}, ["count: expected <lambda> of line "]),
    ],
)
def test_what_differs_is_told_field_by_field(fields: dict[str, object], said: list[str]) -> None:
    told = like(FlowRecord, **fields).differences(FLOW)
    assert len(told) == len(said)
    assert all(line.startswith(start) for line, start in zip(told, said, strict=True))
    assert like(FlowRecord, **fields) != FLOW


def test_another_kind_of_record_does_not_match() -> None:
    assert like(FlowRecord) != PacketReport()
    assert like(PacketReport).differences(FlowRecord()) == [
        "expected a PacketReport, got FlowRecord()"
    ]


def test_keys_of_a_mapping_are_matched_like_fields() -> None:
    record = ContainerRecord(ip_address={"bridge": "172.17.0.2", "eth1": "10.0.0.2"})
    assert like(ContainerRecord, ip_address={"bridge": glob("172.*")}) == record
    assert like(ContainerRecord, ip_address={"eth0": "x"}).differences(record) == [
        "ip_address.eth0: expected 'x', but there is no such key"
    ]


def test_a_misspelt_field_is_refused_when_it_is_written() -> None:
    with pytest.raises(TypeError, match=r"no field destinaton \(did you mean destination\?\)"):
        like(FlowRecord, destinaton={})
    with pytest.raises(TypeError, match=r"no field destination\.prt \(did you mean destination\."):
        like(FlowRecord, destination={"prt": 1})
    with pytest.raises(TypeError, match=r"CounterReport has no field zzzzz; it has instance, "):
        like(CounterReport, zzzzz=1)


def test_a_field_below_an_absent_one_differs() -> None:
    (line,) = like(DNSRequestReport, destination={"ip": "x"}).differences(DNSRequestReport())
    assert line == "destination: expected {'ip': 'x'}, got UNSET"
    present = DNSRequestReport(destination=EndPoint(ip="x"))
    assert like(DNSRequestReport, destination={"ip": "x"}) == present
    (line,) = like(DNSRequestReport, destination={"ipp": "x"}).differences(present)
    assert line.endswith("there is no such field")


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="host bits"):
        in_network("10.0.0.1/8")


def test_a_matcher_is_shown_as_it_was_written() -> None:
    matcher = like(FlowRecord, destination={"port": 443}, tags=contains("a=b"), action="accept")
    assert repr(matcher) == (
        "FlowRecord(destination={'port': 443}, tags=contains('a=b'), action='accept')"
    )
    assert repr(like(FlowRecord)) == "FlowRecord(...)"


@given(records())
def test_every_record_fits_itself_and_its_kind(record: Record) -> None:
    assert differences(record, record) == []
    assert like(type(record)) == record
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    assert like(type(record), **fields) == record
