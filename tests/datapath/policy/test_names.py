"""DNS names in rules: how they are written, what they learn, and what they decide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.errors import ConfigError
from trireme_datapath.judgement import FlowTuple
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.policy.explain import explain
from trireme_datapath.policy.names import MAX_LEARNED_ADDRESSES, UnitNames, name_matches

ADDRESS = bytes([192, 0, 2, 7])
HEAD = 'version = 1\n[[unit]]\nid = "u"\nselect = { address = "10.0.0.1" }\n'


def policy_of(*rules: str, side: str = "egress") -> str:
    return HEAD + "".join(f"[[unit.{side}]]\n" + rule.replace("; ", "\n") + "\n" for rule in rules)


def decide(text: str, *learned: str, address: bytes = ADDRESS) -> tuple[str, str]:
    unit = compile_policy(parse_policy(text)).units[0]
    for name in learned:
        assert unit.names is not None
        unit.names.learn(name, address, 1 << 62)
    match = unit.egress.candidates(address).decide(6, 443)
    return match.packet.policy_id, match.packet.service_id


def test_a_name_counts_as_a_single_address() -> None:
    text = policy_of(
        'id = "wide"; action = "accept"; to = "192.0.2.0/24"',
        'id = "name"; action = "accept"; to = "dns:API.example.com."',
        'id = "host"; action = "accept"; to = "192.0.2.8"',
    )
    assert decide(text) == ("wide", "")
    assert decide(text, "api.example.com") == ("name", "api.example.com")
    assert decide(text, "other.example.com") == ("wide", "")
    both = bytes([192, 0, 2, 8])
    assert decide(text, "api.example.com", address=both) == ("name", "api.example.com")
    swapped = text.replace("dns:API.example.com.", "x").replace("192.0.2.8", "dns:api.example.com")
    assert decide(swapped.replace('"x"', '"192.0.2.8"'), "api.example.com", address=both) == (
        "name",
        "",
    )


def test_tables_come_before_names() -> None:
    text = policy_of(
        'id = "name"; action = "accept"; to = "dns:*.example.com"',
        'id = "never"; action = "reject"; to = "192.0.2.0/24"',
    )
    assert decide(text, "api.example.com") == ("never", "")


def test_names_and_tags_hold_together() -> None:
    text = policy_of(
        'id = "both"; action = "accept"; to = "dns:a.example"; '
        'peer_tags = [{ key = "t", operator = "*" }]'
    )
    text += '[[peer]]\nid = "p"\naddress = "192.0.2.7"\ntags = ["t=1"]\n'
    compiled = compile_policy(parse_policy(text))
    unit, peer = compiled.units[0], compiled.peer_for(ADDRESS)
    assert unit.egress.candidates(ADDRESS, peer).decide(6, 1).packet.policy_id == "default"
    assert unit.names is not None
    unit.names.learn("a.example", ADDRESS, 1 << 62)
    assert unit.egress.candidates(ADDRESS, peer).decide(6, 1).packet.policy_id == "both"
    assert unit.egress.candidates(ADDRESS).decide(6, 1).packet.policy_id == "default"


@pytest.mark.parametrize(
    "text",
    [
        "dns:",
        "dns:*",
        "dns:*.",
        "dns:a..b",
        "dns:a b",
        "dns:*a.b",
        "dns:a.*.b",
        "dns:ä.de",
        "dns:a." + "b" * 64,
        "dns:" + "a." * 127 + "b",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="DNS name"):
        parse_policy(policy_of(f'id = "x"; action = "accept"; to = "{text}"'))


def test_names_are_for_egress_only() -> None:
    rule = 'id = "x"; action = "accept"; from = ["10.0.0.0/8", "dns:a.example"]'
    with pytest.raises(ConfigError, match="DNS names only in to"):
        parse_policy(policy_of(rule, side="ingress"))


def test_explain_says_what_a_name_would_do() -> None:
    text = policy_of('id = "name"; action = "accept"; to = ["dns:api.example.com", "10.0.0.0/8"]')
    flow = FlowTuple(source=bytes([10, 0, 0, 1]), destination=ADDRESS, protocol=6, port=443)
    without = explain(compile_policy(parse_policy(text)), flow)
    assert without.action == "reject"
    (note,) = without.judgements[0].rules
    assert note.reason.startswith("no answer for api.example.com gave the address")
    found = explain(compile_policy(parse_policy(text)), flow, destination_name="API.example.com.")
    (note,) = found.judgements[0].rules
    assert (found.action, note.by, note.decides) == ("accept", "api.example.com", True)


def test_learned_addresses_expire_each_at_its_time() -> None:
    names = UnitNames({"a.x": 1, "*.x": 2})
    assert names.learn("a.x", ADDRESS, 10)
    assert not names.learn("b.x", ADDRESS, 20)
    assert names.sets == {ADDRESS: (1, 2)}
    assert not names.learn("a.x", ADDRESS, 5)
    assert not names.learn("a.x", ADDRESS, 15)
    assert not names.expire(10)
    assert names.expire(15)
    assert names.sets == {ADDRESS: (2,)}
    assert names.expire(20)
    assert names.sets == {}
    assert not names.learn("other", ADDRESS, 99)


def test_a_unit_learns_no_more_than_so_many_addresses() -> None:
    names = UnitNames({"*.x": 1})
    for number in range(MAX_LEARNED_ADDRESSES + 10):
        names.learn(f"n{number}.x", number.to_bytes(4, "big"), 1_000 + number)
    assert len(names.sets) == MAX_LEARNED_ADDRESSES
    assert names.evicted == 10
    assert bytes(4) not in names.sets


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a.x", "b.x", "x", "c.y", "d.c.y"]),
            st.integers(0, 3),
            st.integers(1, 40),
        ),
        max_size=30,
    )
)
def test_what_is_learned_is_what_a_plain_list_says(events: list[tuple[str, int, int]]) -> None:
    patterns = {"a.x": 1, "*.x": 2, "*.c.y": 3, "*.y": 4}
    names = UnitNames(patterns)
    known: dict[tuple[str, int], int] = {}
    for now, (name, host, lives) in enumerate(events):
        names.expire(now)
        names.learn(name, bytes([host]), now + lives)
        known[name, host] = max(known.get((name, host), 0), now + lives)
        expected: dict[bytes, set[int]] = {}
        for (one, where), expires in known.items():
            for pattern, number in patterns.items():
                if expires > now and name_matches(pattern, one):
                    expected.setdefault(bytes([where]), set()).add(number)
        assert {key: set(value) for key, value in names.sets.items()} == expected
