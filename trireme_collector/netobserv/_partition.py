"""The conversations of one partition, followed so that repeating it gives the same again."""

from __future__ import annotations

import bisect
from collections import deque
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import msgspec

from trireme_collector.errors import ConfigError
from trireme_collector.netobserv._handover import ConversationState
from trireme_collector.netobserv.sharing import PartitionCheckpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector.netobserv._reader import FlowReader
    from trireme_collector.netobserv._stream import ConversationStream
    from trireme_collector.netobserv._tracker import Tracker
    from trireme_collector.netobserv.sharing import Partition, Portion

    _Take: TypeAlias = Callable[[Sequence[bytes], int], list[bytes]]

__all__ = ["Following", "PartitionConversations"]

# Messages of a megabyte are allowed nearly everywhere.
_PIECE_BYTES = 512 * 1024
# Brokers keep 4,096 bytes beside an offset, and the source has to write there, too.
_MAX_NOTE = 3_000


class Following(NamedTuple):
    """What follows the conversations of one partition.

    Attributes:
        tracker: The tracker.
        stream: The stream that feeds it.
        take: Reads values, and gives them to the stream.
        by_time: Whether the flow logs drive the clock themselves.
        reader: What reads values for the stream, if that is not its own reader.
    """

    tracker: Tracker
    stream: ConversationStream
    take: _Take
    by_time: bool
    reader: FlowReader | None = None


_Natural: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class _Note(msgspec.Struct, frozen=True, kw_only=True, rename={"given": "n", "clock_ms": "t"}):
    """What stands beside the offset of a checkpoint."""

    fit: str
    clock_ms: _Natural
    given: _Natural
    moves: list[tuple[_Natural, _Natural]] = []


_encode = msgspec.msgpack.Encoder().encode
_decode_states = msgspec.msgpack.Decoder(list[ConversationState]).decode


