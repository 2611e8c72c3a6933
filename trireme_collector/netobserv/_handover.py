"""Live conversations as data: to keep them over a restart, or to hand them to another tracker."""

from __future__ import annotations

import math
import re
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from trireme_collector.netobserv._groups import Conversation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trireme_collector.netobserv._groups import Group

__all__ = ["ConversationState", "conversation_of", "insert", "state_of"]

_HASH = re.compile(r"[0-9a-f]{1,16}")


class ConversationState(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Everything that a tracker knows of one conversation.

    It can be written as JSON or MessagePack. It means something only to a tracker of the same
    configuration, profile and numbers.

    Attributes:
        id: The conversation, as in ``_HashId``.
        side: The hash of its side A.
        keys: The key fields that it has.
        values: What was added up, in the order of the output fields; null where there is nothing.
        group: The index of its scheduling group.
        expiry_ns: When it ends, by the clock that the tracker was told.
        beat_ns: When it is reported next.
        beat_place: Its place among those that are reported.
        is_reported: Whether a record of it was given out.
        is_terminating: Whether its end was seen.
        closed_sides: Which sides closed it: 1 for A, 2 for B.
    """

    id: str
    side: str
    keys: dict[str, Any]
    values: list[Any]
    group: int = 0
    expiry_ns: int = 0
    beat_ns: int = 0
    beat_place: int = 0
    is_reported: bool = False
    is_terminating: bool = False
    closed_sides: int = 0


def state_of(conversation: Conversation, keys: Sequence[str], beat_place: int) -> ConversationState:
    """Write down a conversation."""
    return ConversationState(
        id=conversation.text,
        side=f"{conversation.side:x}",
        keys={k: v for k, v in zip(keys, conversation.keys, strict=True) if v is not UNSET},
        # Nothing was compared yet: no form of data has a number for that.
        values=[
            None if isinstance(value, float) and math.isinf(value) else value
            for value in conversation.slots
        ],
        group=conversation.group,
        expiry_ns=conversation.expiry_ns,
        beat_ns=conversation.beat_ns,
        beat_place=beat_place,
        is_reported=conversation.is_reported,
        is_terminating=conversation.is_terminating,
        closed_sides=conversation.closed_sides,
    )


def conversation_of(
    state: ConversationState, keys: Sequence[str], initial: Sequence[Any]
) -> Conversation:
    """Take up a conversation.

    Raises:
        ValueError: The state is of another configuration, or nobody wrote it.
    """
    if (
        len(state.values) != len(initial)
        or not state.keys.keys() <= set(keys)
        or not all(map(_fits, state.values, initial))
    ):
        msg = f"the state of conversation {state.id} is of another configuration"
        raise ValueError(msg)
    if not (_HASH.fullmatch(state.id) and _HASH.fullmatch(state.side)):
        msg = f"{state.id!r} and {state.side!r} are no hashes of a conversation"
        raise ValueError(msg)
    return Conversation(
        int(state.id, 16),
        state.id,
        int(state.side, 16),
        tuple([state.keys.get(name, UNSET) for name in keys]),
        [
            start if value is None else value
            for value, start in zip(state.values, initial, strict=True)
        ],
        state.group,
        expiry_ns=state.expiry_ns,
        beat_ns=state.beat_ns,
        is_reported=state.is_reported,
        is_terminating=state.is_terminating,
        closed_sides=state.closed_sides,
    )


def _fits(value: object, start: object) -> bool:
    """Say whether a value can be added to where a number stands."""
    return value is None or start is None or type(value) in (int, float)


def insert(
    group: Group, taken: Iterable[tuple[Conversation, int]], *, gives_heartbeats: bool
) -> None:
    """Put conversations into the lines of a group, between those that are there."""
    group.tidy(always=True)
    taken = list(taken)
    ending = [c for c, _ in taken if c.is_terminating]
    active = [c for c, _ in taken if not c.is_terminating]
    for conversation in active:
        conversation.entries = 1
    group.terminating = _merged(group.terminating, ending)
    group.active = _merged(group.active, active)
    group.terminating_count += len(ending)
    group.active_count += len(active)
    if gives_heartbeats:
        beating = [c for c, _ in sorted(taken, key=lambda pair: pair[1]) if not c.is_terminating]
        both = sorted([*group.beats, *beating], key=lambda conversation: conversation.beat_ns)
        group.beats = deque(both)


def _merged(line: Iterable[Conversation], more: Iterable[Conversation]) -> deque[Conversation]:
    # Stable: those that end at the same time stay in the order in which they are given.
    return deque(sorted([*line, *more], key=lambda conversation: conversation.expiry_ns))
