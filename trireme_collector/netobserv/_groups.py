"""Conversations, kept in the order in which their times come."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct

from trireme_collector.netobserv._durations import parse_duration
from trireme_collector.netobserv._go_values import float_of, float_text, go_text, is_true
from trireme_collector.netobserv._hash import (
    SIGNED_FIELDS,
    SMALL_UNSIGNED_FIELDS,
    UNSIGNED_FIELDS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.netobserv._config import SchedulingGroup
    from trireme_collector.netobserv._hash import Numbers

__all__ = ["Conversation", "Group", "Path"]

# Below that many entries it is not worth the while to look which of them count.
_TOLERATED = 16_384
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})


# Neither refers to what refers to it, so that the garbage collector can leave them alone: with
# hundreds of thousands of them it would take a tenth of the time.


class Path(Struct, gc=False):
    """One direction of a conversation, as its key fields tell it.

    Attributes:
        total: The id of the conversation.
        text: The same as text.
        side: The hash of side A of the flow logs.
        other_side: The hash of side B.
        missing: The key fields that the flow logs do not have.
        keys: The values of the key fields.
        conversation: The conversation that was last found by it; it may have ended since.
        refusal: Why such flow logs are not tracked: a classification; empty if they are.
    """

    keys: tuple[object, ...]
    refusal: str = ""
    total: int = 0
    text: str = ""
    side: int = 0
    other_side: int = 0
    missing: tuple[str, ...] = ()
    conversation: Conversation | None = None


class Conversation(Struct, gc=False):
    """What is known of a conversation that has not ended.

    Attributes:
        total: Its id.
        text: The same as text.
        side: The hash of its side A.
        keys: The values of the key fields, UNSET where there is none.
        slots: What is added up; see `Plan`.
        group: The index of the group in which it is kept.
        expiry_ns: When it ends.
        beat_ns: When it is reported next.
        is_reported: Whether a record of it was given out.
        is_terminating: Whether its end was seen.
        is_ended: Whether it is over.
        entries: How often it stands in the line of active conversations; the last one counts.
        closed_sides: Which sides closed it: 1 for A, 2 for B.
    """

    total: int
    text: str
    side: int
    keys: tuple[object, ...]
    slots: list[Any]
    group: int
    expiry_ns: int = 0
    beat_ns: int = 0
    is_reported: bool = False
    is_terminating: bool = False
    is_ended: bool = False
    entries: int = 0
    closed_sides: int = 0


class Group:
    """The conversations of one scheduling group.

    Putting off an end only appends: a conversation stands in the line of active ones once for
    each time, and all entries but its last are passed over when they come to the front.

    Attributes:
        label: What metrics call it.
        end_timeout_ns: How long after its last flow log a conversation ends.
        terminating_timeout_ns: How long after its end was seen.
        heartbeat_ns: How often it is reported meanwhile.
        active: Conversations, the one that ends first in front.
        terminating: Those whose end was seen, likewise.
        beats: The active ones, the one that is reported next in front.
        active_count: How many are active.
        terminating_count: How many are terminating.
    """

    def __init__(
        self, index: int, config: SchedulingGroup, keys: Sequence[str], numbers: Numbers
    ) -> None:
        """Read the times and the selector."""
        described = "".join(
            f"{name}={go_text(value)}, " for name, value in sorted(config.selector.items())
        )
        self.label = f"{index}: {described or 'DEFAULT'}"
        self.end_timeout_ns = parse_duration(config.end_connection_timeout)
        self.terminating_timeout_ns = parse_duration(config.terminating_timeout)
        self.heartbeat_ns = parse_duration(config.heartbeat_interval)
        self.active: deque[Conversation] = deque()
        self.terminating: deque[Conversation] = deque()
        self.beats: deque[Conversation] = deque()
        self.active_count = self.terminating_count = 0
        self._numbers: Numbers = numbers
        self._selector = [
            (keys.index(name), name, value) for name, value in config.selector.items()
        ]

    def first_active(self) -> Conversation | None:
        """Give the active conversation that ends first, if there is any."""
        line = self.active
        while line:
            conversation = line[0]
            if conversation.entries == 1 and not conversation.is_terminating:
                return conversation
            conversation.entries -= 1
            line.popleft()
        return None

    def first_terminating(self) -> Conversation | None:
        """Give the terminating conversation that ends first, if there is any."""
        return self.terminating[0] if self.terminating else None

    def first_beating(self) -> Conversation | None:
        """Give the active conversation that is reported next, if there is any."""
        line = self.beats
        while line:
            conversation = line[0]
            if not (conversation.is_ended or conversation.is_terminating):
                return conversation
            line.popleft()
        return None

    def tidy(self, *, always: bool = False) -> None:
        """Remove the entries that do not count, once they are many."""
        limit = -1 if always else _TOLERATED + 4 * self.active_count
        if len(self.beats) > limit:
            self.beats = deque(c for c in self.beats if not (c.is_ended or c.is_terminating))
        if len(self.active) <= limit:
            return
        kept: deque[Conversation] = deque()
        for conversation in self.active:
            if conversation.entries == 1 and not conversation.is_terminating:
                kept.append(conversation)
            else:
                conversation.entries -= 1
        self.active = kept

    def matches(self, keys: Sequence[object]) -> bool:
        """Say whether conversations with these key values belong here."""
        return all(
            _is_selected(name, keys[index], wanted, self._numbers)
            for index, name, wanted in self._selector
        )


def _is_selected(field: str, value: object, wanted: object, numbers: Numbers) -> bool:
    """Compare a key's value with a selector's, converted to the type of the key."""
    match value:
        case str():
            return value == _plain_text(wanted)
        case bool():
            return is_true(wanted) if value else _is_false(wanted)
        case int() | float():
            if numbers == "agent" and field in SMALL_UNSIGNED_FIELDS:
                return go_text(value) == go_text(wanted)
            if numbers == "agent" and (field in UNSIGNED_FIELDS or field in SIGNED_FIELDS):
                return value == _integer(wanted)
            return value == float_of(wanted)
        case _:
            return go_text(None if value is UNSET else value) == go_text(wanted)


def _plain_text(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float_text(float(value))
    return go_text(value)


def _is_false(value: object) -> bool:
    if isinstance(value, str):
        return value in _FALSE
    number = float_of(value)
    return value is False or (number is not None and -1 < number < 1)


def _integer(value: object) -> int | None:
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() else None
    number = float_of(value)
    return None if number is None or number - number != 0 else int(number)
