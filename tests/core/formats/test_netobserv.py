"""Flow records as lines of NetObserv JSON."""

from __future__ import annotations

import json

from trireme_collector import FlowRecord, UserRecord
from trireme_collector.formats.netobserv import render_netobserv, render_netobserv_lines

RECORD = FlowRecord(l4_protocol=6, source_packets=1, destination_packets=1)


def test_a_line_for_each_direction() -> None:
    lines = render_netobserv_lines([RECORD, UserRecord(), RECORD], agent_ip="192.0.2.1")
    assert lines.endswith(b"\n")
    flows = [json.loads(line) for line in lines.splitlines()]
    assert [flow["AgentIP"] for flow in flows] == ["192.0.2.1"] * 4


def test_what_is_no_flow_has_no_place() -> None:
    assert render_netobserv(UserRecord()) == []
    assert render_netobserv_lines([]) == b""


def test_the_text_of_the_original() -> None:
    (line, _) = render_netobserv(RECORD, time_received=5, profile="strict")
    assert line == b'{"DstPort":0,"Packets":1,"Proto":6,"SrcPort":0,"TimeReceived":5}'
