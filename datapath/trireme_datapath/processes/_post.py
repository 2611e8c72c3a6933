"""A slot as the supervisor keeps it: its queues, its way for records, its counts, its enforcer."""

from __future__ import annotations

import enum
import os
import signal
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from trireme_datapath.backends.netlink import NetlinkQueue
from trireme_datapath.processes._board import EnforcerBoard
from trireme_datapath.processes._enforcer_messages import HeldQueue, Settle, Slot, Take
from trireme_datapath.processes._record_link import open_record_link
from trireme_datapath.processes._state import EnforcerState, PostState

if TYPE_CHECKING:
    from typing import Self

    from trireme_datapath.backends.netlink import QueueSettings
    from trireme_datapath.processes._child import Child
    from trireme_datapath.processes._enforcer_messages import FromEnforcer

__all__ = ["Duty", "Enforcement", "Post"]

_SECOND_NS: Final = 1_000_000_000
_QUICK_NS: Final = _SECOND_NS // 4
_MANY: Final = 2  # deaths at once after taking over, until what was in hand is dropped
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_LONGEST_PAUSE_KILLED: Final = 0.4


class Duty(enum.Enum):
    """What an enforcer does; the value says it to people."""

    PREPARING = "preparing"
    STANDING_BY = "standing by"
    TAKING = "taking over"
    JUDGING = "judging"
    RELEASED = "ending"


class Enforcement:
    """An enforcer, as the supervisor sees it.

    Attributes:
        child: The process.
        duty: What it does.
        since_ns: Since when, by a clock that does not jump.
        edition: The policy that it judges by, with the units that were told of.
        counters: What its engine counted when it last said so.
        post: Where it judges.
        behind_ns: Since when it was to judge by another policy than it does; 0 if it is not.
        told: Whether it was told that it is about to judge.
        expects: Whether it is prepared for that.
    """

    def __init__(self, child: Child[FromEnforcer]) -> None:
        """It was started a moment ago."""
        self.child = child
        self.duty = Duty.PREPARING
        self.since_ns = child.born_ns
        self.edition = ""
        self.counters: dict[str, int] = {}
        self.post: Post | None = None
        self.behind_ns = 0
        self.told = self.expects = False

    @property
    def revision(self) -> str:
        """The revision of the policy that it judges by."""
        return self.edition.partition("+")[0]

    def state(self) -> EnforcerState:
        """Say what the next program has to know of it."""
        return EnforcerState(
            child=self.child.state(),
            duty=self.duty.value,
            slot=-1 if self.post is None else self.post.number,
            edition=self.edition,
            counters=self.counters,
        )

    def enter(self, duty: Duty) -> None:
        """Do something else from now on."""
        self.duty = duty
        self.since_ns = time.monotonic_ns()


