"""Which records are on their way, message by message, until each is settled."""

from __future__ import annotations

import enum
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from trireme_collector import Record
    from trireme_collector_kafka._errors import KafkaFault
    from trireme_collector_kafka._messages import Message

__all__ = ["Entry", "Shipment", "State", "Window"]


class State(enum.IntEnum):
    """What is known of a message."""

    NEW = 0
    WAITING = 1
    TAKEN = 2
    FAILED = 3


class Shipment:
    """One message on its way.

    Attributes:
        message: The message.
        state: What is known of it.
        fault: Why it failed, if it did.
        alone: Whether it failed for a reason of its own, not for the company it was sent in.
    """

    __slots__ = ("alone", "fault", "message", "state")

    def __init__(self, message: Message) -> None:
        """Start before it was sent."""
        self.message = message
        self.state = State.NEW
        self.fault: KafkaFault | None = None
        self.alone = False

    def settle(self, fault: KafkaFault | None, message: object) -> None:
        """Take the report of its delivery."""
        del message
        if fault is None:
            self.state = State.TAKEN
        else:
            self.state = State.FAILED
            self.fault = fault

    def refuse(self, fault: KafkaFault) -> None:
        """Note that it could not even be sent."""
        self.state = State.FAILED
        self.fault = fault
        self.alone = True

    def reset(self) -> None:
        """Make it one to be sent."""
        self.state = State.NEW
        self.fault = None
        self.alone = False


class Entry:
    """A record and its messages.

    Attributes:
        record: The record.
        shipments: Its messages.
    """

    __slots__ = ("record", "shipments")

    def __init__(self, record: Record, messages: Iterable[Message]) -> None:
        """Start before anything was sent."""
        self.record = record
        self.shipments = tuple(map(Shipment, messages))

    @property
    def is_taken(self) -> bool:
        """Whether all of it was acknowledged."""
        return all(shipment.state is State.TAKEN for shipment in self.shipments)


class Window:
    """The records that were begun and not settled, in the order in which they are given."""

    def __init__(self) -> None:
        """Start empty."""
        self.entries: list[Entry] = []

    def common(self, batch: Sequence[Record]) -> int:
        """Count the entries at the start that a batch goes on with."""
        pairs = zip(self.entries, batch, strict=False)
        known = (entry.record is record or entry.record == record for entry, record in pairs)
        return sum(itertools.takewhile(bool, known))

    def admit(
        self, batch: Sequence[Record], render: Callable[[Record], Iterable[Message]]
    ) -> list[Entry]:
        """Give the entries of a batch that continues, those that are new rendered now."""
        entries = self.entries
        entries.extend([Entry(record, render(record)) for record in batch[len(entries) :]])
        return entries[: len(batch)]

    def shipments(self) -> Iterator[Shipment]:
        """Go through all messages."""
        for entry in self.entries:
            yield from entry.shipments

    def forget(self, count: int) -> None:
        """Drop the first entries: they are settled."""
        del self.entries[:count]

    def start_anew(self, count: int) -> None:
        """Keep the first entries only, and what is known to be taken of them."""
        del self.entries[count:]
        for shipment in self.shipments():
            if shipment.state is not State.TAKEN:
                shipment.reset()
