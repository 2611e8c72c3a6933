"""A tracker that adopts what another one saved goes on as that one would have."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.netobserv.flows import config, flow
from tests.core.netobserv.test_tracker_properties import CONFIGS, STEPS
from trireme_collector.netobserv import ConversationState, Profile, Tracker

STATES = list[ConversationState]


def moved(states: STATES) -> STATES:
    """Write states and read them again."""
    through_json = msgspec.json.decode(msgspec.json.encode(states), type=STATES)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(states), type=STATES) == through_json
    return through_json


@settings(max_examples=80)
@given(CONFIGS, STEPS, STEPS, st.sampled_from(["strict", "default"]))
def test_nothing_is_different_afterwards(
    config: dict[str, Any], before: list[Any], after: list[Any], profile: Profile
) -> None:
    old, new = (Tracker.from_config(config, profile=profile) for _ in range(2))
    now = 0
    for later, flows in before:
        now += later
        old.process(flows, now)
    new.tick(now)
    old.tick(now)
    new.adopt(moved(old.save()))
    assert len(new) == len(old)
    assert new.save() == old.save()
    for later, flows in after:
        now += later
        assert new.process(flows, now) == old.process(flows, now)
    assert new.flush() == old.flush()


def test_conversations_come_between_those_that_are_there() -> None:
    there, here = (Tracker.from_config(config(outputRecordTypes=["endConnection"])) for _ in "ab")
    for now_ms, host in ((0, 1), (2_000, 3)):
        there.process([flow(host, 200)], now_ms)
    for now_ms, host in ((1_000, 2), (3_000, 4)):
        here.process([flow(host, 200)], now_ms)
    here.adopt(there.save())
    ends = here.tick(20_000)
    assert [end["SrcAddr"] for end in ends] == [f"192.0.2.{n}" for n in (1, 2, 3, 4)]


def test_what_cannot_be_adopted() -> None:
    tracker = Tracker.from_config(config())
    tracker.process([flow(), flow(3, 4)], 0)
    states = tracker.save()
    with pytest.raises(ValueError, match="is live already"):
        tracker.adopt(states)
    with pytest.raises(ValueError, match="is live already"):
        Tracker.from_config(config()).adopt([states[0], states[0]])
    other = Tracker.from_config(config(outputFields=[]))
    with pytest.raises(ValueError, match="another configuration"):
        other.adopt(states)
    wrong = msgspec.structs.replace(states[1], group=7)
    with pytest.raises(ValueError, match="another configuration"):
        Tracker.from_config(config()).adopt([states[0], wrong])
    assert len(other) == 0
