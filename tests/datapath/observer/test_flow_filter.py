"""Filters: what each field wants, and all of them against a plain reading of the rules."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.observer import (
    FieldMask,
    FilterError,
    compile_filters,
    filter_fields,
    read_filter,
)
from trireme_datapath.observer.json_form import FLOW, read_message

if TYPE_CHECKING:
    from collections.abc import Mapping

FLOW_OF_TCP = read_message(
    FLOW,
    {
        "time": "2026-01-01T00:00:00Z",
        "uuid": "u1",
        "verdict": "DROPPED",
        "drop_reason_desc": "POLICY_DENIED",
        "IP": {"source": "10.1.2.3", "destination": "2001:db8::2", "ipVersion": "IPv4"},
        "l4": {
            "TCP": {
                "source_port": 40000,
                "destination_port": 443,
                "flags": {"SYN": True, "ACK": True},
            }
        },
        "source": {
            "identity": 2,
            "labels": ["reserved:world", "k8s:tier=front"],
            "cluster_name": "prod-1",
            "namespace": "/shop",
            "pod_name": "cart-1",
            "workloads": [{"name": "cart", "kind": "Deployment"}],
        },
        "destination": {"labels": ["trireme:app=web"], "pod_name": "web"},
        "node_name": "host1.example.org",
        "node_labels": ["zone=a"],
        "source_names": ["cart.example.org"],
        "source_service": {"name": "cart", "namespace": "shop"},
        "event_type": {"type": 4, "sub_type": 3},
        "traffic_direction": "EGRESS",
        "is_reply": False,
        "interface": {"index": 2, "name": "eth0"},
        "trace_context": {"parent": {"trace_id": "t1"}},
        "l7": {"http": {"code": 503, "method": "GET", "headers": [{"key": "a", "value": "b"}]}},
    },
)
EMPTY = read_message(FLOW, {})


def fits(wanted: object, flow: Mapping[str, object] = FLOW_OF_TCP) -> bool:
    test = compile_filters([read_filter(wanted)])
    assert test is not None
    return test(flow)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("uuid", ["u1"], ["u2"]),
        ("source_ip", ["10.0.0.0/8"], ["11.0.0.0/8"]),
        ("source_ip", ["9.9.9.9", "10.1.2.3"], ["10.1.2.30"]),
        ("source_ip", ["10.1.2.3/32"], ["::/0"]),
        ("source_ip", ["0.0.0.0/0"], ["10.1.2.4"]),
        ("destination_ip", ["2001:db8::/32"], ["0.0.0.0/0"]),
        ("destination_ip", ["2001:0DB8::2"], ["2001:db8::3"]),
        ("source_pod", ["shop/cart"], ["shop/web"]),
        ("source_pod", ["/shop/"], ["default/"]),
        ("source_pod", ["/cart"], ["cart"]),
        ("destination_pod", ["web"], ["default/web"]),
        ("destination_pod", ["we"], ["web2"]),
        ("source_service", ["shop/ca"], ["cart"]),
        ("source_workload", [{"name": "cart"}], [{"name": "cart", "kind": "DaemonSet"}]),
        ("source_fqdn", ["*.example.org"], ["*.example.com"]),
        ("source_fqdn", ["CART.example.org."], ["cart"]),
        ("source_cluster_name", ["prod-*"], ["test-*"]),
        ("source_label", ["reserved:world"], ["reserved:host"]),
        ("source_label", ["tier in (front, back), !old"], ["tier notin (front)"]),
        ("source_label", ["k8s:tier=front"], ["any:tier=back"]),
        ("source_label", ["tier!=back"], ["tier!=front"]),
        ("destination_label", ["app=web"], ["k8s:app=web"]),
        ("node_labels", ["zone=a"], ["zone=b"]),
        ("traffic_direction", ["INGRESS", "EGRESS"], ["INGRESS"]),
        ("verdict", ["DROPPED"], ["FORWARDED", "AUDIT"]),
        ("verdict", [2], [1]),
        ("drop_reason_desc", ["POLICY_DENIED"], ["INVALID_SOURCE_IP"]),
        ("interface", [{"name": "eth0"}], [{"name": "eth0", "index": 3}]),
        ("interface", [{"index": 2}], [{"name": "eth1"}]),
        ("event_type", [{"type": 4}], [{"type": 1}]),
        (
            "event_type",
            [{"type": 4, "match_sub_type": True, "sub_type": 3}],
            [{"type": 4, "match_sub_type": True}],
        ),
        ("http_status_code", ["5+"], ["4+", "500"]),
        ("protocol", ["TCP"], ["udp", "icmp", "sctp"]),
        ("protocol", ["http"], ["dns", "kafka"]),
        ("source_port", ["40000"], ["443"]),
        ("destination_port", ["80", "443"], ["40000"]),
        ("reply", [False], [True]),
        ("source_identity", [2], [1]),
        ("http_method", ["get"], ["POST"]),
        ("http_header", [{"key": "a", "value": "b"}], [{"key": "a", "value": "c"}]),
        ("tcp_flags", [{"SYN": True}], [{"SYN": True, "FIN": True}]),
        ("tcp_flags", [{"RST": True}, {"SYN": True, "ACK": True}], [{"RST": True}]),
        ("node_name", ["host1.*"], ["host2.*"]),
        ("node_name", ["default/host1*"], ["other/"]),
        ("ip_version", ["IPv4"], ["IPv6", 0]),
        ("trace_id", ["t1"], ["t2"]),
    ],
)
def test_each_field(field: str, good: list[object], bad: list[object]) -> None:
    assert fits({field: good})
    assert not fits({field: bad})
    assert not fits({field: good, "uuid": ["other"]}), "all fields must fit"


@pytest.mark.parametrize(
    "field",
    ["source_ip", "source_pod", "source_fqdn", "source_port", "protocol", "node_name", "reply"],
)
def test_what_is_not_there_fits_nothing(field: str) -> None:
    values: dict[str, list[object]] = {
        "source_ip": ["::/0", "0.0.0.0/0"],
        "source_port": ["0"],
        "protocol": ["tcp", "udp"],
        "reply": [True, False],
        "source_pod": ["/"],
    }
    assert not fits({field: values.get(field, ["*"])}, EMPTY)


def test_what_has_no_version_can_be_asked_for() -> None:
    assert fits({"ip_version": [0]}, EMPTY)
    assert fits({"verdict": ["VERDICT_UNKNOWN"]}, EMPTY)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("http_status_code", "404", "http status code"),
        ("http_method", "GET", "http method"),
        ("http_header", {"key": "a", "value": "b"}, "http headers"),
    ],
)
def test_only_layer_7_has_http(field: str, value: object, named: str) -> None:
    wanted = {field: [value], "event_type": [{"type": 4}]}
    with pytest.raises(FilterError, match=f"^filtering by {named} requires the event type filter"):
        fits(wanted)
    assert not fits({**wanted, "event_type": [{"type": 4}, {"type": 129}]}, EMPTY)


def test_only_what_was_dropped_has_a_reason() -> None:
    passed = {**FLOW_OF_TCP, "verdict": "FORWARDED"}
    assert not fits({"drop_reason_desc": ["POLICY_DENIED"]}, passed)
    assert not fits({"drop_reason_desc": [0]}, EMPTY)
    assert fits({"drop_reason_desc": ["DROP_REASON_UNKNOWN"]}, {"verdict": "DROPPED"})


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ([], "invalid filter"),
        ({"source_ips": ["x"]}, "a filter has no field 'source_ips'"),
        ({"source_ip": "x"}, "source_ip: expected a list"),
        ({"source_ip": [1]}, "source_ip: expected a text"),
        ({"verdict": ["NONE"]}, "which is no flow.Verdict"),
        ({"dns_query": ["(a+)+$"]}, "filters by dns_query are not supported"),
        ({"http_path": ["x"]}, "filters by http_path are not supported"),
        ({"experimental": {"cel_expression": ["true"]}}, "filters by experimental"),
    ],
)
def test_what_is_no_filter(wanted: object, complaint: str) -> None:
    with pytest.raises(FilterError, match=complaint):
        read_filter(wanted)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("source_ip", "10.0.0.0/33", 'invalid CIDR in filter: "10.0.0.0/33"'),
        ("source_ip", "10.0.0.0/255.0.0.0", "invalid CIDR"),
        ("source_ip", "10.0.0.0/", "invalid CIDR"),
        ("source_ip", "fe80::1%eth0", "invalid IP address"),
        ("source_ip", "", "invalid IP address"),
        (
            "source_port",
            "65536",
            'source port filter: invalid port "65536": .*: value out of range',
        ),
        ("source_port", "-1", "parsing .-1.: invalid syntax"),
        ("source_port", "http", "invalid port"),
        ("protocol", "ipx", 'invalid protocol filter: unknown protocol: "ipx"'),
        ("source_pod", "", "name must not be empty"),
        ("source_fqdn", " . ", "empty pattern"),
        ("source_fqdn", "a?", "invalid rune in pattern"),
        ("node_name", "a/b/c", "too many slashes"),
        ("source_label", "a in b", "expected KEY=VALUE"),
        ("source_label", "a=(", "no value of a label"),
        ("http_status_code", "5xx", "invalid status code"),
    ],
)
def test_values_that_are_none(field: str, value: str, complaint: str) -> None:
    with pytest.raises(FilterError, match=complaint):
        compile_filters([read_filter({field: [value]})])


def test_lists_of_filters() -> None:
    tcp, udp = read_filter({"protocol": ["tcp"]}), read_filter({"protocol": ["udp"]})
    dropped = read_filter({"verdict": ["DROPPED"]})

    def passes(allow: list[object], deny: list[object]) -> bool:
        test = compile_filters(allow, deny)  # type: ignore[arg-type]
        return test is None or test(FLOW_OF_TCP)

    assert passes([], [])
    assert passes([udp, tcp], [])
    assert not passes([udp], [])
    assert passes([], [udp])
    assert not passes([], [udp, tcp])
    assert not passes([tcp], [dropped])
    assert passes([tcp], [udp])
    assert passes([read_filter({})], [])
    assert not passes([], [read_filter({})])


def test_filters_have_a_json_form() -> None:
    wanted = {"source_ip": ["10.0.0.0/8"], "reply": [False], "event_type": [{"type": 4}]}
    assert filter_fields(read_filter(wanted)) == wanted


ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.9.9.9", "2001:db8::1", "2001:db8::2"])
NETWORKS = st.sampled_from(["10.0.0.0/24", "10.0.0.1/32", "0.0.0.0/0", "2001:db8::/64", "::/0"])
PORTS = st.sampled_from([53, 80, 443])
FLOWS = st.fixed_dictionaries(
    {
        "verdict": st.sampled_from(["FORWARDED", "DROPPED"]),
        "IP": st.fixed_dictionaries({"source": ADDRESSES, "destination": ADDRESSES}),
        "l4": st.fixed_dictionaries({"source_port": PORTS, "destination_port": PORTS}).flatmap(
            lambda both: st.sampled_from([{"TCP": both}, {"UDP": both}, {"ICMPv4": {}}])
        ),
    }
)
ENDS = st.lists(ADDRESSES | NETWORKS, max_size=2)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "source_ip": ENDS,
        "destination_ip": ENDS,
        "source_port": st.lists(PORTS.map(str), max_size=2),
        "destination_port": st.lists(PORTS.map(str), max_size=2),
        "protocol": st.lists(st.sampled_from(["tcp", "udp", "icmp", "TCP"]), max_size=2),
        "verdict": st.lists(st.sampled_from(["FORWARDED", "DROPPED", "AUDIT"]), max_size=2),
    },
)


def plainly_fits(wanted: dict[str, list[str]], flow: dict[str, Any]) -> bool:
    """Say what the rules say, one after another."""
    (name, layer) = next(iter(flow["l4"].items()))
    for side in ("source", "destination"):
        networks = wanted.get(f"{side}_ip")
        address = ipaddress.ip_address(flow["IP"][side])
        if networks and not any(address in ipaddress.ip_network(one) for one in networks):
            return False
        ports = wanted.get(f"{side}_port")
        if ports and str(layer.get(f"{side}_port", "")) not in ports:
            return False
    protocols = [one.lower() for one in wanted.get("protocol", [])]
    if protocols and name.lower().replace("icmpv4", "icmp") not in protocols:
        return False
    verdicts = wanted.get("verdict")
    return not verdicts or flow["verdict"] in verdicts


@given(flow=FLOWS, allow=st.lists(FILTERS, max_size=3), deny=st.lists(FILTERS, max_size=2))
def test_filters_against_their_rules(
    flow: dict[str, Any],
    allow: list[dict[str, list[str]]],
    deny: list[dict[str, list[str]]],
) -> None:
    expected = (not allow or any(plainly_fits(one, flow) for one in allow)) and not any(
        plainly_fits(one, flow) for one in deny
    )
    test = compile_filters(map(read_filter, allow), map(read_filter, deny))
    assert (test is None or test(read_message(FLOW, flow))) is expected


def test_a_long_pattern_takes_no_time() -> None:
    flow = read_message(FLOW, {"source_names": ["a" * 4000]})
    assert not fits({"source_fqdn": ["a*" * 300 + "b"]}, flow)


def test_masks_keep_what_is_named() -> None:
    mask = FieldMask(["source.identity", "verdict", "IP", "IP.source", "l7.dns.query"])
    assert mask.apply(FLOW_OF_TCP) == {
        "source": {"identity": 2},
        "verdict": "DROPPED",
        "IP": FLOW_OF_TCP["IP"],
        "l7": {"dns": {}},
    }


@pytest.mark.parametrize("path", ["", "x", "source.x", "source.labels.x", "verdict.x", "IP..x"])
def test_masks_name_fields_that_there_are(path: str) -> None:
    with pytest.raises(ValueError, match="invalid fieldmask"):
        FieldMask([path])
