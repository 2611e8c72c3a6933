"""A queue for tests that takes packets as text, with or without an engine behind it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from msgspec import structs

from trireme_datapath.backends.fake import Door, FakeBackend, FakeVerdict
from trireme_datapath.engine import DEFAULT_COPY_RANGE
from trireme_datapath.loop import dispatch
from trireme_datapath.packets import QueuedPacket, Verdict
from trireme_datapath.testing._crafting import craft
from trireme_datapath.testing._policies import compiled, engine_for
from trireme_datapath.testing._script import SECOND_NS, START_NS

if TYPE_CHECKING:
    from typing import Self

    from trireme_collector.collector import EventCollector
    from trireme_collector.delivery import Clock
    from trireme_collector.records import Record
    from trireme_datapath.engine import Engine
    from trireme_datapath.testing._policies import PolicySource

__all__ = ["FakeQueue"]


class FakeQueue:
    """A queue without a kernel: packets in, verdicts and records out.

    It is a backend, and at the same time what opens one::

        queue = FakeQueue("tcp 192.0.2.1:1000 > 10.0.0.2:80 S")
        with Datapath("policy.toml", queue) as datapath:
            records = datapath.judge()
        assert queue.verdicts == [Verdict.ACCEPT]

    Without a datapath around it, `enforce` puts a policy behind it and `judge` runs it.

    Args:
        *packets: What is queued from the beginning; see `feed`.
        door: Which door of the engine to use.
        batch_size: How many packets one drain takes at most.
        copy_range: How many bytes of a packet the engine sees.
        clock: What `judge` asks for the time, such as a `FakeClock`; without it each call is one
            second later than the one before.
    """

    def __init__(
        self,
        *packets: QueuedPacket | bytes | str,
        door: Door | str = Door.SINGLE,
        batch_size: int = 64,
        copy_range: int = DEFAULT_COPY_RANGE,
        clock: Clock | None = None,
    ) -> None:
        """Queue the packets; nobody judges them yet."""
        self._door = Door(door)
        self._batch_size = batch_size
        self._copy_range = copy_range
        self._clock = clock
        self._now_ns = START_NS
        self._early: list[QueuedPacket] = []
        self._ids: set[int] = set()
        self._numbers = itertools.count(1)
        self._backend: FakeBackend | None = None
        self._engine: Engine | None = None
        self.is_closed = False
        self.feed(*packets)

    def __call__(self, engine: Engine) -> Self:
        """Put an engine behind the queue, as whoever opens a queue does.

        Raises:
            ValueError: Another engine is behind it already.
        """
        if self._backend is not None:
            raise ValueError("this queue has an engine already; make a queue for each engine")
        self._engine = engine
        self._backend = FakeBackend(
            engine,
            self._early,
            door=self._door,
            batch_size=self._batch_size,
            copy_range=self._copy_range,
        )
        self._early = []
        return self

    def enforce(self, policy: PolicySource) -> Self:
        """Put a policy in force: with an engine of its own, or in the one behind the queue.

        Raises:
            ConfigError: The policy cannot be read, or has mistakes.
        """
        if self._engine is None:
            self(engine_for(policy))
        else:
            self._engine.replace_policy(compiled(policy))
        return self

    def feed(self, *packets: QueuedPacket | bytes | str) -> None:
        """Queue packets: complete ones, IP datagrams, or lines of text as in a packet script.

        Raises:
            ScriptError: A line cannot be read.
            ValueError: A packet id was used before.
        """
        for given in packets:
            packet = self._packet(given)
            if packet.packet_id in self._ids:
                raise ValueError(
                    f"packet id {packet.packet_id} was used before: a verdict would be lost"
                )
            self._ids.add(packet.packet_id)
            if self._backend is None:
                self._early.append(packet)
            else:
                self._backend.feed(packet)

    def judge(self, collector: EventCollector | None = None) -> list[Record]:
        """Judge everything that waits.

        Args:
            collector: Who gets the records, besides the caller.

        Returns:
            What the packets caused, and what is due by now.
        """
        if self._clock is None:
            self._now_ns += SECOND_NS
        else:
            self._now_ns = self._clock.time_ns()
        backend, engine = self._attached()
        records = backend.drain_all(self._now_ns)
        records += engine.take_records(self._now_ns)
        if collector is not None:
            for record in records:
                dispatch(collector, record)
        return records

    @property
    def engine(self) -> Engine:
        """The engine behind it."""
        return self._attached()[1]

    @property
    def decisions(self) -> list[FakeVerdict]:
        """The verdict and the mark of each packet, in the order in which they were judged."""
        return [] if self._backend is None else list(self._backend.verdicts.values())

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdict of each packet, in the order in which they were judged."""
        return [decision.verdict for decision in self.decisions]

    @property
    def marks(self) -> list[int | None]:
        """The mark that each packet got, None where it was left alone."""
        return [decision.mark for decision in self.decisions]

    def verdict(self, packet_id: int) -> FakeVerdict:
        """Give the verdict and the mark of one packet.

        Raises:
            KeyError: It was not judged.
        """
        return self._attached()[0].verdicts[packet_id]

    # What a backend has.

    def fileno(self) -> int:
        """Give a descriptor that is readable while packets wait."""
        return self._attached()[0].fileno()

    def drain(self, now_ns: int) -> list[Record]:
        """Judge one batch of what waits.

        Args:
            now_ns: Nanoseconds since 1970 UTC.
        """
        return self._attached()[0].drain(now_ns)

    def statistics(self) -> None:
        """Give nothing: there is no kernel that counts."""

    def close(self) -> None:
        """Drop what waits; verdicts that were given can still be read."""
        self.is_closed = True
        self._early.clear()
        if self._backend is not None:
            self._backend.close()

    def __len__(self) -> int:
        """Count the packets that wait."""
        return len(self._early) if self._backend is None else len(self._backend)

    def __bool__(self) -> bool:
        """Be there, even when nothing waits."""
        return True

    def _attached(self) -> tuple[FakeBackend, Engine]:
        if self._backend is None or self._engine is None:
            raise ValueError(
                "no engine is behind this queue: give it to a Datapath, or call enforce(policy)"
            )
        return self._backend, self._engine

    def _packet(self, given: QueuedPacket | bytes | str) -> QueuedPacket:
        packet = craft(given) if isinstance(given, str) else given
        if not isinstance(packet, QueuedPacket):
            packet = QueuedPacket(data=bytes(packet))
        if packet.packet_id:
            return packet
        free = next(number for number in self._numbers if number not in self._ids)
        return structs.replace(packet, packet_id=free)
