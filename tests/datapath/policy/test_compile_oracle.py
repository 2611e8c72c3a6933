"""The compiled policy decides as a plain, linear reading of the rules would."""

from __future__ import annotations

import ipaddress
import json
from typing import Any, TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.records import ActionType, TagStore
from trireme_datapath.policy import Match, Peer, compile_policy, parse_policy

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
Plain: TypeAlias = Any  # what a TOML parser returns: nested, and of no certain type
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Flow = tuple[str, int, int, int, int]  # peer address, protocol, port, ICMP type, ICMP code


def many(value: Plain) -> list[Any]:
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


def reached(file: dict[str, Any], rule: dict[str, Any], address: Address) -> list[tuple[int, str]]:
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
    def value(found: Plain) -> str:
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
