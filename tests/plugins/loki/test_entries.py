"""Labels, times and lines are those that NetObserv gives Loki, but for times that it rounds."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given

from tests.plugins.loki.decoding import parse_labels
from trireme_collector import (
    ActionType,
    Direction,
    EndPoint,
    FlowRecord,
    PacketReport,
    Record,
    decode_json,
    encode_json,
)
from trireme_collector.testing.strategies import records
from trireme_collector_loki._entries import entry_form, flow_entry
from trireme_collector_loki._push import arrange, json_push, label_text, protobuf_push

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_700_000_000_123_456_789
VECTORS = Path(__file__).parents[2] / "data" / "netobserv_conntrack.json.gz"


@functools.cache
def pushed() -> list[tuple[dict[str, object], dict[str, object]]]:
    """Give what the original has pushed with the labels of the seed, and its configuration."""
    first = json.loads(gzip.decompress(VECTORS.read_bytes()))["loki"][0]
    return [(first["config"], entry) for entry in first["entries"]]


@pytest.mark.parametrize("number", range(len(pushed())))
def test_entries_are_those_of_the_original(number: int) -> None:
    config, expected = pushed()[number]
    flow = cast("Mapping[str, object]", expected["flow"])
    end_ms = flow.get("TimeFlowEndMs")
    is_timed = isinstance(end_ms, (int, float)) and bool(end_ms)
    time_ns = round(float(cast("float", end_ms)) * 2) * 500_000 if is_timed else NOW
    entry = flow_entry(
        flow,
        time_ns,
        cast("list[str]", config["labels"]),
        cast("dict[str, str]", config["staticLabels"]),
    )
    theirs = parse_labels(str(expected["labels"]).replace("\n", "\\n")) if number != 8 else None
    if "12345678901234567000" not in str(expected["labels"]):  # they have no integers that large
        assert label_text(entry.labels) == expected["labels"] or dict(entry.labels) == theirs
    line = json.loads(entry.line)
    if "Int53" not in line:  # the same
        assert line == expected["line"]
    if is_timed:
        assert abs(entry.time_ns - int(str(expected["timestamp_ns"]))) < 256


def flow(**fields: object) -> FlowRecord:
    return FlowRecord(
        source=EndPoint(ip="192.0.2.1", port=40_000),
        destination=EndPoint(ip="192.0.2.2", port=443),
        l4_protocol=6,
        action=ActionType.ACCEPT,
        direction=Direction.EGRESS,
        **fields,  # type: ignore[arg-type]  # only the types of these are known
    )


def test_a_time_is_kept_to_the_nanosecond() -> None:
    (entry,) = entry_form("netobserv")(flow(end_time_ns=1_636_145_129_777_000_001), NOW)
    assert entry.time_ns == 1_636_145_129_777_000_001
    assert json.loads(entry.line)["TimeFlowEndMs"] == 1_636_145_129_777
    (other,) = entry_form("netobserv")(flow(), NOW)
    assert other.time_ns == NOW


def test_both_ways_are_lines_of_their_own() -> None:
    record = flow(source_packets=3, destination_packets=2, instance="h", epoch=1, sequence=7)
    there, back = entry_form("netobserv")(record, NOW)
    assert dict(there.labels) == {"FlowDirection": "1", "app": "netobserv-flowcollector"}
    assert dict(back.labels)["FlowDirection"] == "0"
    assert "FlowDirection" not in json.loads(there.line)
    assert json.loads(back.line)["SrcAddr"] == "192.0.2.2"
    expected = (("trireme_instance", "h"), ("trireme_epoch", "1"), ("trireme_sequence", "7"))
    assert there.metadata == back.metadata == expected


def test_labels_are_chosen() -> None:
    render = entry_form("netobserv", labels=["Proto", "SrcAddr"], static_labels={"site": "north"})
    (entry,) = render(flow(), NOW)
    assert entry.labels == (("Proto", "6"), ("SrcAddr", "192.0.2.1"), ("site", "north"))


def test_native_records_are_whole_lines() -> None:
    record = flow(namespace="/shop", instance="h", epoch=1, sequence=7)
    (entry,) = entry_form("json")(record, NOW)
    assert entry.labels == (
        ("app", "trireme-collector"),
        ("namespace", "/shop"),
        ("type", "flow"),
    )
    assert decode_json(entry.line) == record
    render = entry_form("json", labels=["direction", "nothing", "source", "sequence"])
    assert dict(render(record, NOW)[0].labels) == {
        "app": "trireme-collector",
        "direction": "egress",
        "sequence": "7",
    }


@given(records())
def test_lines_are_printable_whatever_the_network_sent(record: Record) -> None:
    for layout in ("netobserv", "json"):
        for entry in entry_form(layout)(record, NOW):
            assert entry.line.decode().isprintable()
            assert isinstance(json.loads(entry.line), dict)
            assert parse_labels(label_text(entry.labels)) == dict(entry.labels)
            assert 0 < entry.time_ns < 2**63
            streams = arrange([entry])
            assert json_push(streams, metadata=True).decode().isprintable()
            protobuf_push(streams, metadata=True)
    (entry,) = entry_form("json")(record, NOW)
    assert decode_json(entry.line) == decode_json(encode_json(record))


def test_what_is_no_flow_has_no_flow_log() -> None:
    assert entry_form("netobserv")(PacketReport(packet_id=1), NOW) == []
