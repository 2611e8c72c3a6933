"""A configuration that cannot work is refused, with every reason."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.netobserv.flows import config
from trireme_collector import ConfigError
from trireme_collector.netobserv import Profile, Tracker, default_tracking_config


def refusal(changed: dict[str, Any], profile: Profile = "default") -> str:
    with pytest.raises(ConfigError) as found:
        Tracker.from_config(changed, profile=profile)
    return str(found.value)


def test_the_default_is_accepted() -> None:
    for profile in ("strict", "default"):
        assert len(Tracker.from_config(default_tracking_config(), profile=profile)) == 0


def test_all_mistakes_are_told_at_once() -> None:
    changed = config(
        outputRecordTypes=["allConnections"],
        outputFields=[{"name": "Bytes", "operation": "avg"}],
        scheduling=[],
    )
    with pytest.raises(ConfigError) as found:
        Tracker.from_config(changed)
    assert len(found.value.problems) == 3


def test_a_key_that_does_not_exist() -> None:
    assert "did you mean 'outputFields'" in refusal(config(outputField=[]))


@pytest.mark.parametrize("wrong", [[], "x", 5, {"scheduling": {}}, {"tcpFlags": {"swapAB": 1}}])
def test_a_wrong_type(wrong: dict[str, Any]) -> None:
    assert "Expected" in refusal(wrong)


def test_too_deep() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"keyDefinition": deep}
    assert "unknown field `keyDefinition` - at `$.keyDefinition`" in refusal(deep)
    while deep:  # taking it apart by itself would exhaust the stack of some interpreters
        deep = deep["keyDefinition"]


@pytest.mark.parametrize("profile", ["strict", "default"])
def test_keys_are_found_in_any_case_and_null_is_nothing(profile: Profile) -> None:
    usual = config()
    shouted = {name.upper(): value for name, value in usual.items()}
    shouted["TCPFLAGS"] = {"FIELDNAME": None, "SwapAb": None}
    shouted["MaxConnectionsTracked"] = None
    Tracker.from_config(shouted, profile=profile)
    assert "unknown field `fielName`" in refusal(config(tcpFlags={"fielName": None}), profile)
    # Null among the items of a list is an item, a group without a name and without fields.
    none = {**usual["keyDefinition"], "fieldGroups": [*usual["keyDefinition"]["fieldGroups"], None]}
    Tracker.from_config(config(keyDefinition=none), profile=profile)
    assert "no record type ''" in refusal(config(outputRecordTypes=[None]), profile)


@pytest.mark.parametrize("profile", ["strict", "default"])
def test_a_duration_is_never_null(profile: Profile) -> None:
    assert "heartbeatInterval" in refusal(config(scheduling=[{"heartbeatInterval": None}]), profile)


@pytest.mark.parametrize("beat", ["0s", 0])
def test_heartbeats_need_an_interval(beat: object) -> None:
    group = {"endConnectionTimeout": "10s", "heartbeatInterval": beat}
    changed = config(scheduling=[group])
    assert "heartbeatInterval has to be above 0" in refusal(changed)
    Tracker.from_config(changed, profile="strict")
    Tracker.from_config({**changed, "outputRecordTypes": ["endConnection"]})


def test_negative_values() -> None:
    group = {"endConnectionTimeout": "-1s", "heartbeatInterval": "30s"}
    assert "endConnectionTimeout cannot be negative" in refusal(config(scheduling=[group]))
    assert "cannot be negative" in refusal(config(maxConnectionsTracked=-1))
    Tracker.from_config(config(maxConnectionsTracked=-1), profile="strict")


def test_a_duration_that_is_none() -> None:
    group = {"endConnectionTimeout": "soon", "heartbeatInterval": "30s"}
    assert "'soon' is no duration" in refusal(config(scheduling=[group]), "strict")


def test_null_means_absent() -> None:
    Tracker.from_config(config(maxConnectionsTracked=None, tcpFlags=None))


@pytest.mark.parametrize(
    "options", [{"profile": "lax"}, {"numbers": "int"}, {"max_conversations": 0}]
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Tracker.from_config(config(), **options)
