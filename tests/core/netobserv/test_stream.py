"""The stream between lines and records, short way and long."""

from __future__ import annotations

import importlib.metadata
import json

import pytest

from tests.core.netobserv.flows import config, flow
from trireme_collector import PluginError
from trireme_collector.netobserv import (
    ConversationStream,
    Enricher,
    FlowReader,
    KubernetesObject,
    Tracker,
)
from trireme_collector.netobserv.sources import (
    FLOW_SOURCE_GROUP,
    flow_source_names,
    load_flow_source,
)

BEGIN = 1_700_000_000_000
LINES = [
    json.dumps(one).encode()
    for one in (
        flow(Bytes=1, TimeFlowEndMs=BEGIN),
        flow(2, 1, Bytes=2, TimeFlowEndMs=BEGIN + 500),
        flow(3, 4, Bytes=3, TimeFlowEndMs=BEGIN + 60_000),
        flow(3, 4, Bytes=4, TimeFlowEndMs=BEGIN + 59_000),
    )
]


class Everywhere:
    """Finds the same object behind every address."""

    def find(self, address: str) -> KubernetesObject | None:
        del address
        return KubernetesObject(name="n", type="Node")


def stream(
    *, by_time: bool, long: bool = False, enricher: Enricher | None = None
) -> ConversationStream:
    return ConversationStream(
        Tracker.from_config(config()),
        by_time=by_time,
        reader=FlowReader() if long else None,
        enricher=enricher,
    )


def ended(one: ConversationStream) -> list[bytes]:
    return [line for lines in one.finish() for line in lines]


@pytest.mark.parametrize("by_time", [True, False])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_both_ways_give_the_same(by_time: bool, size: int) -> None:
    outputs = []
    for long in (False, True):
        one = stream(by_time=by_time, long=long)
        lines: list[bytes] = []
        for start in range(0, len(LINES), size):
            lines += one.take_lines(LINES[start : start + size], start * 6_000)
        lines += ended(one)
        outputs.append([json.loads(line) for line in lines])
        assert (one.lines, one.flows, one.records, one.broken) == (4, 4, len(lines), 0)
    assert outputs[0] == outputs[1]


def test_the_clock_of_the_flow_logs() -> None:
    one = stream(by_time=True)
    given = [json.loads(line) for line in one.take_lines(LINES, 0)]
    ends = [record for record in given if record["_RecordType"] == "endConnection"]
    assert [record["Bytes"] for record in ends] == [3]


def test_names_are_added_to_every_record() -> None:
    one = stream(by_time=True, long=True, enricher=Enricher(Everywhere()))
    lines = one.take_lines(LINES, 0) + ended(one)
    assert all(json.loads(line)["DstK8S_Name"] == "n" for line in lines)


def test_the_end_comes_in_portions() -> None:
    one = stream(by_time=False)
    flows = [json.dumps(flow(SrcPort=port)).encode() for port in range(2_500)]
    one.take_lines(flows, 0)
    assert [len(lines) for lines in one.finish()] == [1_000, 1_000, 500]


def test_names_need_a_reader() -> None:
    with pytest.raises(ValueError, match="needs a reader"):
        stream(by_time=True, enricher=Enricher(Everywhere())).take_lines(LINES, 0)


def test_broken_lines_are_counted_on_both_ways() -> None:
    for long in (False, True):
        one = stream(by_time=True, long=long)
        one.take_lines([b"{", *LINES], 0)
        assert one.broken == 1


def point(name: str, value: str) -> importlib.metadata.EntryPoint:
    return importlib.metadata.EntryPoint(name, value, FLOW_SOURCE_GROUP)


def test_sources_are_found_by_name() -> None:
    points = [point("upper", "builtins:iter"), point("gone", "no_such_module:read")]
    assert flow_source_names(points) == ["gone", "upper"]
    assert [*map(str, load_flow_source("upper", points)("ab"))] == ["a", "b"]
    with pytest.raises(PluginError, match=r"there is no source 'x' .* installed are: gone"):
        load_flow_source("x", points)
    with pytest.raises(PluginError, match="cannot be loaded: ModuleNotFoundError"):
        load_flow_source("gone", points)
    assert "pcap" in flow_source_names()
