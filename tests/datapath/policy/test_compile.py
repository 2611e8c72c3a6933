"""The compiled policy decides as a plain, linear reading of the rules would."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.records import ActionType, ObserveActionType, TagStore
from trireme_datapath.policy import Match, Peer, compile_policy, drop_reason, parse_policy

# --- an independent evaluator ---------------------------------------------------------------
#
# It reads the tables of the file as plain data and goes through all rules for every question.

PROTOCOLS = {"tcp": 6, "udp": 17, "udplite": 136, "sctp": 132, "icmp": 1, "icmpv6": 58}
ICMP_NAMES = {
    (1, "echo-request"): 8,
    (58, "echo-request"): 128,
    (1, "destination-unreachable"): 3,
    (58, "destination-unreachable"): 1,
}
TABLES: list[tuple[set[str], set[str]]] = [
    ({"continue"}, {"reject"}),
    ({"none"}, {"reject"}),
    ({"continue"}, {"accept"}),
    ({"none"}, {"accept"}),
    ({"apply"}, {"accept", "reject"}),
]
Flow = tuple[str, int, int, int, int]  # peer address, protocol, port, ICMP type, ICMP code


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def tags_hold(rule: dict[str, Any], tags: list[str] | None) -> bool:
    if tags is None:
        return False
    pairs = [tuple(tag.split("=", 1)) for tag in tags]
    for clause in rule["peer_tags"]:
        values = [value for key, value in pairs if key == clause["key"]]

        def hit(value: str, clause: dict[str, Any] = clause) -> bool:
            for wanted in clause["values"]:
                if value == wanted or (wanted[-1] == "*" and value.startswith(wanted[:-1])):
                    return True
            return False

        holds = {
            "=": lambda v=values: any(hit(value) for value in v),
            "=!": lambda v=values: bool(v) and all(not hit(value) for value in v),
            "*": lambda v=values: bool(v),
            "!*": lambda v=values: not v,
        }[clause.get("operator", "=")]()
        if not holds:
            return False
    return True


def traffic_fits(rule: dict[str, Any], flow: Flow) -> bool:
    _, protocol, port, icmp_type, icmp_code = flow
    names = many(rule.get("protocol", "any"))
    if "any" in names:
        return True
    if protocol not in [PROTOCOLS.get(name, name) for name in names]:
        return False
    if "ports" in rule:
        for wanted in many(rule["ports"]):
            low, _, high = str(wanted).partition("-")
            if int(low) <= port <= int(high or low):
                return True
        return False
    if "icmp" in rule:
        for wanted in many(rule["icmp"]):
            kind, _, code = str(wanted).partition("/")
            number = ICMP_NAMES.get((protocol, kind)) if not kind.isdigit() else int(kind)
            if number == icmp_type and (not code or int(code) == icmp_code):
                return True
        return False
    return True


def reached(file: dict[str, Any], rule: dict[str, Any], address: Any) -> list[tuple[int, str]]:
    """Give (prefix length, network name) for each way in which a rule reaches an address."""
    listed = many(rule.get("from", rule.get("to", [])))
    named = [text for text in listed if text.startswith("@")]
    ways = []
    for text in [*named, *(t for t in listed if t not in named)]:
        if text == "any":
            cidrs = ["0.0.0.0/0", "::/0"]
        elif text.startswith("@"):
            cidrs = many(file["networks"][text[1:]])
        else:
            cidrs = [text]
        for cidr in cidrs:
            network = ipaddress.ip_network(cidr)
            if network.version == address.version and address in network:
                ways.append((network.prefixlen, text[1:] if text.startswith("@") else ""))
    return ways


def first_of_table(
    file: dict[str, Any],
    rules: list[dict[str, Any]],
    table: tuple[set[str], set[str]],
    flow: Flow,
    tags: list[str] | None,
) -> tuple[dict[str, Any], str] | None:
    observe, action = table
    address = ipaddress.ip_address(flow[0])
    mine = [
        rule
        for rule in rules
        if rule.get("observe", "none") in observe
        and rule["action"] in action
        and traffic_fits(rule, flow)
    ]
    for rule in mine:
        if "peer_tags" in rule and tags_hold(rule, tags):
            if "from" not in rule and "to" not in rule:
                return rule, rule.get("service", "")
            ways = reached(file, rule, address)
            if ways:
                return rule, rule.get("service", ways[0][1])
    for length in range(128, -1, -1):
        for rule in mine:
            if "peer_tags" in rule:
                continue
            for found, network in reached(file, rule, address):
                if found == length:
                    return rule, rule.get("service", network)
    return None


Answer = tuple[str, str, str, str]  # action, policy id, service id, observation


def answer(found: tuple[dict[str, Any], str] | None, default: str) -> Answer:
    if found is None:
        return default, "default", "default", "none"
    rule, service = found
    return rule["action"], rule["id"], service, rule.get("observe", "none")


def judge(
    file: dict[str, Any], rules: list[dict[str, Any]], flow: Flow, tags: list[str] | None
) -> tuple[Answer, Answer]:
    def search(number: int) -> tuple[dict[str, Any], str] | None:
        return first_of_table(file, rules, TABLES[number], flow, tags)

    default = file.get("default", "reject")
    report = search(0)
    if reject := search(1):
        return answer(report or reject, default), answer(reject, default)
    report = report or search(2)
    packet = search(3) or search(4)
    return answer(report or packet, default), answer(packet, default)


# --- random policies ------------------------------------------------------------------------

V4 = [
    "10.0.0.0/29",
    "10.0.0.0/30",
    "10.0.0.4/30",
    "10.0.0.2/31",
    "10.0.0.1",
    "10.0.0.6",
    "0.0.0.0/0",
]
V6 = ["2001:db8::/125", "2001:db8::4/126", "2001:db8::1", "2001:db8::6", "::/0", "::/1"]
NAMES = ["red", "blue", "green"]
VALUES = ["x", "y", "xy", "x*", "*"]
ports = st.one_of(
    st.integers(0, 6),
    st.sampled_from([65535, "0-65535", "0-0", "7"]),
    st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda p: f"{min(p)}-{max(p)}"),
)
icmp_types = {
    1: st.sampled_from([0, 3, 8, "8/0", "3/1", "3/255", "255/255", "echo-request"]),
    58: st.sampled_from([1, 128, "128/0", "1/4", "destination-unreachable", "echo-request"]),
}


@st.composite
def clauses(draw: st.DrawFn) -> dict[str, Any]:
    operator = draw(st.sampled_from(["=", "=!", "*", "!*"]))
    clause: dict[str, Any] = {"key": draw(st.sampled_from("ab")), "operator": operator}
    if operator in {"=", "=!"}:
        clause["values"] = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=2))
    return clause


@st.composite
def rules(draw: st.DrawFn, key: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"action": draw(st.sampled_from(["accept", "reject"]))}
    how = draw(st.sampled_from(["address", "address", "address", "tags", "both"]))
    family = draw(st.sampled_from(["tcp", "many", "any", "icmp", "icmpv6", "both", "number"]))
    if family == "tcp":
        rule["protocol"] = draw(st.sampled_from(["tcp", "udp"]))
    elif family == "many":
        rule["protocol"] = ["tcp", "sctp", 17]
    elif family == "number":
        rule["protocol"] = draw(st.sampled_from([47, 6, 1, 0, 255]))
    elif family == "both":
        rule["protocol"] = ["icmp", "icmpv6"]
        if draw(st.booleans()):
            rule["icmp"] = ["echo-request", "destination-unreachable"]
    elif family != "any":
        rule["protocol"] = family
        if draw(st.booleans()):
            kinds = icmp_types[PROTOCOLS[family]]
            rule["icmp"] = draw(st.lists(kinds, min_size=1, max_size=3))
    if family in {"tcp", "many"} and draw(st.booleans()):
        rule["ports"] = draw(st.one_of(ports, st.lists(ports, min_size=1, max_size=3)))
    if how != "tags":
        pool = [*V4, *V6, *(f"@{name}" for name in NAMES)]
        if family == "icmp" or rule.get("protocol") == 1:
            pool = [p for p in pool if p not in V6]
        elif family == "icmpv6":
            pool = [p for p in pool if p not in V4]
        listed = st.lists(st.sampled_from(pool), min_size=1, max_size=3)
        rule[key] = draw(st.one_of(listed, st.just("any")))
    if how != "address":
        rule["peer_tags"] = draw(st.lists(clauses(), min_size=1, max_size=2))
    observe = draw(st.sampled_from(["", "", "none", "continue", "apply"]))
    if observe:
        rule["observe"] = observe
    if draw(st.integers(0, 3)) == 0:
        rule["service"] = "svc"
    return rule


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    file: dict[str, Any] = {"version": 1, "networks": {}}
    if draw(st.booleans()):
        file["default"] = draw(st.sampled_from(["accept", "reject"]))
    for name in NAMES:
        file["networks"][name] = draw(st.lists(st.sampled_from([*V4, *V6]), min_size=1, max_size=3))
    unit: dict[str, Any] = {"id": "u", "select": {"interface": "eth0"}}
    for direction, key in (("ingress", "from"), ("egress", "to")):
        unit[direction] = draw(st.lists(rules(key), max_size=7))
        for number, rule in enumerate(unit[direction]):
            rule["id"] = f"r{number}"
    file["unit"] = [unit]
    return file


peers = st.one_of(
    st.none(),
    st.lists(st.sampled_from(["a=x", "a=y", "a=xy", "b=x", "b=y", "c=x", "a=", "b"]), max_size=3),
)
addresses = st.sampled_from(
    [f"10.0.0.{n}" for n in range(9)] + [f"2001:db8::{n:x}" for n in range(9)] + ["f000::"]
)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    protocol = draw(st.sampled_from([6, 17, 132, 136, 1, 58, 47, 0, 255]))
    port = kind = code = 0
    if protocol in {1, 58}:
        kind = draw(st.sampled_from([0, 1, 3, 8, 128, 255]))
        code = draw(st.sampled_from([0, 1, 4, 255]))
    elif protocol in {6, 17, 132, 136}:
        port = draw(st.sampled_from([*range(9), 65534, 65535]))
    return draw(addresses), protocol, port, kind, code


def to_toml(file: dict[str, Any]) -> str:
    def value(found: Any) -> str:
        if isinstance(found, dict):
            return "{" + ", ".join(f"{k} = {value(v)}" for k, v in found.items()) + "}"
        if isinstance(found, list):
            return "[" + ", ".join(map(value, found)) + "]"
        return json.dumps(found)

    return "".join(f"{key} = {value(found)}\n" for key, found in file.items())


def answer_of(match: Match) -> tuple[Answer, Answer]:
    report, packet = match.report, match.packet
    return (
        (report.action.value, report.policy_id, report.service_id, report.observe_action.value),
        (packet.action.value, packet.policy_id, packet.service_id, packet.observe_action.value),
    )


@given(files(), st.lists(st.tuples(flows(), peers), min_size=1, max_size=30))
def test_decides_as_a_linear_reading_does(
    file: dict[str, Any], questions: list[tuple[Flow, list[str] | None]]
) -> None:
    unit = compile_policy(parse_policy(to_toml(file))).units[0]
    for flow, tags in questions:
        peer = None if tags is None else Peer(id="p", tags=TagStore(tags))
        # The evaluator ignores what clauses ignore: tags that are no key=value.
        sound = None if tags is None else [t for t in tags if t.partition("=")[2]]
        packed = ipaddress.ip_address(flow[0]).packed
        for table, key in ((unit.ingress, "ingress"), (unit.egress, "egress")):
            match = table.candidates(packed, peer).decide(*flow[1:])
            expected = judge(file, file["unit"][0][key], flow, sound)
            assert answer_of(match) == expected, (key, flow, tags)
            assert match.packet.accepted == (match.packet.action is ActionType.ACCEPT)
            assert table.candidates(packed, peer).decide(*flow[1:]) is match


# --- what the reference documents promise, by hand ------------------------------------------


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
        'id="O"; action="reject"; observe="continue"; from="any"\nid="A"; action="accept"; from="any"',
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
        'id="O"; action="accept"; observe="continue"; from="any"\n'
        'id="R"; action="reject"; from="10.0.0.0/8"',
        ("reject", "R", "none", "", "policy", "policy"),
    ),
    # An observed reject shows beside a reject that decides, however long the other's prefix.
    (
        'id="O"; action="reject"; observe="continue"; from="any"\n'
        'id="R"; action="reject"; from="10.1.2.3"',
        ("reject", "R", "reject", "O", "policy", "policy"),
    ),
    # The first observation is kept, also across tables.
    (
        'id="P"; action="accept"; observe="continue"; from="any"\n'
        'id="O"; action="reject"; observe="continue"; from="any"\n'
        'id="A"; action="accept"; from="any"',
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
        'id="L"; action="accept"; from="10.1.0.0/16"; protocol="tcp"; ports=81\n'
        'id="S"; action="accept"; from="10.0.0.0/8"; protocol="tcp"; ports="79-80"',
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
    marked = policy.unit_for_mark(102 << 18 | 0x15)
    assert marked is not None
    assert marked.id == "host"
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
