"""What a compiled policy promises, case by case; test_compile_oracle reads all of it again."""

from __future__ import annotations

import ipaddress
import json

import pytest

from trireme_collector.records import ActionType, ObserveActionType, TagStore
from trireme_datapath.policy import Match, Peer, compile_policy, drop_reason, parse_policy


def decide(rules_text: str, *, default: str = "reject", extra: str = "") -> Match:
    """Judge TCP from 10.1.2.3, an unknown peer, to port 80."""
    text = f'version = 1\ndefault = "{default}"\n{extra}\n[[unit]]\nid = "u"\n'
    text += 'select = { interface = "eth0" }\n'
    for line in rules_text.strip().splitlines():
        text += "[[unit.ingress]]\n" + line.strip().replace("; ", "\n") + "\n"
    table = compile_policy(parse_policy(text)).units[0].ingress
    return table.candidates(ipaddress.ip_address("10.1.2.3").packed).decide(6, 80)


OBSERVED = [
    # rules, then action, policy id, observed action and id, drop reason inside and outside
    (
        (
            'id="O"; action="reject"; observe="continue"; from="any"\n'
            'id="A"; action="accept"; from="any"'
        ),
        ("accept", "A", "reject", "O", "", "policy"),
    ),
    (
        'id="O"; action="accept"; observe="continue"; from="any"',
        ("reject", "default", "accept", "O", "policy", "policy"),
    ),
    (
        'id="O"; action="accept"; observe="apply"; from="any"',
        ("accept", "O", "accept", "O", "", ""),
    ),
    (
        'id="O"; action="reject"; observe="apply"; from="any"',
        ("reject", "O", "reject", "O", "policy", "policy"),
    ),
    (
        'id="O"; action="reject"; observe="apply"; from="any"\nid="R"; action="reject"; from="any"',
        ("reject", "R", "none", "", "policy", "policy"),
    ),
    # An observed accept does not even show beside a reject that decides: its table comes later.
    (
        (
            'id="O"; action="accept"; observe="continue"; from="any"\n'
            'id="R"; action="reject"; from="10.0.0.0/8"'
        ),
        ("reject", "R", "none", "", "policy", "policy"),
    ),
    # An observed reject shows beside a reject that decides, however long the other's prefix.
    (
        (
            'id="O"; action="reject"; observe="continue"; from="any"\n'
            'id="R"; action="reject"; from="10.1.2.3"'
        ),
        ("reject", "R", "reject", "O", "policy", "policy"),
    ),
    # The first observation is kept, also across tables.
    (
        (
            'id="P"; action="accept"; observe="continue"; from="any"\n'
            'id="O"; action="reject"; observe="continue"; from="any"\n'
            'id="A"; action="accept"; from="any"'
        ),
        ("accept", "A", "reject", "O", "", "policy"),
    ),
    (
        'id="Q"; action="accept"; observe="apply"; from="any"\nid="A"; action="accept"; from="any"',
        ("accept", "A", "none", "", "", ""),
    ),
]


@pytest.mark.parametrize(("text", "expected"), OBSERVED)
def test_observation_gives_the_documented_records(
    text: str, expected: tuple[str, str, str, str, str, str]
) -> None:
    match = decide(text)
    observed = match.report.observe_action is not ObserveActionType.NONE
    assert (
        match.packet.action.value,
        match.packet.policy_id,
        match.report.action.value if observed else "none",
        match.report.policy_id if observed else "",
        drop_reason(match, external=False).value,
        drop_reason(match, external=True).value,
    ) == expected


PRECEDENCE = [
    ('id="A"; action="accept"; from="10.1.2.3"\nid="R"; action="reject"; from="10.0.0.0/8"', "R"),
    (
        'id="S"; action="accept"; from="10.0.0.0/8"\nid="L"; action="accept"; from="10.1.0.0/16"',
        "L",
    ),
    ('id="1"; action="accept"; from="any"\nid="2"; action="accept"; from="any"', "1"),
    (
        (
            'id="L"; action="accept"; from="10.1.0.0/16"; protocol="tcp"; ports=81\n'
            'id="S"; action="accept"; from="10.0.0.0/8"; protocol="tcp"; ports="79-80"'
        ),
        "S",
    ),
    ('id="E"; action="accept"; from="any"; protocol="tcp"; ports="80-90"', "E"),
    ('id="E"; action="accept"; from="any"; protocol="tcp"; ports="70-80"', "E"),
    ('id="E"; action="accept"; from="any"; protocol="tcp"; ports="81-90"', "default"),
    ('id="E"; action="accept"; from="any"; protocol=["udp", 6]', "E"),
    ('id="E"; action="accept"; from="any"; protocol="udp"', "default"),
    ('id="T"; action="accept"; peer_tags=[{key="a", operator="!*"}]', "default"),
]


