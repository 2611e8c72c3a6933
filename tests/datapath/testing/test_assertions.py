"""Assertions about policies: who is meant, what is decided, and what a failure says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.datapath.testing.policies import CLUSTER, SHOP
from trireme_collector.errors import ConfigError
from trireme_collector.records import FlowDropReason
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import FlowError, assert_allows, assert_denies, explain_flow

if TYPE_CHECKING:
    from pathlib import Path

ACCEPTED = [
    ("192.0.2.1 -> 10.0.0.2:443/tcp", "http"),
    ("192.0.2.1:50000 -> web:80/tcp", "http"),
    ("office -> web:80/tcp", "http"),
    ("@office -> ctx-web:80/tcp", "http"),
    ("2001:db8:1::9 -> web:80/tcp", "http"),
    ("[2001:db8:1::9]:1024 -> [fd00::2]:80/tcp", "http"),
    ("192.0.2.1 -> web/icmp", "ping"),
    ("192.0.2.1 -> web/icmp:echo-request", "ping"),
    ("192.0.2.1 -> web/icmp 8", "ping"),
    ("2001:db8:1::9 -> web/icmp", "ping"),
    ("2001:db8:1::9 -> web/icmpv6:echo-request", "ping"),
    ("192.0.2.1 -> web/47", "gre"),
    ("web -> 10.0.0.53:53/udp", "dns"),
    ("web -> api.example.com:443/tcp", "api"),
    ("web -> API.Example.COM.:443/tcp", "api"),
    ("web -> api.example.com@203.0.113.5:443/tcp", "api"),
    ("web->api.example.com@203.0.113.5:443/tcp", "api"),
    ("guest -> 198.18.0.1:443/tcp", "guest-web"),
    ("guest -> shop.example.net:443/tcp", "guest-web"),
]
REJECTED = [
    "192.0.2.1 -> web:22/tcp",
    "198.18.0.1 -> web:80/tcp",
    "192.0.2.1 -> web:80/udp",
    "192.0.2.1 -> web/icmp:timestamp-request",
    "192.0.2.1 -> web/icmp:3/4",
    "2001:db8:1::9 -> web/icmpv6:1",
    "db -> web:80/tcp",
    "web -> example.com:443/tcp",
    "web -> api.example.com:80/tcp",
    "web -> db:5432/tcp",
    "guest -> 198.18.0.1:80/tcp",
    "198.18.0.1 -> guest:443/tcp",
]


@pytest.mark.parametrize(("flow", "rule"), ACCEPTED)
def test_what_is_accepted(flow: str, rule: str) -> None:
    assert_allows(SHOP, flow, by=rule)
    with pytest.raises(AssertionError, match="expected reject, got accept"):
        assert_denies(SHOP, flow)


@pytest.mark.parametrize("flow", REJECTED)
def test_what_is_rejected(flow: str) -> None:
    assert_denies(SHOP, flow, reason="policy", by="default")
    assert_denies(SHOP, flow, reason=FlowDropReason.POLICY_DROP)
    with pytest.raises(AssertionError, match="expected accept, got reject"):
        assert_allows(SHOP, flow)


def test_flows_that_belong_to_no_unit() -> None:
    assert_denies(SHOP, "198.18.0.1 -> 198.18.0.2:80/tcp", reason="context")
    with pytest.raises(AssertionError, match="expected the drop reason 'policy', got 'context'"):
        assert_denies(SHOP, "198.18.0.1 -> 198.18.0.2:80/tcp", reason="policy")
    assert_allows("unmatched = 'accept'\n" + SHOP, "198.18.0.1 -> 198.18.0.2:80/tcp")


def test_a_policy_in_any_form(tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text(SHOP, "utf-8")
    policy = parse_policy(SHOP)
    for form in (SHOP, file, str(file), policy, compile_policy(policy)):
        assert_allows(form, "office -> web:80/tcp")
    with pytest.raises(ConfigError, match="cannot be read"):
        assert_allows(tmp_path / "nothing.toml", "office -> web:80/tcp")
    with pytest.raises(ConfigError, match="unknown key"):
        assert_allows("version = 1\ncolour = 1\n", "office -> web:80/tcp")


def test_objects_of_kubernetes(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER, "utf-8")
    for form in (CLUSTER, file):
        assert_allows(form, "198.18.0.1 -> shop/web:8080/tcp", by="shop/public[0]")
        assert_denies(form, "203.0.113.9 -> shop/web:8080/tcp", "198.18.0.1 -> shop/web:80/tcp")
        assert_allows(form, "shop/web -> 198.18.0.1:80/tcp", by="not-isolated")


def test_what_one_question_learns_the_next_does_not_know() -> None:
    compiled = compile_policy(parse_policy(SHOP))
    assert_allows(compiled, "web -> api.example.com@203.0.113.5:443/tcp")
    assert_denies(compiled, "web -> 203.0.113.5:443/tcp")
    assert_denies(compiled, "web -> other.example.net@203.0.113.5:443/tcp")


def test_the_unit_can_be_named_beside_the_flow() -> None:
    assert_allows(
        SHOP, "10.9.9.9 -> 198.18.0.1:443/tcp", unit="guest", direction="egress", by="guest-web"
    )
    assert_denies(SHOP, "198.18.0.1 -> 10.9.9.9:443/tcp", unit="guest", direction="ingress")
    with pytest.raises(ValueError, match="no unit 'gast'"):
        assert_allows(SHOP, "10.9.9.9 -> 198.18.0.1:443/tcp", unit="gast")


def test_a_failure_shows_every_flow_and_every_rule() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_allows(SHOP, "office -> web:80/tcp", "office -> web:22/tcp", "db -> web:80/tcp")
    lines = str(caught.value).splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert [head.partition(": ")[0] for head in heads] == [
        "office -> web:22/tcp",
        "db -> web:80/tcp",
    ]
    assert "     x http: accept; its ports are 80, 443, not 22" in lines
    with pytest.raises(AssertionError, match="expected rule 'ping' to decide, got 'http'"):
        assert_allows(SHOP, "office -> web:80/tcp", by="ping")
    with pytest.raises(TypeError, match="no flow is given"):
        assert_allows(SHOP)


def test_a_flow_can_be_explained() -> None:
    found = explain_flow(SHOP, "office -> web:80/tcp")
    assert (found.source, found.destination, found.port) == ("192.0.2.0", "10.0.0.2", 80)
    assert found.action == "accept"
    assert found.judgements[0].policy_id == "http"


@pytest.mark.parametrize(
    ("flow", "expected", "found"),
    [
        ("", "CLIENT -> SERVER:PORT/PROTOCOL", "''"),
        ("web", "CLIENT -> SERVER:PORT/PROTOCOL", "'web'"),
        ("1.1.1.1 -> web:80", "CLIENT -> SERVER:PORT/PROTOCOL", "'1.1.1.1 -> web:80'"),
        (" -> web:80/tcp", "CLIENT -> SERVER", "' -> web:80/tcp'"),
        ("1.1.1.1 -> /tcp", "CLIENT -> SERVER", "'1.1.1.1 -> /tcp'"),
        ("1.1.1.1 -> web/tcp", "a port after the server", "'1.1.1.1 -> web/tcp'"),
        ("::1 -> fd00::2/tcp", "a port after the server ([ADDRESS]:PORT for IPv6)", "'::1 -> fd00"),
        ("1.1.1.1 -> web:70000/tcp", "a port from 0 to 65535 after web", "'70000'"),
        ("1.1.1.1 -> web:x/tcp", "a port from 0 to 65535 after web", "'x'"),
        ("1.1.1.1 -> web:80/tpc", '"icmp", "tcp"', "'tpc' (did you mean \"tcp\"?)"),
        ("1.1.1.1 -> web:80/any", "the one protocol of the flow", "'any'"),
        ("1.1.1.1 -> web:80/icmp", "no port with icmp", "'1.1.1.1 -> web:80/icmp'"),
        ("1.1.1.1 -> web/icmp:ping", "a type of icmp", "'1.1.1.1 -> web/icmp:ping'"),
        ("1.1.1.1 -> wbe:80/tcp", "an address, or a unit, a peer", "'wbe' (did you mean web?)"),
        ("a.b.c -> web:80/tcp", "an address, or a unit, a peer", "'a.b.c'"),
        ("10.0.0.0/8 -> web:80/tcp", "an address, or a unit", "'10.0.0.0/8'"),
        ("1.1.1.1 -> ::1/icmp", "both ends of IPv4, or both of IPv6", "'1.1.1.1 -> ::1/icmp'"),
        ("1.1.1 -> web:80/tcp", "an IPv4 or IPv6 address", "1.1.1"),
        ("[::1 -> web:80/tcp", "[ADDRESS]:PORT", "'[::1'"),
        ("web -> *.example.com:443/tcp", "one name", "'*.example.com'"),
        ("web -> a..b@1.1.1.1:443/tcp", "a DNS name", "'a..b'"),
        ("web -> a.b@1.1.1.0/24:443/tcp", "one address", "1.1.1.0/24"),
    ],
)
def test_a_flow_that_cannot_be_read_says_why(flow: str, expected: str, found: str) -> None:
    with pytest.raises(FlowError) as caught:
        assert_allows(SHOP, flow)
    message = str(caught.value)
    assert message.startswith("expected ")
    assert expected in message
    assert f"found {found}" in message or found in message
