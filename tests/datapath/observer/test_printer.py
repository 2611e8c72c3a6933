"""Flows as they are printed, beside what hubble 1.16.2 printed of the same three."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from trireme_datapath.observer.json_form import RESPONSE, read_message
from trireme_datapath.observer.printer import FlowPrinter, OutputForm

if TYPE_CHECKING:
    from collections.abc import Mapping

TIME = "2026-11-21T09:19:48.135Z"
FLOWS: list[dict[str, Any]] = [
    {
        "time": TIME,
        "verdict": "FORWARDED",
        "IP": {"source": "10.0.0.1", "destination": "10.0.0.2", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": True}}},
        "source": {"identity": 2},
        "destination": {"identity": 2},
        "Type": "L3_L4",
        "node_name": "toynode",
        "event_type": {"type": 4, "sub_type": 3},
        "traffic_direction": "EGRESS",
        "trace_observation_point": "TO_STACK",
        "is_reply": False,
        "Summary": "TCP Flags: SYN",
    },
    {
        "time": TIME,
        "verdict": "DROPPED",
        "IP": {"source": "10.0.0.5", "destination": "10.0.0.6"},
        "l4": {"UDP": {"source_port": 5353, "destination_port": 53}},
        "source": {"namespace": "default", "pod_name": "web"},
        "destination_names": ["example.org"],
        "event_type": {"type": 1, "sub_type": 133},
    },
    {
        "time": TIME,
        "verdict": "FORWARDED",
        "IP": {"source": "10.0.0.3", "destination": "10.0.0.4"},
        "l4": {"ICMPv4": {"type": 8}},
    },
]
COMPACT = """\
Nov 21 09:19:48.135: 10.0.0.1:40000 (world) -> 10.0.0.2:443 (world) to-stack FORWARDED (TCP Flags: SYN)
Nov 21 09:19:48.135: default/web:5353 (unknown) <> example.org:53 (unknown) Policy denied DROPPED ()
Nov 21 09:19:48.135: 10.0.0.3 (unknown) <> 10.0.0.4 (unknown) UNKNOWN FORWARDED ()
"""  # noqa: E501  as it was printed
TABLE = (
    "TIMESTAMP             SOURCE             DESTINATION      TYPE            VERDICT     "
    "SUMMARY\n"
    "Nov 21 09:19:48.135   10.0.0.1:40000     10.0.0.2:443     to-stack        FORWARDED   "
    "TCP Flags: SYN\n"
    "Nov 21 09:19:48.135   default/web:5353   example.org:53   Policy denied   DROPPED     \n"
    "Nov 21 09:19:48.135   10.0.0.3           10.0.0.4         UNKNOWN         FORWARDED   \n"
)
DICT = """\
  TIMESTAMP: Nov 21 09:19:48.135
     SOURCE: 10.0.0.1:40000
DESTINATION: 10.0.0.2:443
       TYPE: to-stack
    VERDICT: FORWARDED
    SUMMARY: TCP Flags: SYN
