"""A queue without a kernel, for tests: packets in, verdicts and records out.

It has the form of the other backends, and drives either door of the engine, so that a test can
feed both the same packets.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import os
import sys
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from trireme_datapath.engine import DEFAULT_COPY_RANGE
from trireme_datapath.packets import QueuedPacket, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_collector.records import Record
    from trireme_datapath.engine import Engine
    from trireme_datapath.lanes import FastRow, Lane

__all__ = ["Door", "FakeBackend", "FakeVerdict", "fast_row"]

MAX_COPY_RANGE = 0xFFFF - 4
"""The longest payload that a netlink attribute can hold (``struct nlattr``)."""

_unpack_ipv4 = Struct(">BxHxxI2x12sH6xH").unpack_from
_unpack_ipv6 = Struct(">B3xHBx36sH6xH").unpack_from
_ROW_BYTES = 60


class Door(enum.StrEnum):
    """The way into the engine."""

    SINGLE = "single"
    """`Engine.receive`, one packet at a time."""
    BATCH = "batch"
    """`Engine.receive_batch`, and `Engine.receive` for what that hands back."""


class FakeVerdict(NamedTuple):
    """What the kernel would have been told about one packet."""

    verdict: Verdict
    mark: int | None


class FakeBackend:
    """Feeds packets to an engine and keeps what comes back.

    Args:
        engine: The engine.
        packets: What is queued from the beginning; see `feed`.
        door: Which door of the engine to use.
        batch_size: How many packets a drain takes at most, as one system call would.
        copy_range: How many bytes of a packet the engine sees, as with a kernel queue.

    Attributes:
        verdicts: The verdict of each packet by its id, in the order they were given.
    """

    def __init__(
        self,
        engine: Engine,
        packets: Iterable[QueuedPacket | bytes] = (),
        *,
        door: Door | str = Door.SINGLE,
        batch_size: int = 64,
        copy_range: int = DEFAULT_COPY_RANGE,
    ) -> None:
        """Queue the packets; nothing is judged before `drain`."""
        if batch_size < 1 or not 0 < copy_range <= MAX_COPY_RANGE:
            msg = f"batch_size must be above 0 and copy_range between 1 and {MAX_COPY_RANGE}"
            raise ValueError(msg)
        self.verdicts: dict[int, FakeVerdict] = {}
        self._engine = engine
        self._door = Door(door)
        self._batch_size = batch_size
        self._copy_range = copy_range
        self._waiting: deque[QueuedPacket] = deque()
        self._used_ids: set[int] = set()
        self._numbers = itertools.count(1)
        self._lanes: dict[bytes, Lane] = {}
        self._event = -1
        self.feed(*packets)

    def feed(self, *packets: QueuedPacket | bytes) -> None:
        """Queue packets: complete ones, or IP datagrams, which get the next free ids from 1.

        Raises:
            ValueError: A packet id was used before.
        """
        for given in packets:
            packet = given
            if not isinstance(packet, QueuedPacket):
                packet = QueuedPacket(data=bytes(packet), packet_id=self._free_id())
            if packet.packet_id in self._used_ids:
                msg = f"packet id {packet.packet_id} was used before: a verdict would be lost"
                raise ValueError(msg)
            self._used_ids.add(packet.packet_id)
            self._waiting.append(self._cut(packet))
        self._show()

    def fileno(self) -> int:
        """Give a descriptor that is readable while packets wait; it is made when first asked for.

        Packets may be fed from another thread than the one that drains.
        """
        if self._event < 0:
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._show()
        return self._event

    def _show(self) -> None:
        if self._event >= 0 and self._waiting:
            os.eventfd_write(self._event, 1)

    def _hide(self) -> None:
        if self._event < 0:
            return
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event)
        self._show()  # some may be left, or have come meanwhile

    def statistics(self) -> None:
        """Give nothing: there is no kernel that counts."""

    def __len__(self) -> int:
        """Count the packets that wait."""
        return len(self._waiting)

    def drain(self, now_ns: int) -> list[Record]:
        """Judge one batch of waiting packets.

        Args:
            now_ns: Nanoseconds since 1970 UTC.

        Returns:
            What single packets caused; what batches caused is with `Engine.take_records`.
        """
        waiting = self._waiting
        batch = [waiting.popleft() for _ in range(min(len(waiting), self._batch_size))]
        records: list[Record] = []
        if self._door is Door.SINGLE:
            for packet in batch:
                self._receive(packet, now_ns, records)
            self._hide()
            return records
        # A change of the lane ends a run, so that packets keep their order across lanes.
        for key, run in itertools.groupby(batch, _lane_key):
            self._receive_run(key, list(run), now_ns, records)
        self._hide()
        return records

    def drain_all(self, now_ns: int) -> list[Record]:
        """Judge all waiting packets, batch by batch, and give everything that they caused."""
        records: list[Record] = []
        while self._waiting:
            records.extend(self.drain(now_ns))
            records.extend(self._engine.take_records(now_ns))
        return records

    def close(self) -> None:
        """Drop what waits, as a closed queue does."""
        self._waiting.clear()
        if self._event >= 0:
            os.close(self._event)
            self._event = -1

    def _free_id(self) -> int:
        return next(number for number in self._numbers if number not in self._used_ids)

    def _cut(self, packet: QueuedPacket) -> QueuedPacket:
        size = len(packet.data)
        if size <= self._copy_range:
            return packet
        original = max(packet.original_length or 0, size)
        return structs.replace(
            packet, data=packet.data[: self._copy_range], original_length=original
        )

    def _receive(self, packet: QueuedPacket, now_ns: int, records: list[Record]) -> None:
        decision = self._engine.receive(packet, now_ns)
        records.extend(decision.records)
        self.verdicts[packet.packet_id] = FakeVerdict(decision.verdict, decision.mark)

    def _receive_run(
        self, key: bytes, run: list[QueuedPacket], now_ns: int, records: list[Record]
    ) -> None:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._engine.lane(run[0], copy_range=self._copy_range)
        rows = [fast_row(packet, key) for packet in run]
        denied, others = self._engine.receive_batch(rows, lane, key, now_ns)
        refused = set(denied)
        left = set(others)
        for index, packet in enumerate(run):
            if index in left:
                self._receive(packet, now_ns, records)
            elif packet.packet_id in refused:
                verdict = FakeVerdict(lane.denied_verdict, lane.denied_mark)
                self.verdicts[packet.packet_id] = verdict
            else:
                self.verdicts[packet.packet_id] = FakeVerdict(Verdict.ACCEPT, lane.accepted_mark)


def fast_row(packet: QueuedPacket, key: bytes) -> FastRow:
    """Lay a packet out as a kernel message would bring it to the fast door.

    Args:
        packet: The packet, cut to the copy range.
        key: The bytes that tell its lane.
    """
    attribute_length = 4 + len(packet.data)
    if sys.byteorder == "little":
        attribute_length = (attribute_length & 0xFF) << 8 | attribute_length >> 8
    data = packet.data[:_ROW_BYTES].ljust(_ROW_BYTES, b"\0")
    if data[0] >> 4 == 6:
        first, length, protocol, flow_key, udp_length, tcp_word = _unpack_ipv6(data)
        total = length + 40
    else:
        first, total, protocol, flow_key, udp_length, tcp_word = _unpack_ipv4(data)
    return (
        packet.packet_id,
        key,
        attribute_length,
        first,
        total,
        protocol,
        flow_key,
        udp_length,
        tcp_word,
    )


def _lane_key(packet: QueuedPacket) -> bytes:
    """Stand for everything that messages of one lane have in common."""
    version = packet.data[0] >> 4 if packet.data else 0
    parts = (version, packet.hook, packet.indev, packet.outdev, packet.mark, packet.uid, packet.gid)
    return repr(parts).encode()
