"""What a supervisor leaves to the program that takes its place: descriptors, numbers, children."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from trireme_datapath.agent._observing import ObserveMode
from trireme_datapath.lifecycle import KnownUnit  # noqa: TC001  msgspec reads the annotations
from trireme_datapath.policy.model import Policy  # noqa: TC001  as above
from trireme_datapath.policy.told import ToldUnit  # noqa: TC001  as above
from trireme_datapath.processes._enforcer_messages import Slot, TraceUnit  # noqa: TC001  as above

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ChildState",
    "EnforcerState",
    "KeeperState",
    "PostState",
    "SupervisorState",
    "decode_state",
    "encode_state",
    "load_state",
    "store_state",
]

_BLOCK_BYTES: Final = 1_048_576


class ChildState(Struct, frozen=True, kw_only=True):
    """A child, and what was read from it or kept for it.

    Attributes:
        pid: Its number.
        channel: The way to it.
        incoming: The beginning of a message.
        outgoing: What it does not take yet.
        generation: How often the program had been exchanged when it was started.
    """

    pid: int
    channel: int
    incoming: bytes
    outgoing: bytes
    generation: int


class EnforcerState(Struct, frozen=True, kw_only=True):
    """An enforcer.

    Attributes:
        child: The process.
        duty: What it does.
        slot: Where it judges; -1 for nowhere.
        edition: The policy that it judges by, with the units that were told of.
        counters: What its engine counted.
    """

    child: ChildState
    duty: str
    slot: int
    edition: str
    counters: dict[str, int]


class PostState(Struct, frozen=True, kw_only=True):
    """A slot.

    Attributes:
        slot: Its descriptors.
        reader: Where its records are read from.
        past: What the engines of those before counted.
        deaths: How many of them died.
        changes: How often somebody took over.
    """

    slot: Slot
    reader: int
    past: dict[str, int]
    deaths: int
    changes: int


class KeeperState(Struct, frozen=True, kw_only=True):
    """The process of the collectors.

    Attributes:
        board: What it has taken.
        child: The process.
        ready: Whether it takes records.
        deaths: How many before it died.
    """

    board: int
    child: ChildState | None
    ready: bool
    deaths: int


class SupervisorState(Struct, frozen=True, kw_only=True):
    """All that a supervisor holds.

    Attributes:
        config_path: The configuration file.
        remove_rules: Whether the rules go at the end, whatever the configuration says.
        log: How it logs.
        policy: The policy in force.
        policy_since_ns: Since when it is.
        refused: What was wrong at the last reload.
        posts: The slots.
        enforcers: The enforcers.
        keeper: The process of the collectors.
        statistics: The kernel's table of queues; -1 where it cannot be read.
        control: The control socket and its lock, if there is one.
        notifier: How to speak to the service manager.
        generation: How often the program was exchanged.
        setup: What enforcers were told, as they were told it.
        observe: What says whether the policy is only observed.
        units: What was told of units, by context.
        found: Which discovery found which unit.
        told: The units that enforcers judge by beside the policy.
        traces: What enforcers trace.
    """

    config_path: str
    remove_rules: bool
    log: tuple[str, str]
    policy: Policy
    policy_since_ns: int
    refused: tuple[str, ...]
    posts: tuple[PostState, ...]
    enforcers: tuple[EnforcerState, ...]
    keeper: KeeperState
    statistics: int
    control: tuple[int, int] | None
    notifier: dict[str, str]
    generation: int
    setup: bytes
    observe: ObserveMode = ObserveMode()
    units: dict[str, KnownUnit] = {}
    found: dict[str, str] = {}
    told: tuple[ToldUnit, ...] = ()
    traces: tuple[TraceUnit, ...] = ()

    def descriptors(self) -> Iterator[int]:
        """Name every descriptor that the next program needs."""
        for post in self.posts:
            yield from post.slot.descriptors
            yield post.reader
        for one in self.enforcers:
            yield one.child.channel
        yield self.keeper.board
        if self.keeper.child is not None:
            yield self.keeper.child.channel
        if self.statistics >= 0:
            yield self.statistics
        yield from self.control or ()


def encode_state(state: SupervisorState) -> bytes:
    """Write a state as bytes."""
    return msgspec.msgpack.encode(state)


def decode_state(data: bytes) -> SupervisorState:
    """Read a state.

    Raises:
        msgspec.DecodeError: It is none, or one of a version that is too different.
    """
    return msgspec.msgpack.decode(data, type=SupervisorState)


def store_state(state: SupervisorState) -> int:
    """Put a state into memory that outlives the program, and let it inherit every descriptor.

    Returns:
        The descriptor of the memory.

    Raises:
        OSError: There is no room for it.
    """
    memory = os.memfd_create("trireme-supervisor")
    data = encode_state(state)
    while data:
        data = data[os.write(memory, data) :]
    os.set_inheritable(memory, True)  # noqa: FBT003  positional only
    for descriptor in state.descriptors():
        os.set_inheritable(descriptor, True)  # noqa: FBT003  positional only
    return memory


def load_state(memory: int) -> SupervisorState:
    """Take a state out of memory, and let no child inherit what it names.

    Raises:
        msgspec.DecodeError: It is none, or one of a version that is too different.
        OSError: It cannot be read.
    """
    blocks: list[bytes] = []
    os.lseek(memory, 0, os.SEEK_SET)
    while block := os.read(memory, _BLOCK_BYTES):
        blocks.append(block)
    os.close(memory)
    state = decode_state(b"".join(blocks))
    for descriptor in state.descriptors():
        os.set_inheritable(descriptor, False)  # noqa: FBT003  positional only
    return state
