"""Units that are told of, laid over a policy."""

from __future__ import annotations

import pytest

from trireme_collector.errors import ConfigError
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.policy.told import CGROUP_MARK_MASK, ToldUnit, read_told, settle_told

POLICY = parse_policy("""
version = 1
[[unit]]
id = "web"
context = "ctx-web"
tags = ["app=web"]
select = { told = true }
[[unit.ingress]]
id = "shop"
action = "accept"
peer_tags = [{ key = "app", values = ["shop"] }]
[[unit]]
id = "db"
select = { address = "10.0.0.3", interface = "veth3", cgroup = "db.slice" }
[[peer]]
id = "friend"
address = "10.9.0.0/16"
""")
WEB = read_told("ctx-web", ["10.0.0.2", "fd00::/64"], ["veth2"], ["web.slice"], ["zone=a"])
STRANGER = read_told("stranger", ["10.0.0.7"], tags=["app=shop"])


def address(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


def settled(*told: ToldUnit) -> list[ToldUnit]:
    found, refused = settle_told(POLICY, told)
    assert refused == {}
    return found


def test_packets_belong_to_a_unit_by_what_was_told() -> None:
    compiled = compile_policy(POLICY, settled(WEB))
    for unit in (
        compiled.unit_for(address("10.0.0.2")),
        compiled.unit_for(bytes.fromhex("fd00" + "00" * 13 + "09")),
        compiled.unit_for_interface("veth2"),
    ):
        assert unit is not None
        assert (unit.id, unit.tags.slice) == ("web", ("app=web", "zone=a"))
    claim = compiled.claim_of_mark(compiled.cgroup_marks["web.slice"] | 7)
    assert claim is not None
    assert (claim[1], claim[2].id) == (CGROUP_MARK_MASK, "web")


def test_without_being_told_nothing_belongs_to_it() -> None:
    compiled = compile_policy(POLICY)
    assert compiled.unit_for(address("10.0.0.2")) is None
    assert compiled.unit("web") is not None


def test_a_stranger_is_somebody_whose_tags_are_known() -> None:
    compiled = compile_policy(POLICY, settled(WEB, STRANGER))
    peer = compiled.peer_for(address("10.0.0.7"))
    assert peer is not None
    assert compiled.unit_for(address("10.0.0.7")) is None
    unit = compiled.unit("web")
    assert unit is not None
    match = unit.ingress.candidates(address("10.0.0.7"), peer).decide(6, 80, -1, -1)
    assert match.packet.policy_id == "shop"


def test_the_rules_of_before_are_taken_over_and_the_revision_stays() -> None:
    before = compile_policy(POLICY)
    after = compile_policy(POLICY, settled(WEB), before=before)
    assert after.revision == before.revision == before.edition
    assert after.edition.startswith(f"{before.revision}+")
    assert [one.ingress for one in after.units] == [one.ingress for one in before.units]
    assert after.units[1] is before.units[1]
    assert after.units[0] is not before.units[0]
    again = compile_policy(POLICY, settled(WEB), before=after)
    assert again.units[0] is after.units[0]
    assert again.edition == after.edition
    assert compile_policy(POLICY, before=again).unit_for(address("10.0.0.2")) is None


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (read_told("ctx-web", ["10.0.0.3"]), "address 10.0.0.3/32 is that of 'db'"),
        (read_told("ctx-web", ["10.9.0.0/16"]), "address 10.9.0.0/16 is that of 'peer friend'"),
        (read_told("ctx-web", interfaces=["veth3"]), "interface veth3 is that of 'db'"),
        (read_told("ctx-web", cgroups=["db.slice"]), "cgroup db.slice is that of 'db'"),
    ],
)
def test_what_is_somebody_elses_is_refused(told: ToldUnit, problem: str) -> None:
    found, refused = settle_told(POLICY, [told])
    assert found == []
    assert problem in refused["ctx-web"]


def test_what_is_its_own_may_be_told_again() -> None:
    told = read_told("db", ["10.0.0.3", "10.0.0.4"], ["veth3"], ["db.slice"])
    compiled = compile_policy(POLICY, settled(told))
    unit = compiled.unit_for(address("10.0.0.4"))
    assert unit is not None
    assert unit.id == "db"
    assert compiled.cgroup_marks == compile_policy(POLICY).cgroup_marks


def test_a_stranger_takes_nothing_from_anybody() -> None:
    told = settled(read_told("thief", ["10.0.0.3", "10.0.0.8"], ["veth3"]), STRANGER)
    compiled = compile_policy(POLICY, told)
    unit = compiled.unit_for(address("10.0.0.3"))
    assert unit is not None
    assert unit.id == "db"
    peer = compiled.peer_for(address("10.0.0.8"))
    assert peer is not None
    assert peer.id == "thief"


def test_control_groups_keep_their_marks_while_others_come_and_go() -> None:
    policy = parse_policy(
        "version = 1\n" + "".join(f'[[unit]]\nid = "u{n}"\nselect.told = true\n' for n in range(3))
    )
    told = [read_told(f"u{n}", cgroups=[f"g{n}"]) for n in range(3)]
    first, _ = settle_told(policy, told)
    marks = [one.cgroups[0][1] for one in first]
    assert len(set(marks)) == 3
    second, _ = settle_told(policy, [first[2], *told[:1]])
    assert second[0].cgroups[0][1] == marks[2]


def test_marks_of_the_policy_and_of_told_groups_do_not_meet() -> None:
    policy = parse_policy(
        "version = 1\n[[unit]]\nid = 'a'\nselect = { mark = '0xfffc0000/0xfffc0000' }\n"
        "[[unit]]\nid = 'b'\nselect.told = true\n"
    )
    (told,), _ = settle_told(policy, [read_told("b", cgroups=["g"])])
    assert told.cgroups == (("g", 0x3FFE << 18),)


def test_all_that_is_wrong_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        read_told("ctx", ["nonsense", "10.0.0.1/8"], ["eth*"], ["../x"], ["untagged"])
    assert len(caught.value.problems) == 5
    assert caught.value.problems[0].startswith("unit 'ctx': address 'nonsense': expected ")
