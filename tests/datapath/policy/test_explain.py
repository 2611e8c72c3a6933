"""An explanation names the rule that decides, and says why every other one does not."""

from __future__ import annotations

import ipaddress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.judgement import FlowTuple
from trireme_datapath.policy import CompiledPolicy, compile_policy, parse_policy
from trireme_datapath.policy.explain import Explanation, Judgement, explain

POLICY = """
version = 1
name = "p"
[networks]
lan = ["10.0.0.0/8", "10.0.0.0/16"]
[[unit]]
id = "web"
tags = ["app=web"]
select = { address = "10.0.0.1" }
[[unit.ingress]]
id = "wide"
action = "accept"
from = "10.0.0.0/8"
[[unit.ingress]]
id = "lan"
action = "accept"
from = "@lan"
protocol = "tcp"
ports = [80, "8000-8001"]
[[unit.ingress]]
id = "again"
action = "accept"
from = "@lan"
[[unit.ingress]]
id = "watch"
action = "reject"
observe = "continue"
from = "10.0.0.2"
[[unit.ingress]]
id = "watch-too"
action = "reject"
observe = "continue"
from = "any"
[[unit.ingress]]
id = "trial"
action = "reject"
observe = "apply"
from = "any"
[[unit.ingress]]
id = "ping"
action = "reject"
from = "any"
protocol = "icmp"
icmp = "echo-request"
[[unit.egress]]
id = "to-db"
action = "accept"
peer_tags = [{ key = "app", values = ["db"] }]
protocol = "tcp"
[[unit.egress]]
id = "to-lan"
action = "accept"
to = "@lan"
protocol = "tcp"
[[unit]]
id = "db"
tags = ["app=db"]
select = { address = "10.0.0.2" }
[[unit.ingress]]
id = "db-in"
action = "accept"
from = "10.0.0.1"
protocol = "tcp"
ports = 5432
[[unit.egress]]
id = "db-out"
action = "accept"
to = "any"
[[unit]]
id = "marked"
context = "ctx"
select = { mark = 1 }
[[unit.egress]]
id = "out"
action = "accept"
to = "any"
"""


@pytest.fixture(name="policy")
def fixture_policy() -> CompiledPolicy:
    return compile_policy(parse_policy(POLICY))


def flow(source: str, destination: str, protocol: int = 6, port: int = 80) -> FlowTuple:
    kinds = {"icmp_type": 8} if protocol == 1 else {}
    return FlowTuple(
        source=ipaddress.ip_address(source).packed,
        destination=ipaddress.ip_address(destination).packed,
        protocol=protocol,
        port=0 if protocol == 1 else port,
        **kinds,
    )


def reasons(judgement: Judgement) -> dict[str, str]:
    return {note.id: note.reason for note in judgement.rules}


def test_the_losers_know_why(policy: CompiledPolicy) -> None:
    found = explain(policy, flow("10.0.0.2", "10.0.0.1"))
    assert found.action == "accept"
    assert [(j.unit, j.direction) for j in found.judgements] == [
        ("db", "egress"),
        ("web", "ingress"),
    ]
    ingress = found.judgements[1]
    assert (ingress.policy_id, ingress.service_id) == ("lan", "lan")
    assert (ingress.observed_action, ingress.observed_policy_id) == ("reject", "watch")
    assert [note.id for note in ingress.rules if note.matches] == [
        "watch",
        "watch-too",
        "lan",
        "again",
        "wide",
        "trial",
    ]
    assert reasons(ingress) == {
        "watch": "only reported: it observes, and the search goes on",
        "watch-too": "another observing rule was found first and is reported",
        "lan": "the first match of the accept table",
        "again": "lan stands before it in the file (rule 1 before rule 2, from 0)",
        "wide": "lan matches a longer prefix, 10.0.0.0/16",
        "trial": "the accept table is searched before, and lan decides there",
        "ping": "its protocol is icmp, not tcp",
    }
    assert found.record is not None
    assert (found.record.policy_id, found.record.observed_policy_id) == ("lan", "watch")
    assert (found.record.source_id, found.record.destination_id) == ("db", "web")
    assert found.record.direction == "ingress"
    assert found.record.drop_reason == ""


def test_tags_win_over_addresses(policy: CompiledPolicy) -> None:
    found = explain(policy, flow("10.0.0.1", "10.0.0.2", port=5432))
    egress = found.judgements[0]
    assert egress.policy_id == "to-db"
    assert egress.peer_tags == ("app=db",)
    assert reasons(egress)["to-lan"] == "to-db asks for tags, which counts more than an address"
    assert found.action == "accept"


