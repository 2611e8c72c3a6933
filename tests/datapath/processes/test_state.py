"""What a supervisor leaves behind is what the next program finds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from trireme_datapath.policy import parse_policy
from trireme_datapath.processes._enforcer_messages import HeldQueue, Slot
from trireme_datapath.processes._state import (
    ChildState,
    EnforcerState,
    KeeperState,
    PostState,
    SupervisorState,
    decode_state,
    encode_state,
    load_state,
    store_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def descriptors() -> Iterator[list[int]]:
    opened = [one for _ in range(5) for one in os.pipe()]
    yield opened
    for one in opened:
        os.close(one)


def state_of(descriptors: list[int]) -> SupervisorState:
    queue, records, board, reader, enforcer, collectors, held, statistics, control, lock = (
        descriptors
    )

    def child(pid: int, channel: int) -> ChildState:
        return ChildState(pid=pid, channel=channel, incoming=b"\0", outgoing=b"", generation=1)

    slot = Slot(
        number=0,
        queues=(HeldQueue(number=9, descriptor=queue),),
        records=records,
        board=board,
        accounting=True,
    )
    return SupervisorState(
        config_path="/etc/trireme/agent.toml",
        remove_rules=True,
        log=("json", "plain"),
        policy=parse_policy('version = 1\n[[unit]]\nid = "web"\nselect.address = "192.0.2.10"\n'),
        policy_since_ns=7,
        refused=("policy.toml:1:1: nonsense",),
        posts=(PostState(slot=slot, reader=reader, past={"packets": 3}, deaths=2, changes=4),),
        enforcers=(
            EnforcerState(
                child=child(11, enforcer), duty="judging", slot=0, edition="r", counters={"a": 1}
            ),
        ),
        keeper=KeeperState(board=held, child=child(12, collectors), ready=True, deaths=1),
        statistics=statistics,
        control=(control, lock),
        notifier={"NOTIFY_SOCKET": "/run/notify"},
        generation=1,
        setup=b"told",
    )


def test_it_comes_back_as_it_was_and_names_every_descriptor(descriptors: list[int]) -> None:
    state = state_of(descriptors)
    assert sorted(state.descriptors()) == sorted(descriptors)
    memory = store_state(state)
    assert all(os.get_inheritable(one) for one in (memory, *descriptors))
    assert load_state(memory) == state
    assert not any(os.get_inheritable(one) for one in descriptors)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(memory)


def test_a_state_of_another_version_is_refused(descriptors: list[int]) -> None:
    state = state_of(descriptors)
    assert decode_state(encode_state(state)) == state
    fields = msgspec.msgpack.decode(encode_state(state))
    fields["added_later"] = 1
    assert decode_state(msgspec.msgpack.encode(fields)) == state
    del fields["posts"]
    with pytest.raises(msgspec.ValidationError, match="posts"):
        decode_state(msgspec.msgpack.encode(fields))


def test_what_cannot_be_there_is_left_out(descriptors: list[int]) -> None:
    state = state_of(descriptors)
    keeper = msgspec.structs.replace(state.keeper, child=None)
    state = msgspec.structs.replace(state, keeper=keeper, statistics=-1, control=None)
    assert len(list(state.descriptors())) == len(descriptors) - 4
