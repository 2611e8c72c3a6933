"""Compiled expressions say what a plain reading of them says."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.filters.expressions import SHORT, expressions, write
from tests.core.filters.oracle import evaluate
from trireme_collector import (
    ActionType,
    ContainerRecord,
    DNSRequestReport,
    EndPoint,
    FlowRecord,
    PacketReport,
    Record,
    UserRecord,
)
from trireme_collector.filters import Expression, compile_expression
from trireme_collector.filters._glob import compile_glob
from trireme_collector.records import PacketEvent
from trireme_collector.testing.strategies import records

ADDRESS_TEXTS = st.one_of(
    st.sampled_from(["10.0.0.1", "10.1.2.3", "192.0.2.1", "2001:db8::1", "::1", "0.0.0.0"]),
    st.sampled_from(["", "x", "10.0.0.1 ", "::ffff:10.0.0.1", "fe80::1%eth0", "\0", "\ud800"]),
)
TEXTS = st.one_of(SHORT, ADDRESS_TEXTS)
TYPICAL = (
    'type == "flow" and action == "reject" and destination.port in [22, 23]'
    ' and source.ip in "10.0.0.0/8" and not policy_id =~ "test-*"'
)
FLOW = FlowRecord(
    source=EndPoint(ip="10.1.2.3", port=40000),
    destination=EndPoint(ip="2001:db8::1", port=22),
    tags=("app=web", "env=prod"),
    action=ActionType.REJECT_LOG,
    policy_id="office",
    count=1,
)


def holds(text: str, record: Record) -> bool:
    test = compile_expression(text)[type(record)]
    return test if isinstance(test, bool) else test(record)


@settings(max_examples=400)
@given(expressions(), records(text=TEXTS))
def test_it_agrees_with_the_naive_evaluator(expression: Expression, record: Record) -> None:
    assert holds(write(expression), record) is evaluate(expression, record)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            TYPICAL,
            True,
        ),
        ('action == "log"', True),
        ('action == "accept"', False),
        ('action != "accept"', True),
        ('action in ["accept", "reject"]', True),
        ('action == "none"', False),
        ('observed_action == "none"', True),
        ('tags == "env=prod"', True),
        ('tags =~ "env=*"', True),
        ('tags != "env=prod"', False),
        ('tags not in ["env=test"]', True),
        ('destination.ip == "2001:0db8:0:0::1"', True),
        ('destination.ip in ["10.0.0.0/8", "2001:db8::/32"]', True),
        ("destination.port >= 22 and destination.port < 23", True),
        ('source.type == "ext"', True),
    ],
)
def test_a_flow_is_compared(text: str, *, expected: bool) -> None:
    assert holds(text, FLOW) is expected


@pytest.mark.parametrize("sign", ['== "x"', '!= "x"', 'in ["x"]', 'not in ["x"]', '=~ "*"'])
def test_a_field_that_is_not_there_matches_nothing(sign: str) -> None:
    assert not holds(f"policy_id {sign}", UserRecord())
    assert not holds(f"interface {sign}", FLOW)
    assert holds(f"not interface {sign}", FLOW)


@pytest.mark.parametrize("sign", ["== 0", "!= 0", "< 1", ">= 0", "in [0]", "not in [1]"])
def test_an_unknown_number_matches_nothing(sign: str) -> None:
    assert not holds(f"packets {sign}", FLOW)


def test_an_end_point_that_is_not_there_matches_nothing() -> None:
    assert not holds('destination.ip in "0.0.0.0/0"', DNSRequestReport())
    assert not holds("destination.port >= 0", DNSRequestReport())
    assert holds("destination.port == 53", DNSRequestReport(destination=EndPoint(port=53)))


def test_a_name_may_mean_different_things() -> None:
    assert holds('event == "start"', ContainerRecord(event="start"))
    assert holds('event == "Dropped"', PacketReport(event=PacketEvent.DROPPED))
    assert not holds('event == "start"', PacketReport(event=PacketEvent.DROPPED))


def test_a_flag_stands_alone() -> None:
    assert holds("encrypt and not trireme_packet", PacketReport(encrypt=True))


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("10.0.0.0/8", True),
        ("::ffff:10.0.0.1", True),
        ("::ffff:10.0.0.0/104", True),
        ("::/0", False),
    ],
)
def test_a_mapped_address_is_the_address_that_it_maps(network: str, *, expected: bool) -> None:
    record = PacketReport(source_ip="::ffff:10.0.0.1")
    assert holds(f'source_ip in "{network}"', record) is expected


@settings(max_examples=400)
@given(st.text("ab*?", max_size=8), st.text("ab\n", max_size=12))
def test_a_glob_agrees_with_the_standard_library(pattern: str, text: str) -> None:
    assert compile_glob(pattern)(text) is fnmatch.fnmatchcase(text, pattern)


def test_a_glob_takes_its_time_from_the_text_alone() -> None:
    # A matcher that tries every way would not come back.
    assert not compile_glob("a*" * 60 + "?b?")("a" * 50_000)