class Post:
    """What one enforcer after the other works with.

    Args:
        number: Which slot.
        queues: Its queues, open; those after the first are for packets that open connections.
        record_buffer_bytes: Room for its records.
        accounting: Whether its enforcer follows connections.

    Attributes:
        queues: Its queues.
        board: What its enforcers count.
        enforcer: Who judges; None while nobody does.
        past: What the engines of those before counted.
        vacant_ns: Since when nobody judges.
        deaths: Enforcers that ended and were not told to.
        changes: How often somebody took over.
        longest_pause_ns: For how long nobody judged, at most; set it back as you like.
    """

    def __init__(
        self,
        number: int,
        queues: list[NetlinkQueue],
        *,
        record_buffer_bytes: int,
        accounting: bool,
    ) -> None:
        """Open the way for records."""
        writer, reader = open_record_link(record_buffer_bytes)
        self._begin(number, queues, writer, reader, EnforcerBoard.make(), accounting=accounting)

    @classmethod
    def resumed(cls, state: PostState, settings: QueueSettings) -> Self:
        """Go on with a slot of the program of before.

        Raises:
            DatapathError: A descriptor is not what it should be.
        """
        self = cls.__new__(cls)
        slot = state.slot
        queues = [
            NetlinkQueue.from_socket(one.descriptor, one.number, settings) for one in slot.queues
        ]
        writer, reader = socket.socket(fileno=slot.records), socket.socket(fileno=state.reader)
        self._begin(slot.number, queues, writer, reader, slot.board, accounting=slot.accounting)
        self.past.update(state.past)
        self.deaths, self.changes = state.deaths, state.changes
        return self

    def state(self) -> PostState:
        """Say what the next program has to know of it."""
        return PostState(
            slot=self.slot,
            reader=self.reader.fileno(),
            past=dict(self.past),
            deaths=self.deaths,
            changes=self.changes,
        )

    def _begin(
        self,
        number: int,
        queues: list[NetlinkQueue],
        writer: socket.socket,
        reader: socket.socket,
        board: int,
        *,
        accounting: bool,
    ) -> None:
        self.number = number
        self.queues = queues
        self._writer, self.reader = writer, reader
        self._board_descriptor = board
        self.board = EnforcerBoard(board)
        self._accounting = accounting
        self.enforcer: Enforcement | None = None
        self.past: Counter[str] = Counter()
        self.vacant_ns = time.monotonic_ns()
        self.deaths = 0
        self.changes = 0
        self.longest_pause_ns = 0
        self._quick_deaths = self._crashes = 0
        self._not_before_ns = 0

    @property
    def slot(self) -> Slot:
        """What an enforcer has to know of it."""
        return Slot(
            number=self.number,
            queues=tuple(
                HeldQueue(number=queue.queue_number, descriptor=queue.fileno())
                for queue in self.queues
            ),
            records=self._writer.fileno(),
            board=self._board_descriptor,
            accounting=self._accounting,
        )

    @property
    def judged_by(self) -> Enforcement | None:
        """The enforcer, once it judges."""
        enforcer = self.enforcer
        return enforcer if enforcer is not None and enforcer.duty is Duty.JUDGING else None

    def wants(self, now_ns: int) -> bool:
        """Tell whether somebody may take it now."""
        return self.enforcer is None and now_ns >= self._not_before_ns

    def give(self, enforcer: Enforcement) -> None:
        """Let an enforcer judge from now on."""
        self.enforcer = enforcer
        enforcer.post = self
        enforcer.enter(Duty.TAKING)
        settle = Settle.DROP if self._crashes >= _MANY else Settle.AGAIN
        enforcer.child.send(Take(slot=self.number, settle=settle, adopt=self.changes > 0))

    def taken(self, now_ns: int) -> None:
        """Note that its enforcer judges."""
        self.changes += 1
        self.longest_pause_ns = max(self.longest_pause_ns, now_ns - self.vacant_ns)

    def vacate(self, *, died: bool) -> None:
        """Note that its enforcer is gone.

        Who was killed by somebody else did not die of a packet: what it had in hand is judged by
        the next one, and that one comes soon, however often it happens.

        Args:
            died: Whether it was not told to go.
        """
        enforcer, self.enforcer = self.enforcer, None
        if enforcer is None:
            return
        self.past.update(enforcer.counters)
        self.vacant_ns = now_ns = time.monotonic_ns()
        if not died:
            self._quick_deaths = self._crashes = 0
            return
        self.deaths += 1
        if enforcer.duty is Duty.JUDGING and now_ns - enforcer.since_ns >= _QUICK_NS:
            self._quick_deaths = self._crashes = 0
            return
        killed = enforcer.child.exit_code == -signal.SIGKILL
        self._quick_deaths += 1
        self._crashes = 0 if killed else self._crashes + 1
        beyond = self._quick_deaths - _MANY
        if beyond > 0:
            longest = _LONGEST_PAUSE_KILLED if killed else _LONGEST_PAUSE
            pause = min(longest, _SHORTEST_PAUSE * 2 ** min(beyond, 10))
            self._not_before_ns = now_ns + round(pause * _SECOND_NS)

    def counters(self) -> Counter[str]:
        """Give what the engines counted, those that are gone included.

        What is also on the board is exact, whatever happened; of the rest, the last second of one
        that died is missing.
        """
        total = Counter(self.past)
        if self.enforcer is not None:
            total.update(self.enforcer.counters)
        total["packets"] = self.board.judged
        total["packets_denied"] = self.board.denied
        return total

    def close(self) -> None:
        """Give everything back; packets that wait are dropped by the kernel."""
        for queue in self.queues:
            queue.close()
        self._writer.close()
        self.reader.close()
        self.board.close()
        os.close(self._board_descriptor)