@pytest.mark.parametrize(("text", "winner"), PRECEDENCE)
def test_precedence(text: str, winner: str) -> None:
    assert decide(text).packet.policy_id == winner


CLAUSES = [
    # tags, clauses, whether they hold: the defects of upstream that are not repeated
    ("env=a env=b", [("env", "=", "a b"), ("app", "=", "web")], False),
    ("env=prod", [("env", "*", ""), ("app", "=", "web")], False),
    ("env=prod", [("env", "*", ""), ("app", "=", "db")], False),
    ("env=a env=b", [("env", "=!", "a")], False),
    ("env=a env=a", [("env", "=!", "a b")], False),
    ("env=c", [("env", "=!", "a b")], True),
    ("app=web", [("env", "=!", "a")], False),
    ("app=web", [("app", "=", "web"), ("env", "=!", "a")], False),
    ("c=1", [("a", "!*", ""), ("b", "!*", "")], True),
    ("c=1 b=1", [("a", "!*", ""), ("b", "!*", "")], False),
    ("app=webserver", [("app", "=", "web*")], True),
    ("app=we", [("app", "=", "web*")], False),
    ("app=web=1", [("app", "=", "web=1")], True),
    ("app=", [("app", "*", "")], False),
    ("", [("a", "!*", "")], True),
]


@pytest.mark.parametrize(("tags", "wanted", "holds"), CLAUSES)
def test_clauses(tags: str, wanted: list[tuple[str, str, str]], *, holds: bool) -> None:
    tables = []
    for key, operator, values in wanted:
        listed = f", values = {json.dumps(values.split())}" if values else ""
        tables.append(f'{{ key = "{key}", operator = "{operator}"{listed} }}')
    text = f"""
        version = 1
        [[unit]]
        id = "u"
        select = {{ interface = "eth0" }}
        [[unit.ingress]]
        id = "T"
        action = "accept"
        peer_tags = [{", ".join(tables)}]
    """
    table = compile_policy(parse_policy(text)).units[0].ingress
    peer = Peer(id="p", tags=TagStore(tags.split()))
    match = table.candidates(bytes(4), peer).decide(6, 80)
    assert match.packet.policy_id == ("T" if holds else "default")


def test_two_single_clause_rules_about_absent_keys_both_work() -> None:
    text = """
        version = 1
        [[unit]]
        id = "u"
        select = { interface = "eth0" }
        [[unit.ingress]]
        id = "no-a"
        action = "accept"
        peer_tags = [{ key = "a", operator = "!*" }]
        [[unit.ingress]]
        id = "no-b"
        action = "accept"
        peer_tags = [{ key = "b", operator = "!*" }]
    """
    table = compile_policy(parse_policy(text)).units[0].ingress

    def winner(*tags: str) -> str:
        peer = Peer(id="p", tags=TagStore(tags))
        return table.candidates(bytes(16), peer).decide(17, 53).packet.policy_id

    assert winner("b=1") == "no-a"
    assert winner("a=1") == "no-b"
    assert winner("a=1", "b=1") == "default"


def test_tags_of_a_rule_count_before_addresses_and_with_them() -> None:
    text = """
        version = 1
        [networks]
        near = "10.0.0.0/8"
        [[unit]]
        id = "u"
        select = { interface = "eth0" }
        [[unit.ingress]]
        id = "address"
        action = "accept"
        from = "10.1.2.3"
        [[unit.ingress]]
        id = "both"
        action = "accept"
        from = "@near"
        peer_tags = [{ key = "app", values = ["web"] }]
    """
    table = compile_policy(parse_policy(text)).units[0].ingress
    web = Peer(id="p", tags=TagStore(["app=web"]))

    def policy(address: str, peer: Peer | None) -> tuple[str, str]:
        packed = ipaddress.ip_address(address).packed
        packet = table.candidates(packed, peer).decide(6, 80).packet
        return packet.policy_id, packet.service_id

    assert policy("10.1.2.3", web) == ("both", "near")
    assert policy("10.1.2.3", None) == ("address", "")
    assert policy("11.1.2.3", web) == ("default", "default")


