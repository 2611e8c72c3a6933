"""The table of live conversations: what each flow log changes, and what time does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import UNSET

from trireme_collector.netobserv._account import Account
from trireme_collector.netobserv._adder import compile_adder
from trireme_collector.netobserv._conversation_record import conversation_record
from trireme_collector.netobserv._flags import FIN, SYN_ACK, flags_of, is_closing, is_reset
from trireme_collector.netobserv._go_values import float_of, integral, is_true
from trireme_collector.netobserv._groups import Conversation, Group, Path
from trireme_collector.netobserv._handover import (
    ConversationState,
    conversation_of,
    insert,
    state_of,
)
from trireme_collector.netobserv._paths import PathCache
from trireme_collector.netobserv._plan import Plan, Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trireme_collector.netobserv._config import Profile, TrackingConfig
    from trireme_collector.netobserv._hash import Numbers
    from trireme_collector.netobserv._plan import Extreme

__all__ = ["DEFAULT_MAX_CONVERSATIONS", "ConversationTable"]

DEFAULT_MAX_CONVERSATIONS = 500_000
"""How many conversations the default profile keeps if nothing else is said: half a gigabyte."""

SourceT = TypeVar("SourceT")

_EXACT = 2**53
_MAX_COUNTER = 2**63 - 1
_SIDE_A, _SIDE_B = 1, 2


class ConversationTable:
    """Conversations, and the rules by which they begin, grow and end.

    Attributes:
        plan: What the configuration means for a row.
        account: What is counted.
        groups: The scheduling groups.
    """

    def __init__(
        self, config: TrackingConfig, profile: Profile, numbers: Numbers, limit: int
    ) -> None:
        """Start empty.

        Args:
            config: A checked configuration.
            profile: Whose rules apply.
            numbers: With which types numbers got in.
            limit: How many conversations are kept at most; 0 for any number.
        """
        self.plan = Plan(config, profile, numbers)
        self.account = Account()
        keys = config.key_definition.fields
        self.groups = [
            Group(index, group, keys, numbers) for index, group in enumerate(config.scheduling)
        ]
        self._paths = PathCache(config.key_definition, numbers, self.plan.protocol)
        self._conversations: dict[int, Conversation] = {}
        self._strict = profile == "strict"
        self._limit = limit
        self._now_ns = 0
        self._two_sided = bool(config.key_definition.hash.field_group_a_ref)
        self._detects_end = config.tcp_flags.detect_end_connection
        self._swaps = config.tcp_flags.swap_ab
        self._has_float_flags = self._strict and self.plan.is_float(config.tcp_flags.field_name)
        types = config.output_record_types
        self.gives_flow_logs = "flowLog" in types
        self._gives_new = "newConnection" in types
        self._gives_end = "endConnection" in types
        self._gives_heartbeats = "heartbeat" in types
        exact = range(-_EXACT, _EXACT + 1)
        # Strictly, what can be added without a closer look is what a float holds.
        sums = exact if self._strict else range(_MAX_COUNTER + 1)
        self._add_ab, self._add_ba = (
            compile_adder(self.plan, side, sums=sums, extremes=exact, convert=self._number)
            for side in (self.plan.ab, self.plan.ba)
        )

    def __len__(self) -> int:
        """Count the live conversations."""
        return len(self._conversations)

    def set_clock(self, now_ms: int) -> None:
        """Set the time that everything is measured with.

        The default profile never goes back: a clock that is set back would keep conversations
        alive until it has caught up.
        """
        now_ns = now_ms * 1_000_000
        if now_ns < self._now_ns and not self._strict:
            self.account.clock_reversals += 1
            return
        self._now_ns = now_ns

    def observe(
        self,
        items: Iterable[tuple[tuple[object, ...] | None, Sequence[Any], SourceT]],
        give_flow_log: Callable[[SourceT, Sequence[object], str], None],
        give: Callable[[dict[str, object]], None],
    ) -> None:
        """Take flow logs.

        Args:
            items: For each, the key of its row if that can be compared, the row, and the flow log.
            give_flow_log: Takes the flow log, its row and its id; an empty id if it has none.
            give: Takes a conversation record.
        """
        plan, account, paths = self.plan, self.account, self._paths
        duplicate = plan.duplicate
        gives_flow_logs = self.gives_flow_logs
        conversation_of = self._conversations.get
        apply = self._apply
        path_of = paths.young.get
        paths.fit(len(self._conversations))
        updates = duplicates = given = 0
        for key, row, source in items:
            path = path_of(key)  # type: ignore[arg-type]  # None is never among them
            if path is None:
                path = paths.find(key, row, null_is_absent=not self._strict)
                path_of = paths.young.get
            if path.refusal:
                account.inputs[path.refusal] += 1
                if not self._strict and gives_flow_logs:
                    give_flow_log(source, row, "")
                    given += 1
                continue
            if path.missing:
                account.hash_errors.update(("MissingFieldError", name) for name in path.missing)
            mark = row[duplicate]
            if mark is not UNSET and mark is not False and is_true(mark):
                duplicates += 1
            else:
                conversation = path.conversation
                if conversation is None or conversation.is_ended:
                    conversation = path.conversation = conversation_of(path.total)
                if conversation is not None:
                    updates += 1
                    apply(conversation, row, path)
                else:
                    self._open(row, path, give)
            if gives_flow_logs:
                give_flow_log(source, row, path.text)
                given += 1
        if updates:
            account.inputs["update"] += updates
        if duplicates:
            account.inputs["duplicate"] += duplicates
        if given:
            account.outputs["flowLog"] += given

    def _open(
        self, row: Sequence[Any], path: Path, give: Callable[[dict[str, object]], None]
    ) -> None:
        """Begin a conversation, if there is room."""
        account = self.account
        if self._limit and len(self._conversations) >= self._limit:
            if self._strict:
                account.inputs["discarded"] += 1
                return
            self._evict(give)
        plan = self.plan
        keys, side = path.keys, path.side
        if self._swaps and self._flags(row) & SYN_ACK:
            account.actions["swapAB"] += 1
            keys = tuple([keys[index] for index in plan.swapped])
            side = path.other_side
        number, group = next(pair for pair in enumerate(self.groups) if pair[1].matches(keys))
        total = path.total
        conversation = Conversation(total, path.text, side, keys, plan.initial.copy(), number)
        self._conversations[total] = path.conversation = conversation
        group.active_count += 1
        if self._gives_heartbeats:
            conversation.beat_ns = self._now_ns + group.heartbeat_ns
            group.beats.append(conversation)
        slots = conversation.slots
        for index, slot in plan.firsts:
            value = row[index]
            slots[slot] = None if value is UNSET else value
        self._apply(conversation, row, path)
        account.inputs["newConnection"] += 1
        if self._gives_new:
            self._give(conversation, "newConnection", give)

    def _apply(self, conversation: Conversation, row: Sequence[Any], path: Path) -> None:
        """Add a flow log to its conversation, and put off its end or bring it near."""
        is_ab = not self._two_sided or conversation.side == path.side
        (self._add_ab if is_ab else self._add_ba)(conversation.slots, row)
        if (
            self._detects_end
            and (flags := self._flags(row))
            and self._ends(conversation, flags, is_ab=is_ab)
        ):
            self._terminate(conversation)
        elif not conversation.is_terminating:
            group = self.groups[conversation.group]
            conversation.expiry_ns = self._now_ns + group.end_timeout_ns
            conversation.entries += 1
            group.active.append(conversation)

    def _flags(self, row: Sequence[Any]) -> int:
        flags = row[self.plan.flags]
        if type(flags) is int and 0 <= flags <= 0xFFFF:
            return flags
        if self._has_float_flags and type(flags) is int:
            flags = float_of(flags)
        return flags_of(flags, with_names=not self._strict)

    def _ends(self, conversation: Conversation, flags: int, *, is_ab: bool) -> bool:
        """Say whether a flow log with these flags ends its conversation."""
        if self._strict:
            # The kernel side reports FIN and ACK as one flag of its own, so this is rarely seen.
            return bool(flags & FIN)
        if is_reset(flags):
            return True
        if not is_closing(flags):
            return False
        conversation.closed_sides |= _SIDE_A if is_ab else _SIDE_B
        return not self._two_sided or conversation.closed_sides == _SIDE_A | _SIDE_B

    def _terminate(self, conversation: Conversation) -> None:
        self.account.actions["detectEndConnection"] += 1
        if conversation.is_terminating:
            return
        group = self.groups[conversation.group]
        conversation.is_terminating = True
        conversation.expiry_ns = self._now_ns + group.terminating_timeout_ns
        group.active_count -= 1
        group.terminating_count += 1
        group.terminating.append(conversation)

    def _number(self, value: object, of: Sum | Extreme) -> float | int | None:
        """Make a number of a value that is not an ordinary integer.

        Returns:
            None if the flow log does not count for this field.
        """
        errors = self.account.aggregator_errors
        times = len(of.slots) if isinstance(of, Sum) else 1
        if value is UNSET or (value is None and not self._strict):
            if of.report_missing:
                errors["MissingFieldError", of.field] += times
                return None
            return 0.0 if self._strict else None
        number = float_of(value)
        if self._strict:
            if number is None:
                errors["Float64ConversionError", of.field] += times
            return number
        if number is None or not math.isfinite(number):
            errors["Float64ConversionError", of.field] += times
            return None
        if isinstance(of, Sum) and not 0 <= number <= _MAX_COUNTER:
            # A counter that went backwards, or did so without a sign: both would spoil the sum.
            errors["CounterReversalError", of.field] += times
            return None
        return value if isinstance(value, int) else integral(number)

    def _evict(self, give: Callable[[dict[str, object]], None]) -> None:
        """End the conversation that would end first: one whose end was seen, if there is any."""
        fronts = [first for group in self.groups if (first := group.first_terminating())] or [
            first for group in self.groups if (first := group.first_active())
        ]
        self._end(min(fronts, key=lambda first: first.expiry_ns), "evicted", give)

    def advance(self, give: Callable[[dict[str, object]], None]) -> None:
        """Give the ends and heartbeats that are due."""
        now_ns = self._now_ns
        ends = self.account.ends
        for group in self.groups:
            ends[group.label, "FIN_flag"] += 0
            ends[group.label, "timeout"] += 0
            group.tidy()
            while (first := group.first_terminating()) and now_ns > first.expiry_ns:
                self._end(first, "FIN_flag", give)
            while (first := group.first_active()) and now_ns > first.expiry_ns:
                self._end(first, "timeout", give)
        if self._gives_end:
            self.account.outputs["endConnection"] += 0
        if self._gives_heartbeats:
            self.account.outputs["heartbeat"] += 0
            for group in self.groups:
                self._beat(group, give)

    def _beat(self, group: Group, give: Callable[[dict[str, object]], None]) -> None:
        now_ns, line = self._now_ns, group.beats
        # Each at most once, whatever the interval.
        for _ in range(len(line)):
            conversation = group.first_beating()
            if conversation is None or now_ns <= conversation.beat_ns:
                break
            conversation.beat_ns = now_ns + group.heartbeat_ns
            line.rotate(-1)
            self._give(conversation, "heartbeat", give)

    def due_ns(self) -> int | None:
        """Say later than which time something ends or beats next; None if nothing lives."""
        times: list[int] = []
        for group in self.groups:
            fronts = (group.first_terminating(), group.first_active())
            times += [first.expiry_ns for first in fronts if first is not None]
            if self._gives_heartbeats and (first := group.first_beating()) is not None:
                times.append(first.beat_ns)
        return min(times, default=None)

    def flush(self, give: Callable[[dict[str, object]], None], at_most: int | None = None) -> None:
        """End every conversation now, or some of them."""
        left = len(self._conversations) if at_most is None else at_most
        for group in self.groups:
            while left and (first := group.first_terminating() or group.first_active()):
                self._end(first, "flush", give)
                left -= 1

    def save(self) -> list[ConversationState]:
        """Write down every live conversation."""
        keys = self.plan.keys
        states: list[ConversationState] = []
        for group in self.groups:
            group.tidy(always=True)
            places = {id(conversation): place for place, conversation in enumerate(group.beats)}
            states += [
                state_of(conversation, keys, places.get(id(conversation), 0))
                for conversation in (*group.terminating, *group.active)
            ]
        return states

    def adopt(self, states: Iterable[ConversationState]) -> None:
        """Take up conversations.

        Raises:
            ValueError: A state is of another configuration, or of a live conversation.
        """
        initial = self.plan.initial
        taken: dict[int, tuple[Conversation, int]] = {}
        for state in states:
            conversation = conversation_of(state, self.plan.keys, initial)
            if not 0 <= conversation.group < len(self.groups):
                msg = f"the state of conversation {state.id} is of another configuration"
                raise ValueError(msg)
            if conversation.total in self._conversations or conversation.total in taken:
                msg = f"conversation {state.id} is live already"
                raise ValueError(msg)
            taken[conversation.total] = conversation, state.beat_place
        self._conversations.update({total: pair[0] for total, pair in taken.items()})
        for number, group in enumerate(self.groups):
            mine = [pair for pair in taken.values() if pair[0].group == number]
            insert(group, mine, gives_heartbeats=self._gives_heartbeats)

    def _end(
        self, conversation: Conversation, reason: str, give: Callable[[dict[str, object]], None]
    ) -> None:
        """End a conversation, which is the first of its line."""
        group = self.groups[conversation.group]
        if conversation.is_terminating:
            group.terminating.popleft()
            group.terminating_count -= 1
        else:
            group.active.popleft()
            group.active_count -= 1
        del self._conversations[conversation.total]
        conversation.is_ended = True
        self.account.ends[group.label, reason] += 1
        if self._gives_end:
            self._give(conversation, "endConnection", give)
        # A path or a line may refer to it for a while.
        conversation.keys = ()
        conversation.slots = []

    def _give(
        self, conversation: Conversation, kind: str, give: Callable[[dict[str, object]], None]
    ) -> None:
        self.account.outputs[kind] += 1
        give(conversation_record(self.plan, conversation, kind))
