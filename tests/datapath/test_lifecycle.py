"""Units and users that come, change and go."""

from __future__ import annotations

import pytest

from trireme_collector.errors import ConfigError
from trireme_collector.hashing import stats_user_hash
from trireme_collector.records import ContainerEvent, ContainerRecord, Record, UserRecord
from trireme_datapath import lifecycle
from trireme_datapath.lifecycle import USER_WINDOW_NS, UnitLifecycle, UserLog
from trireme_datapath.policy import parse_policy

POLICY = """
version = 1
[[unit]]
id = "web"
context = "ctx-web"
tags = ["app=web"]
select = { address = ["10.0.0.2", "fd00::2", "10.1.0.0/16"] }
[[unit]]
id = "db"
select = { address = "10.0.0.3" }
"""
START_NS = 1_700_000_000_000_000_000


class Told:
    """Units whose events are kept."""

    def __init__(self, policy: str = POLICY) -> None:
        self.records: list[Record] = []
        self.units = UnitLifecycle(self.records.append)
        self.units.enter_policy(parse_policy(policy))

    def take(self) -> list[tuple[str, str]]:
        told = [(r.context_id, r.event) for r in self.records if isinstance(r, ContainerRecord)]
        self.records.clear()
        return told


def test_the_units_of_a_policy_start_with_it() -> None:
    told = Told()
    first, second = told.records
    assert first == ContainerRecord(
        context_id="ctx-web",
        ip_address={"bridge": "10.0.0.2", "bridge-2": "fd00::2"},
        tags=("app=web",),
        event="start",
    )
    assert isinstance(second, ContainerRecord)
    assert (second.context_id, second.event) == ("db", "start")


def test_units_that_the_program_before_told_of_are_not_told_again() -> None:
    records: list[Record] = []
    units = UnitLifecycle(records.append)
    units.adopt(parse_policy(POLICY))
    units.enter_policy(parse_policy(POLICY))
    assert records == []
    assert units.start("db", {"bridge": "10.0.0.3"}) is None


def test_a_reload_tells_what_changed_and_nothing_else() -> None:
    told = Told()
    told.take()
    told.units.enter_policy(parse_policy(POLICY + "# a remark\n"))
    assert told.take() == []
    changed = POLICY.replace("app=web", "app=shop").replace('"db"', '"store"')
    told.units.enter_policy(parse_policy(changed))
    assert told.take() == [("ctx-web", "update"), ("store", "start"), ("db", "delete")]


def test_a_unit_comes_changes_and_goes_once_each() -> None:
    told = Told()
    told.take()
    units = told.units
    # It started with the policy, with the addresses that the policy gives it.
    assert units.start("db", {"bridge": "10.0.0.3"}) is None
    assert units.start("db", {"bridge": "10.0.0.4"}, ["a=b"]) is ContainerEvent.UPDATE
    assert units.update("db", {"bridge": "10.0.0.4"}, ["a=b"]) is None
    assert units.delete("db") is ContainerEvent.DELETE
    assert units.delete("db") is ContainerEvent.DELETE_UNKNOWN
    assert units.start("db", {"bridge": "10.0.0.4"}) is ContainerEvent.START
    assert told.take() == [
        ("db", "update"),
        ("db", "delete"),
        ("db", "unknowncontainer"),
        ("db", "start"),
    ]


def test_a_unit_that_no_rule_is_about_is_ignored() -> None:
    told = Told()
    told.take()
    assert told.units.start("stranger", {}) is ContainerEvent.IGNORED
    assert told.units.delete("stranger") is ContainerEvent.DELETE
    assert told.units.delete("stranger") is ContainerEvent.DELETE_UNKNOWN
    assert told.take() == [
        ("stranger", "ignore"),
        ("stranger", "delete"),
        ("stranger", "unknowncontainer"),
    ]


def test_a_unit_that_had_to_be_stopped() -> None:
    told = Told()
    told.take()
    assert told.units.fail("ctx-web") is ContainerEvent.FAILED
    assert told.take() == [("ctx-web", "forcestop")]


def test_what_is_gone_tells_no_tags() -> None:
    told = Told()
    told.units.delete("ctx-web")
    assert told.records[-1] == ContainerRecord(context_id="ctx-web", event="delete")


def test_units_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "MAX_UNITS", 2)
    told = Told()
    events = [told.units.start(f"u{number}", {}) for number in range(3)]
    assert events[2] is ContainerEvent.FAILED