@pytest.mark.parametrize(
    ("listed", "service"),
    [
        ('["10.0.0.0/8", "@b", "@a"]', "b"),
        ('["10.0.0.0/8", "@a"]', "a"),
        ('["10.0.0.0/8"]', ""),
        ('["10.0.0.0/9", "@a"]', ""),
    ],
)
def test_a_prefix_named_twice_counts_as_that_of_the_first_network(
    listed: str, service: str
) -> None:
    networks = 'networks = { a = "10.0.0.0/8", b = ["10.0.0.0/8", "11.0.0.0/8"] }'
    match = decide(f'id="A"; action="accept"; from={listed}', extra=networks)
    assert (match.packet.policy_id, match.packet.service_id) == ("A", service)


def test_observe_only_reports_the_reject_and_lets_the_packets_through() -> None:
    match = decide('id="R"; action="reject"; from="any"', extra="observe_only = true")
    assert match.packet.accepted
    assert match.packet.policy_id == "observe-only"
    assert match.report.policy_id == "R"
    assert match.report.action is ActionType.REJECT
    assert match.report.observe_action is ObserveActionType.CONTINUE
    default = decide('id="R"; action="reject"; from="1.2.3.4"', extra="observe_only = true")
    assert (default.packet.accepted, default.report.policy_id) == (True, "default")
    accept = decide('id="A"; action="accept"; from="any"', extra="observe_only = true")
    assert accept.packet.policy_id == accept.report.policy_id == "A"


SELECTORS = """
version = 1
unmatched = "accept"
midstream = "judge"
[[unit]]
id = "wide"
context = "ctx"
namespace = "/ns"
tags = ["a=1"]
select = { address = ["10.0.0.0/8", "2001:db8::/32"], mark = "0x10/0xf0", cgroup = "/a.slice/" }
[[unit]]
id = "host"
select = { address = ["10.0.0.1"], interface = ["eth0", "eth1"], mark = 7, cgroup = "b.slice" }
[[unit]]
id = "narrow"
select = { address = "10.0.0.0/24", mark = "0x1900000/0xfffc0000" }
[[peer]]
id = "far"
namespace = "/far"
address = ["192.0.2.0/24", "10.0.0.7"]
tags = ["b=2"]
"""


def test_selectors_find_units_and_peers() -> None:
    policy = compile_policy(parse_policy(SELECTORS))
    assert (policy.unmatched_accepted, policy.judge_midstream) == (True, True)

    def unit(address: str) -> str | None:
        found = policy.unit_for(ipaddress.ip_address(address).packed)
        return found.id if found else None

    def peer(address: str) -> str | None:
        found = policy.peer_for(ipaddress.ip_address(address).packed)
        return found.id if found else None

    assert [unit(a) for a in ("10.0.0.1", "10.0.0.2", "10.1.0.0", "11.0.0.0")] == [
        "host",
        "narrow",
        "wide",
        None,
    ]
    assert (unit("2001:db8::1"), unit("2001:db9::1")) == ("wide", None)
    assert [peer(a) for a in ("10.0.0.1", "10.0.0.7", "192.0.2.9", "192.0.3.1")] == [
        "host",
        "far",
        "far",
        None,
    ]
    eth0 = policy.unit_for_interface("eth0")
    assert eth0 is not None
    assert eth0.id == "host"
    assert policy.unit_for_interface("eth9") is None
    # The first mark of upstream's range is taken by a unit, so it is passed over.
    assert policy.cgroup_marks == {"a.slice": 101 << 18, "b.slice": 102 << 18}
    assert policy.mark_units[0][:2] == (7, 0xFFFFFFFF)
    assert policy.mark_units[-1][:2] == (0x10, 0xF0)
    marked = policy.claim_of_mark(102 << 18 | 0x15)
    assert marked is not None
    assert marked[2].id == "host"
    wide = policy.unit("ctx")
    assert wide is not None
    assert (wide.id, wide.context_id, wide.namespace, wide.tags.slice) == (
        "wide",
        "ctx",
        "/ns",
        ("a=1",),
    )
    assert policy.peer_for(ipaddress.ip_address("10.9.9.9").packed) is wide.peer