------------
"""
JSON = (
    '{"flow":{"time":"2026-11-21T09:19:48.135Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1",'
    '"destination":"10.0.0.2","ipVersion":"IPv4"},"l4":{"TCP":{"source_port":40000,'
    '"destination_port":443,"flags":{"SYN":true}}},"source":{"identity":2},"destination":'
    '{"identity":2},"Type":"L3_L4","node_name":"toynode","event_type":{"type":4,"sub_type":3},'
    '"traffic_direction":"EGRESS","trace_observation_point":"TO_STACK","is_reply":false,'
    '"Summary":"TCP Flags: SYN"},"node_name":"toynode","time":"2026-11-21T09:19:48.135Z"}\n'
)


def printed(*responses: Mapping[str, object], **options: object) -> str:
    said: list[str] = []
    printer = FlowPrinter(said.append, said.append, **options)  # type: ignore[arg-type]
    for response in responses:
        printer.put(read_message(RESPONSE, response))
    printer.close()
    return "".join(said)


def flows(*which: Mapping[str, object], **options: object) -> str:
    return printed(*({"flow": flow} for flow in which or FLOWS), **options)


def test_compact_table_and_dict_are_those_of_hubble() -> None:
    assert flows() == COMPACT
    assert flows(form=OutputForm.TABLE) == TABLE
    assert flows(form=OutputForm.DICT).startswith(DICT)


def test_json_is_that_of_hubble() -> None:
    response = {"flow": FLOWS[0], "node_name": "toynode", "time": TIME}
    assert printed(response, form=OutputForm.JSON) == JSON
    assert printed(response, form=OutputForm.JSONPB) == JSON
    assert json.loads(JSON) == response


def test_nodes_are_printed_if_wanted() -> None:
    assert flows(FLOWS[0], node_name=True).startswith("Nov 21 09:19:48.135 [toynode]: 10.0.0.1")
    assert "       NODE: toynode\n" in flows(FLOWS[0], node_name=True, form=OutputForm.DICT)
    table = flows(FLOWS[0], node_name=True, form=OutputForm.TABLE).splitlines()
    assert table[0].split() == ["TIMESTAMP", "NODE", *TABLE.splitlines()[0].split()[1:]]


def test_addresses_are_printed_if_wanted() -> None:
    assert " 10.0.0.5:5353 (unknown) <> 10.0.0.6:53 " in flows(FLOWS[1], names=False)


def test_a_reply_points_back() -> None:
    line = flows({**FLOWS[0], "is_reply": True, "destination": {"identity": 300}})
    assert " 10.0.0.2:443 (ID:300) <- 10.0.0.1:40000 (world) " in line


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"event_type": {"type": 5}}, "policy-verdict:none EGRESS ALLOWED"),
        (
            {"event_type": {"type": 5}, "verdict": "DROPPED", "policy_match_type": 1},
            "policy-verdict:L3-Only EGRESS DENIED",
        ),
        (
            {"event_type": {"type": 5}, "verdict": "AUDIT", "traffic_direction": 0},
            "policy-verdict:none TRAFFIC_DIRECTION_UNKNOWN AUDITED",
        ),
        ({"event_type": {"type": 4}}, "to-endpoint FORWARDED"),
        ({"event_type": {"type": 1, "sub_type": 250}}, "250, 0 FORWARDED"),
        (
            {"event_type": {"type": 3}, "debug_capture_point": "DBG_CAPTURE_DELIVERY"},
            "DBG_CAPTURE_DELIVERY FORWARDED",
        ),
        (
            {"event_type": {"type": 7}, "sock_xlate_point": 1, "verdict": "TRACED"},
            "pre-xlate-fwd TRACED",
        ),
        ({"l7": {"type": "REQUEST", "http": {}}}, "http-request FORWARDED"),
        (
            {"l7": {"type": 2, "dns": {"observation_source": "proxy"}}},
            "dns-response proxy FORWARDED",
        ),
        ({"verdict": 0}, "to-stack VERDICT_UNKNOWN"),
        ({"auth_type": "SPIRE"}, "to-stack FORWARDED (TCP Flags: SYN; Auth: SPIRE)"),
    ],
)
def test_types_and_verdicts(fields: dict[str, object], expected: str) -> None:
    assert f" {expected}" in flows({**FLOWS[0], **fields})


def test_colours_are_those_of_hubble() -> None:
    assert flows(FLOWS[0], color=True) == (
        "Nov 21 09:19:48.135: \x1b[36m10.0.0.1:\x1b[33m40000\x1b[0m\x1b[0m \x1b[35m(world)\x1b[0m"
        " -> \x1b[36m10.0.0.2:\x1b[33m443\x1b[0m\x1b[0m \x1b[35m(world)\x1b[0m to-stack"
        " \x1b[32mFORWARDED\x1b[0m (TCP Flags: SYN)\n"
    )
    assert flows(color=True, form=OutputForm.TABLE) == TABLE


def test_nothing_commands_the_terminal() -> None:
    line = flows(
        {**FLOWS[0], "Summary": "\x1b[2Jx\r\ny\u202e", "node_name": "a\nb"}, node_name=True
    )
    assert line.count("\n") == 1
    assert "(^[[2Jx\\r\\ny\\u202e)" in line
    assert "[a\\nb]" in line


def test_what_has_no_addresses_and_no_time() -> None:
    assert flows({"ethernet": {"source": "a:b", "destination": "c:d"}}) == (
        "N/A: a:b (unknown) <> c:d (unknown) UNKNOWN VERDICT_UNKNOWN ()\n"
    )
    assert flows({}) == "N/A:  (unknown) <>  (unknown) UNKNOWN VERDICT_UNKNOWN ()\n"


def test_ipv6_addresses_stand_in_brackets_before_ports() -> None:
    flow = {**FLOWS[0], "IP": {"source": "2001:db8::1", "destination": "2001:db8::2"}}
    assert " [2001:db8::1]:40000 (world) -> [2001:db8::2]:443 " in flows(flow)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RFC3339", "2026-11-21T09:19:48Z"),
        ("RFC3339Milli", "2026-11-21T09:19:48.135Z"),
        ("RFC3339Nano", "2026-11-21T09:19:48.135Z"),
        ("YearMonthDay", "2026-11-21"),
        ("YearMonthDayHour", "2026-11-21T09Z"),
        ("YearMonthDayHourMinute", "2026-11-21T09:19Z"),
        ("RFC1123Z", "Sat, 21 Nov 2026 09:19:48 +0000"),
    ],
)
def test_time_formats(name: str, expected: str) -> None:
    assert flows(FLOWS[0], time_format=name).startswith(f"{expected}: ")


LOST: dict[str, Any] = {"lost_events": {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "12"}}


def test_losses_are_told() -> None:
    assert printed(LOST) == "EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 12\n"
    assert "    SUMMARY: CPU(0) - 12\n" in printed(LOST, form=OutputForm.DICT)
    row = printed({"flow": FLOWS[0]}, LOST, form=OutputForm.TABLE).splitlines()[-1]
    assert row.split() == ["HUBBLE_RING_BUFFER", "EVENTS", "LOST", "CPU(0)", "-", "12"]
    assert json.loads(printed(LOST, form=OutputForm.JSON)) == LOST


def test_the_state_of_nodes_is_told_when_it_is_bad() -> None:
    status = {"state_change": "NODE_UNAVAILABLE", "node_names": ["a", "b"]}
    response = {"node_status": status, "node_name": "relay", "time": TIME}
    assert printed(response) == "Nov 21 09:19:48.135 [relay]: 2 nodes are unavailable: a, b\n"
    many = [f"node-number-{number}" for number in range(7)]
    status = {"state_change": "NODE_ERROR", "node_names": many, "message": 'say "no"\x1b'}
    failed = {"node_status": status, "node_name": "relay", "time": TIME}
    names = "node-number-0, node-number-1, node-number-2 (and 4 more)"
    assert printed(failed) == (
        rf'Nov 21 09:19:48.135 [relay]: Error "say \"no\"\x1b" on 7 nodes: {names}' + "\n"
    )
    assert printed({"flow": FLOWS[0]}, failed, response, form=OutputForm.DICT).endswith(
        "------------\n  TIMESTAMP: Nov 21 09:19:48.135\n      STATE: NODE_ERROR\n"
        rf"      NODES: {names}" + "\n" + r'    MESSAGE: "say \"no\"\x1b"' + "\n"
        "------------\n  TIMESTAMP: Nov 21 09:19:48.135\n      STATE: NODE_UNAVAILABLE\n"
        "      NODES: a, b\n    MESSAGE: N/A\n"
    )
    assert json.loads(printed(response, form=OutputForm.JSON)) == response
    assert printed({"node_status": {"state_change": "NODE_CONNECTED"}}) == ""