def test_a_flow_between_two_units_needs_both(policy: CompiledPolicy) -> None:
    found = explain(policy, flow("10.0.0.1", "10.0.0.2", port=22))
    assert found.action == "reject"
    assert [j.action for j in found.judgements] == ["accept", "reject"]
    assert found.reason == "the default, as no ingress rule of db decides, rejects it"
    assert reasons(found.judgements[1]) == {"db-in": "its ports are 5432, not 22"}
    assert found.record is not None
    assert found.record.policy_id == "default"
    assert found.record.drop_reason == "policy"


def test_what_does_not_match_says_why(policy: CompiledPolicy) -> None:
    outside = explain(policy, flow("192.0.2.1", "10.0.0.1", port=81)).judgements[0]
    assert outside.policy_id == "trial"
    assert reasons(outside)["wide"] == "the address of the other side is not in its networks"
    assert reasons(outside)["lan"] == "its ports are 80, 8000-8001, not 81"
    egress = explain(policy, flow("10.0.0.1", "10.0.0.9")).judgements[0]
    assert reasons(egress)["to-db"] == "it asks for tags, and the other side is not known"
    tagged = explain(policy, flow("10.0.0.1", "10.0.0.1", protocol=17)).judgements[0]
    assert reasons(tagged)["to-db"].startswith("its protocol is tcp")
    ping = explain(policy, flow("10.0.0.9", "10.0.0.1", protocol=1))
    assert (ping.icmp_type, ping.icmp_code, ping.port) == (8, 0, None)
    assert ping.judgements[0].policy_id == "ping"


def test_units_that_no_address_selects_are_named(policy: CompiledPolicy) -> None:
    question = flow("10.9.9.9", "192.0.2.1")
    nobody = explain(policy, question)
    assert (nobody.action, nobody.judgements, nobody.record) == ("reject", (), None)
    assert 'unmatched = "reject"' in nobody.reason
    found = explain(policy, question, unit="ctx", direction="egress")
    assert found.action == "accept"
    assert found.judgements[0].unit == "marked"
    with pytest.raises(ValueError, match="give the direction"):
        explain(policy, question, unit="marked")
    with pytest.raises(ValueError, match="its units are: 'web', 'db', 'marked'"):
        explain(policy, question, unit="nobody")
    by_address = explain(policy, flow("10.0.0.1", "192.0.2.1"), unit="web")
    assert by_address.judgements[0].direction == "egress"


def test_tcp_of_a_unit_with_itself_asks_no_rule(policy: CompiledPolicy) -> None:
    found = explain(policy, flow("10.0.0.1", "10.0.0.1"))
    assert (found.action, found.judgements) == ("accept", ())
    assert found.record is not None
    assert found.record.policy_id == "local"


def test_observe_only_says_which_rule_would_have_decided() -> None:
    policy = compile_policy(
        parse_policy(POLICY.replace("[networks]", "observe_only = true\n[networks]"))
    )
    found = explain(policy, flow("10.0.0.9", "10.0.0.1", protocol=1))
    assert found.action == "accept"
    judgement = found.judgements[0]
    assert (judgement.policy_id, judgement.observed_policy_id) == ("observe-only", "ping")
    assert [note.id for note in judgement.rules if note.decides] == ["ping"]
    assert "observe_only" in found.reason
    assert explain(policy, flow("192.0.2.1", "192.0.2.2")).action == "accept"


addresses = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.1.0.1", "192.0.2.1"])


@given(addresses, addresses, st.sampled_from([1, 6, 17, 47]), st.sampled_from([80, 81, 5432]))
def test_the_explained_winner_is_the_first_of_its_table(
    source: str, destination: str, protocol: int, port: int
) -> None:
    policy = compile_policy(parse_policy(POLICY))
    found = explain(policy, flow(source, destination, protocol, port))
    for judgement in found.judgements:
        decides = [note for note in judgement.rules if note.decides]
        assert [note.id for note in decides] == (
            [] if judgement.policy_id == "default" else [judgement.policy_id]
        )
        enforcing = [n for n in judgement.rules if n.matches and n.observe != "continue"]
        assert decides == enforcing[:1]
        assert all(note.reason for note in judgement.rules)
    encoded = msgspec.json.encode(found)
    assert msgspec.json.decode(encoded, type=Explanation) == found
