"""Lines of JSON in, lines of JSON out: what is not understood is counted, not guessed at."""

from __future__ import annotations

import json

import pytest

from tests.core.netobserv.flows import config, flow
from trireme_collector.netobserv import LineTracker, Tracker


def lines(*flows: object) -> list[bytes]:
    return [json.dumps(one).encode() for one in flows]


def line_tracker(*types: str) -> LineTracker:
    return LineTracker(Tracker.from_config(config(outputRecordTypes=list(types))))


def test_a_flow_log_keeps_its_bytes() -> None:
    line = json.dumps(flow(Mood="\u00fc", Bytes=1.50), indent=None).encode()
    (given,) = line_tracker("flowLog").process([line], 0)
    assert given.startswith(line[:-1])
    assert json.loads(given)["_RecordType"] == "flowLog"
    assert len(json.loads(given)["_HashId"]) > 8


def test_fields_of_ours_are_replaced() -> None:
    line = lines(flow(_HashId="x", _RecordType="y", Bytes=0))[0].replace(b": 0}", b": 1.50}")
    (given,) = line_tracker("flowLog").process([line], 0)
    assert b"1.50" in given
    assert given.count(b"_HashId") == given.count(b"_RecordType") == 1
    assert json.loads(given)["_RecordType"] == "flowLog"


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"5",
        b"null",
        b'{"a":\xff}',
        b'{"SrcAddr":"\\ud800"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"Proto":' + b"9" * 10_000 + b"}",
        b'{"a":NaN}',
        b"{} {}",
    ],
)
def test_a_broken_line_is_counted_and_costs_no_other(line: bytes) -> None:
    tracker = line_tracker("flowLog")
    given = tracker.process([*lines(flow()), line, b"", *lines(flow(2, 1))], 0)
    assert len(given) == 2
    assert tracker.broken == 1


def test_blanks_around_an_object() -> None:
    tracker = line_tracker("flowLog")
    given = tracker.process([b"  " + lines(flow())[0] + b" \r"], 0)
    assert json.loads(given[0])["SrcAddr"] == "192.0.2.1"
    assert tracker.broken == 0


def test_bytes_that_are_no_text() -> None:
    tracker = line_tracker("flowLog")
    given = tracker.process([lines(flow(Name="?"))[0].replace(b"?", b"\xff")], 0)
    assert json.loads(given[0])["Name"] == "\ufffd"
    assert tracker.repaired == 1


@pytest.mark.parametrize("empty", [b"{}", b"{ }", b" {\t} \r", b" {}"])
def test_an_empty_object_is_passed_on(empty: bytes) -> None:
    (given,) = line_tracker("flowLog").process([empty], 0)
    assert json.loads(given) == {"_RecordType": "flowLog"}


def test_key_fields_of_unusual_types_are_tracked() -> None:
    tracker = line_tracker("newConnection")
    odd = lines(flow(SrcPort=1.5), flow(SrcPort=True), flow(SrcPort=None), flow(SrcAddr=["x"]))
    assert len(tracker.process(odd, 0)) == 3
    assert tracker.broken == 0


def test_the_flow_logs_drive_the_clock() -> None:
    tracker = line_tracker("endConnection")
    begin = 1_700_000_000_000
    given = tracker.process_by_time(
        lines(
            flow(TimeFlowEndMs=begin),
            flow(3, 4, TimeFlowEndMs=begin + 9_000),
            flow(5, 6, TimeFlowEndMs=begin + 11_000),
            flow(3, 4, TimeFlowEndMs=begin - 50_000),
            flow(5, 6, TimeFlowEndMs="soon"),
            flow(5, 6),
        )
    )
    assert [json.loads(line)["SrcAddr"] for line in given] == ["192.0.2.1"]
    assert len(tracker.flush()) == 2


def test_time_goes_on_without_lines() -> None:
    tracker = line_tracker("endConnection")
    tracker.process(lines(flow()), 0)
    assert len(tracker.tick(10_001)) == 1
    tracker.process(lines(flow()), 11_000)
    assert len(tracker.flush(11_001)) == 1


def test_a_field_may_have_any_name() -> None:
    odd = "a b\u00e9\"'()"
    group = {"name": "all", "fields": [odd]}
    tracker = LineTracker(
        Tracker.from_config(
            config(
                keyDefinition={"fieldGroups": [group], "hash": {"fieldGroupRefs": ["all"]}},
                outputFields=[{"name": odd + "2", "operation": "sum", "input": "class"}],
                tcpFlags={},
                outputRecordTypes=["newConnection"],
            )
        )
    )
    (given,) = tracker.process(lines({odd: "x", "Proto": 6, "class": 7}), 0)
    assert json.loads(given)[odd + "2"] == 7


@pytest.mark.parametrize("depth", range(900, 1000, 3))
def test_nesting_to_the_limit_ends_nothing(depth: int) -> None:
    fields = [{"name": "NetworkEvents", "operation": "last"}]
    tracker = LineTracker(Tracker.from_config(config(outputFields=fields)))
    line = lines(flow(_HashId="x", NetworkEvents=0))[0]
    deep = line.replace(b'"NetworkEvents": 0', b'"NetworkEvents": ' + b"[" * depth + b"]" * depth)
    given = tracker.process([deep, *lines(flow(3, 4))], 0) + tracker.flush()
    assert len(given) + 3 * tracker.broken == 6
    assert all(record.startswith(b'{"SrcAddr"') for record in given)