def test_the_revision_is_that_of_the_content() -> None:
    first = compile_policy(parse_policy(SELECTORS)).revision
    assert len(first) == 16
    assert int(first, 16) >= 0
    spelt = SELECTORS.replace("mark = 7", 'mark = "0x7"').replace("\n[[", "\n# more\n[[")
    assert compile_policy(parse_policy(spelt)).revision == first
    changed = SELECTORS.replace("mark = 7", "mark = 8")
    assert compile_policy(parse_policy(changed)).revision != first


# --- size -----------------------------------------------------------------------------------


def many_ports(count: int) -> str:
    text = 'version = 1\n[[unit]]\nid = "u"\nselect = { interface = "eth0" }\n'
    for port in range(count):
        text += f'[[unit.ingress]]\nid = "r{port}"\naction = "accept"\nfrom = "any"\n'
        text += f'protocol = "tcp"\nports = {port}\n'
    return text


def test_what_is_remembered_is_bounded() -> None:
    policy = compile_policy(parse_policy(many_ports(1_100)))
    table = policy.units[0].ingress
    budget = table.budget
    budget.max_entries = 100
    candidates = table.candidates(bytes(4))
    for port in range(3_000):
        match = candidates.decide(6, port)
        assert match.packet.policy_id == (f"r{port}" if port < 1_100 else "default")
        assert budget.entries <= 100
    assert budget.segments == 0  # too many rules to be settled at once
    peers = [Peer(id=str(n), tags=TagStore(["a=1"])) for n in range(5)]
    assert len({id(table.candidates(bytes(4), peer)) for peer in peers}) == 1


def test_settled_answers_are_those_that_were_given_before() -> None:
    table = compile_policy(parse_policy(many_ports(10))).units[0].ingress
    candidates = table.candidates(bytes(4))
    before = [candidates.decide(6, port) for port in range(16)]
    assert table.budget.segments == 11
    assert [candidates.decide(6, port) for port in range(16)] == before
    assert candidates.decide(6, 65_535).packet.policy_id == "default"
    assert candidates.decide(17, 5).packet.policy_id == "default"


def test_nothing_is_settled_beyond_the_budget() -> None:
    table = compile_policy(parse_policy(many_ports(10))).units[0].ingress
    table.budget.max_segments = 5
    candidates = table.candidates(bytes(4))
    for port in range(100):
        assert candidates.decide(6, port).packet.accepted == (port < 10)
    assert table.budget.segments == 0


def test_addresses_with_the_same_rules_share_them() -> None:
    text = """
        version = 1
        [networks]
        big = ["10.0.0.0/24", "10.0.2.0/24", "10.0.4.0/24"]
        [[unit]]
        id = "u"
        select = { interface = "eth0" }
        [[unit.ingress]]
        id = "r"
        action = "accept"
        from = "@big"
    """
    table = compile_policy(parse_policy(text)).units[0].ingress
    inside = {id(table.candidates(bytes([10, 0, third, 9]))) for third in (0, 2, 4)}
    outside = {id(table.candidates(bytes([10, 0, third, 9]))) for third in (1, 3, 5)}
    assert (len(inside), len(outside), len(inside | outside)) == (1, 1, 2)


def test_many_prefixes_are_found_as_few_are() -> None:
    # Enough intervals for the directory by the first two bytes.
    cidrs = [f"10.{n // 256}.{n % 256}.64/26" for n in range(3_000)] + ["10.0.0.0/9", "9.0.0.0/8"]
    text = f'version = 1\n[[unit]]\nid = "u"\nselect = {{ address = {json.dumps(cidrs)} }}\n'
    text += '[[unit]]\nid = "v"\nselect = { address = ["10.3.0.0/16", "200.0.0.0/5"] }\n'
    policy = compile_policy(parse_policy(text))
    expected = {
        "10.3.0.64": "u",
        "10.3.0.127": "u",
        "10.3.0.128": "v",
        "10.3.255.1": "v",
        "10.11.183.63": "u",
        "10.127.255.255": "u",
        "10.128.0.0": None,
        "9.255.255.255": "u",
        "8.255.255.255": None,
        "0.0.0.0": None,
        "255.255.255.255": None,
        "207.255.255.255": "v",
        "208.0.0.0": None,
    }
    for address, name in expected.items():
        found = policy.unit_for(ipaddress.ip_address(address).packed)
        assert (found.id if found else None) == name, address