class PartitionConversations:
    """Follows the conversations of a partition.

    Nothing but the flow logs, their times and what stands in a checkpoint decides what is given
    out: whoever goes on from a checkpoint gives the same records under the same numbers. Times
    at which the clock was moved without flow logs stand in the checkpoint for that reason.

    Args:
        partition: The partition.
        following: What follows its conversations; new.
        fit: What tells configurations apart that give different records.

    Attributes:
        partition: The partition.
        following: What follows its conversations.
        position: The offset after the last flow log; None before the first.
        given: How many records were given out since the partition began.
        is_kept: Whether nothing has changed since the last checkpoint.
    """

    def __init__(self, partition: Partition, following: Following, fit: str) -> None:
        """Start at the beginning."""
        self.partition = partition
        self.following = following
        self.position: int | None = None
        self.given = 0
        self.is_kept = True
        self._fit = fit
        self._has_checkpoint = False
        # Time and number of the last checkpoint: notes that are put beside it begin there.
        self._kept_clock_ms = self._kept_given = 0
        self._moves: list[tuple[int, int]] = []
        self._repeated: deque[tuple[int, int]] = deque()

    def restore(self, checkpoint: PartitionCheckpoint, *, without_states: bool = False) -> None:
        """Go on from a checkpoint.

        Args:
            checkpoint: The checkpoint.
            without_states: Whether the live conversations are given up.

        Raises:
            ConfigError: The checkpoint is of another configuration, or broken.
        """
        try:
            note = msgspec.json.decode(checkpoint.note, type=_Note)
        except (ValueError, RecursionError) as error:
            msg = (
                f"the checkpoint of {self.partition} cannot be read ({error}); this is a group of"
                " something else, or of a later version: use another group"
            )
            raise ConfigError(msg) from error
        self.position = checkpoint.offset
        self.given = self._kept_given = note.given
        self._kept_clock_ms = note.clock_ms
        self._has_checkpoint = True
        self._moves = note.moves
        self.following.stream.set_clock(note.clock_ms)
        if without_states:
            # What stands in the old checkpoint has nothing to do with what follows.
            self._moves = []
            self._has_checkpoint = self.is_kept = False
            return
        if note.fit != self._fit:
            msg = (
                f"the live conversations of {self.partition} were followed with another"
                " configuration, profile, clock or limit; go back to that, or give them up"
                " with --discard-states"
            )
            raise ConfigError(msg)
        if checkpoint.states is None:
            msg = (
                f"the live conversations of {self.partition} are not where they were kept; if they"
                " cannot be brought back, give them up with --discard-states"
            )
            raise ConfigError(msg)
        self._repeated.extend(note.moves)
        try:
            states = _decode_states(b"".join(checkpoint.states)) if checkpoint.states else []
            self.following.tracker.adopt(states)
        except (ValueError, RecursionError) as error:
            msg = (
                f"the live conversations of {self.partition} cannot be taken up: {error}; give them"
                " up with --discard-states"
            )
            raise ConfigError(msg) from error

    def take(self, portion: Portion) -> list[bytes]:
        """Take flow logs; give records."""
        offsets, times, values = portion.offsets, portion.times_ms, portion.values
        begin = 0 if self.position is None else bisect.bisect_left(offsets, self.position)
        if begin == len(offsets):
            return []
        records: list[bytes] = []
        moves = self._repeated
        while moves and offsets[-1] >= moves[0][0]:
            offset, now_ms = moves.popleft()
            end = bisect.bisect_left(offsets, offset, begin)
            records += self._follow(values[begin:end], times[begin:end])
            records += self.following.stream.tick(now_ms)
            begin = end
        records += self._follow(values[begin:], times[begin:])
        self.position = offsets[-1] + 1
        return self._counted(records)

    def due_ms(self, quiet_ms: int) -> int | None:
        """Say to which time the clock has to be moved after so long without flow logs.

        Returns:
            None if nothing would come of it.
        """
        due_ms = self.following.tracker.due_ms()
        now_ms = self.following.stream.clock.now_ms + quiet_ms
        return now_ms if due_ms is not None and due_ms <= now_ms else None

    @property
    def unkept(self) -> int:
        """How many records were given out after the last checkpoint."""
        return self.given - self._kept_given

    @property
    def repeats(self) -> bool:
        """Whether the clock was moved here before, and was not yet moved again."""
        return bool(self._repeated)

    def repeat(self) -> list[bytes]:
        """Move the clock as it was moved here before; all flow logs until then have come."""
        records: list[bytes] = []
        while self._repeated:
            records += self.following.stream.tick(self._repeated.popleft()[1])
        return self._counted(records)

    def note(self, move_ms: int) -> str | None:
        """Write the note that must stand in the checkpoint before the clock is moved.

        Returns:
            None if it has no place there: a new checkpoint is needed first.
        """
        if not self._has_checkpoint or self.position is None:
            return None
        note = self._note(
            [*self._moves, (self.position, move_ms)], self._kept_clock_ms, self._kept_given
        )
        return note if len(note) <= _MAX_NOTE else None

    def move(self, now_ms: int) -> list[bytes]:
        """Move the clock without flow logs, after `note` was put into the checkpoint."""
        self._moves.append((self.position or 0, now_ms))
        return self._counted(self.following.stream.tick(now_ms))

    def checkpoint(self) -> PartitionCheckpoint | None:
        """Write down all that the next owner needs; None if there is nothing yet."""
        if self.position is None:
            return None
        states = _encode(self.following.tracker.save()) if len(self.following.tracker) else b""
        clock_ms = self.following.stream.clock.now_ms
        return PartitionCheckpoint(
            offset=self.position,
            note=self._note(list(self._repeated), clock_ms, self.given),
            states=tuple(
                states[start : start + _PIECE_BYTES]
                for start in range(0, len(states), _PIECE_BYTES)
            ),
        )

    def keep(self) -> None:
        """Take note that the checkpoint was kept; nothing happened in between."""
        self.is_kept = self._has_checkpoint = True
        self._kept_clock_ms, self._kept_given = self.following.stream.clock.now_ms, self.given
        self._moves = list(self._repeated)

    def _note(self, moves: list[tuple[int, int]], clock_ms: int, given: int) -> str:
        note = _Note(fit=self._fit, clock_ms=clock_ms, given=given, moves=moves)
        return msgspec.json.encode(note).decode()

    def _counted(self, records: list[bytes]) -> list[bytes]:
        self.given += len(records)
        self.is_kept = False
        return records

    def _follow(self, values: Sequence[bytes], times_ms: Sequence[int]) -> list[bytes]:
        values = [v.replace(b"\n", b" ") if b"\n" in v else v for v in values]
        take, stream = self.following.take, self.following.stream
        if self.following.by_time:
            return take(values, 0) if values else []
        clock = stream.clock
        records: list[bytes] = []
        begin = 0
        for index, time_ms in enumerate(times_ms):
            if clock.is_over(time_ms):
                if begin < index:
                    records += take(values[begin:index], clock.now_ms)
                begin = index
                # What ended in the meantime has ended before this flow log.
                records += stream.tick(time_ms)
        if begin < len(values):
            records += take(values[begin:], clock.now_ms)
        return records