def test_a_user_is_told_once_in_ten_minutes() -> None:
    records: list[Record] = []
    users = UserLog(records.append)
    claims = ("name=eve", "group=x")
    expected = stats_user_hash(UserRecord(namespace="/n", claims=claims))
    assert users.seen("/n", claims, START_NS) == (expected.id, True)
    assert users.seen("/n", claims, START_NS + USER_WINDOW_NS - 1) == (expected.id, False)
    assert users.seen("/m", claims, START_NS)[1]
    assert users.seen("/n", claims, START_NS + USER_WINDOW_NS) == (expected.id, True)
    assert records[0] == expected
    assert len(records) == 3


def test_users_without_end_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "MAX_USERS", 2)
    users = UserLog(lambda _: None)
    for name in ("a", "b", "c"):
        assert users.seen("", [f"name={name}"], START_NS)[1]
    assert users.seen("", ["name=a"], START_NS)[1]
    assert not users.seen("", ["name=c"], START_NS)[1]


TOLD = 'version = 1\n[[unit]]\nid = "web"\ncontext = "ctx-web"\nselect.told = true\n'


def test_a_unit_that_is_to_be_told_of_starts_when_it_is() -> None:
    told = Told(TOLD)
    assert told.take() == []
    assert told.units.start("ctx-web", {"bridge": "10.0.0.2"}) is ContainerEvent.START
    assert [unit.context_id for unit in told.units.told] == ["ctx-web"]
    assert told.units.delete("ctx-web") is ContainerEvent.DELETE
    assert told.units.told == ()
    assert told.take() == [("ctx-web", "start"), ("ctx-web", "delete")]


def test_whoever_enforces_hears_when_packets_belong_to_others() -> None:
    changes: list[int] = []
    units = UnitLifecycle(lambda _: None)
    units.changed = lambda: changes.append(len(units.told))
    units.enter_policy(parse_policy(TOLD))
    units.start("ctx-web", {"bridge": "10.0.0.2"})
    units.start("ctx-web", {"bridge": "10.0.0.2"})
    units.update("ctx-web", {"bridge": "10.0.0.2"}, interfaces=["veth0"])
    units.fail("ctx-web")
    units.delete("ctx-web")
    assert changes == [1, 1, 0]


def test_a_unit_that_cannot_be_policed_is_told_to_be_stopped_once() -> None:
    told = Told(POLICY + '[[unit]]\nid = "shop"\nselect.told = true\n')
    told.take()
    with pytest.raises(ConfigError, match="that of 'db' already"):
        told.units.start("shop", {"bridge": "10.0.0.3"})
    assert told.take() == [("shop", "forcestop")]
    assert told.units.problem("shop", {"bridge": "10.0.0.3"})
    assert told.units.start("shop", {"bridge": "10.0.0.4"}) is ContainerEvent.START
    # A change that fails is none: it is as it was.
    with pytest.raises(ConfigError):
        told.units.update("shop", {"bridge": "10.0.0.3"})
    assert told.take() == [("shop", "start")]
    assert [str(unit.addresses[0]) for unit in told.units.told] == ["10.0.0.4/32"]


def test_a_stranger_becomes_a_unit_with_a_policy_and_one_again_without() -> None:
    told = Told("version = 1\n")
    assert told.units.start("ctx-web", {"bridge": "10.0.0.2"}) is ContainerEvent.IGNORED
    told.units.enter_policy(parse_policy(TOLD))
    told.units.enter_policy(parse_policy("version = 1\n"))
    assert told.take() == [("ctx-web", "ignore"), ("ctx-web", "update"), ("ctx-web", "ignore")]
    assert len(told.units.told) == 1


def test_a_policy_that_takes_an_address_away_stops_its_unit() -> None:
    told = Told(TOLD)
    told.units.start("ctx-web", {"bridge": "10.0.0.3"})
    told.take()
    wants = parse_policy(TOLD + '[[unit]]\nid = "db"\nselect.address = "10.0.0.3"\n')
    assert told.units.settled_for(wants) == ()
    told.units.enter_policy(wants)
    assert told.take() == [("db", "start"), ("ctx-web", "forcestop")]


def test_what_was_known_outlives_the_program() -> None:
    told = Told(TOLD)
    told.units.start("ctx-web", {"bridge": "10.0.0.2"})
    told.take()
    records: list[Record] = []
    units = UnitLifecycle(records.append)
    units.adopt(parse_policy(TOLD), told.units.known)
    assert units.start("ctx-web", {"bridge": "10.0.0.2"}) is None
    assert units.told == told.units.told
    assert records == []


def test_units_of_the_policy_are_known_though_nobody_wants_to_hear_of_them() -> None:
    records: list[Record] = []
    units = UnitLifecycle(records.append, tell_policy=False)
    units.enter_policy(parse_policy(POLICY))
    assert records == []
    assert units.start("ctx-web", {"bridge": "10.0.0.9"}) is ContainerEvent.UPDATE
