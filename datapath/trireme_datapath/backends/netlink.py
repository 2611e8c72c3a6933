"""Packets from the kernel's queue over a plain netlink socket, many per system call.

A drain takes what waits with one receive, judges it through the engine's fast door, and answers
with one send: first the packets that get a verdict of their own, then one batch verdict that
accepts the rest. A batch verdict releases **every** waiting packet up to its id, so three rules
hold everywhere below:

* whatever is not to be accepted gets its own verdict earlier in the same buffer;
* a packet whose id can not be read makes every other verdict of its batch a single one;
* packets that were received and never got a verdict (a former owner of the socket died, a send
  failed, a signal came in between) are dropped before the next batch verdict.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

from trireme_datapath.backends._errors import QueueBusyError
from trireme_datapath.backends._interfaces import InterfaceNames
from trireme_datapath.backends._netlink_batch import Batch
from trireme_datapath.backends._netlink_codec import (
    MessageError,
    PacketMessage,
    batch_verdict,
    parse_message,
)
from trireme_datapath.backends._netlink_kinds import Kinds
from trireme_datapath.backends._netlink_layout import PACKET_ID
from trireme_datapath.backends._netlink_socket import NetlinkQueue, QueueSettings
from trireme_datapath.backends._netlink_verdicts import wanted_packets
from trireme_datapath.backends._queue_statistics import QueueStatistics, read_statistics
from trireme_datapath.backends._receive_ring import ReceiveRing
from trireme_datapath.packets import QueuedPacket, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from trireme_collector.records import Record
    from trireme_datapath.backends._netlink_kinds import Kind
    from trireme_datapath.engine import Engine
    from trireme_datapath.lanes import FastRow
    from trireme_datapath.packets import JudgedPackets

__all__ = [
    "MAX_BATCHES",
    "OPENING_BATCHES",
    "NetlinkBackend",
    "NetlinkQueue",
    "QueueBusyError",
    "QueueSettings",
    "QueueStatistics",
]

_SLOTS: Final = 64  # the gain of larger batches is below the noise; 20 kB stay in the first cache
_ATTRIBUTE_ROOM: Final = 192  # headers and every attribute that we let the kernel send
_SLOT_STEP: Final = 64
# What waits longer than this many batches waits for the next drain: the caller's other work
# (records, signals) must not starve under a flood.
MAX_BATCHES: Final = 8
OPENING_BATCHES: Final = 4  # of a queue that must not keep another waiting: a millisecond or two
# The kernel is short of memory for a moment; anything else means that the socket is dead.
_PASSING: Final = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EINTR})


class NetlinkBackend:
    """Feeds one queue to an engine.

    Attributes:
        queue: The queue.
        judged: Is shown every batch of packets with their verdicts, while somebody watches.
        counters: What was done: ``packets``, ``batches``, ``single_packets`` (judged by the
            general door), ``judge_errors`` (dropped because the engine raised),
            ``batch_errors`` (the engine raised on a batch, its packets were judged singly),
            ``watcher_errors`` (`judged` raised), ``malformed_messages``,
            ``unknown_packet_ids`` (the kernel knew a verdict's packet no more),
            ``kernel_errors``, ``receive_overruns``, ``send_errors``.
    """

    def __init__(
        self,
        queue: NetlinkQueue,
        engine: Engine,
        *,
        interfaces: InterfaceNames | None = None,
        inherited: bool = False,
        max_batches: int = MAX_BATCHES,
    ) -> None:
        """Feed an open queue; see also `open` and `from_socket`.

        Args:
            queue: The open queue; closed with the backend.
            engine: Who judges.
            interfaces: Names of interfaces; asked of the system when not given.
            inherited: Another process may have taken packets from the queue without a verdict.
            max_batches: How many batches a drain judges; what waits longer waits for the next.
        """
        room = queue.settings.copy_range + _ATTRIBUTE_ROOM
        self.queue = queue
        self.counters: Counter[str] = Counter()
        self._engine = engine
        self._interfaces = interfaces or InterfaceNames()
        self._ring = ReceiveRing(_SLOTS, -(-room // _SLOT_STEP) * _SLOT_STEP)
        self._kinds = Kinds(
            engine,
            queue.queue_number,
            copy_range=queue.settings.copy_range,
            slot_size=self._ring.slot_size,
        )
        # Packets may wait that were received and got no verdict: see `_drop_forgotten`.
        self._forgotten = inherited
        self._max_batches = max_batches
        self.judged: JudgedPackets | None = None

    @classmethod
    def open(cls, queue_number: int, engine: Engine, settings: QueueSettings | None = None) -> Self:
        """Bind a queue and feed it to an engine.

        Raises:
            QueueBusyError: Another socket holds the queue.
            PrivilegeError: CAP_NET_ADMIN or the module nfnetlink_queue is missing.
            DatapathError: A setting is not possible, or the kernel refuses it.
        """
        return cls(NetlinkQueue.open(queue_number, settings), engine)

    @classmethod
    def from_socket(
        cls,
        descriptor: int,
        queue_number: int,
        engine: Engine,
        settings: QueueSettings | None = None,
    ) -> Self:
        """Take over a socket that holds the queue already, and feed the queue to an engine.

        Packets that still wait in the socket are judged. Those that the former owner read and
        did not judge are dropped; their senders send them again.

        Raises:
            DatapathError: The descriptor is no netfilter netlink socket.
        """
        queue = NetlinkQueue.from_socket(descriptor, queue_number, settings)
        return cls(queue, engine, inherited=True)

    def fileno(self) -> int:
        """Give the descriptor: readable when packets wait."""
        return self.queue.fileno()

    def drain(self, now_ns: int) -> list[Record]:
        """Judge what waits, without waiting for more.

        Args:
            now_ns: Nanoseconds since 1970 UTC.

        Returns:
            What single packets caused; what batches caused is with `Engine.take_records`.

        Raises:
            OSError: The socket is of no use any more, or the kernel refuses verdicts from us.
        """
        records: list[Record] = []
        if self._interfaces.refresh(now_ns):
            self._kinds.forget()
        if self.queue.early:
            self._judge_early(now_ns, records)
        ring, descriptor = self._ring, self.queue.fileno()
        for _ in range(self._max_batches):
            forgotten = self._forgotten
            # Whatever interrupts this turn, an exception of a signal handler included: the next
            # one knows that packets were left without a verdict.
            self._forgotten = True
            try:
                count = ring.receive(descriptor)
            except OSError as error:
                self._forgotten = forgotten
                if error.errno != errno.ENOBUFS:
                    raise
                self.counters["receive_overruns"] += 1
                continue
            if not count:
                self._forgotten = forgotten
                break
            verdicts = self._judge(count, now_ns, records)
            if forgotten:
                verdicts = self._drop_forgotten(count) + verdicts
            if not verdicts or self._send(verdicts):
                self._forgotten = False
            if self.judged is not None:
                self._show(self.judged, count, verdicts, now_ns)
            if count < ring.slots:
                break
        return records

    def statistics(self) -> QueueStatistics | None:
        """Read the kernel's own counters of the queue; None where they can not be read."""
        return read_statistics().get(self.queue.queue_number)

    def close(self) -> None:
        """Give the queue back."""
        self._kinds.forget()
        self.queue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # One batch.

    def _judge(self, count: int, now_ns: int, records: list[Record]) -> bytes:
        """Judge the filled slots; give the verdicts in the order in which they must be sent."""
        ring = self._ring
        counters = self.counters
        counters["batches"] += 1
        kinds = self._kinds.known
        if not kinds:
            return self._judge_mixed(
                count, range(count), Batch(self.queue.queue_number, self._ring, records), now_ns
            )
        kind = kinds[0]
        rows = kind.layout.rows(ring.buffer[: count * ring.slot_size])
        denied, rest = self._judge_rows(rows, kind, count, now_ns)
        if rest:
            batch = Batch(self.queue.queue_number, self._ring, records)
            batch.settle(kind, denied, range(count), rest)
            return self._judge_mixed(count, rest, batch, now_ns)
        counters["packets"] += count
        last = (count - 1) * ring.slot_size + PACKET_ID
        head, tail = kind.accept_batch
        accept = head + ring.buffer[last : last + 4] + tail
        if not denied:
            return accept
        if len(denied) == count:
            lane = kind.lane
            number = self.queue.queue_number
            return batch_verdict(number, denied[-1], lane.denied_verdict, lane.denied_mark)
        return kind.deny(denied) + accept

    def _judge_rows(
        self, rows: Iterable[FastRow], kind: Kind, count: int, now_ns: int
    ) -> tuple[list[int], Sequence[int]]:
        try:
            return self._engine.receive_batch(rows, kind.lane, kind.layout.key, now_ns)
        except Exception:  # noqa: BLE001  no packet may stop the others: they are judged singly
            self.counters["batch_errors"] += 1
            return [], range(count)

    def _judge_mixed(self, count: int, rest: Sequence[int], batch: Batch, now_ns: int) -> bytes:
        """Judge the slots that the first pass left, by other kinds and then one by one."""
        kinds = self._kinds
        ring = self._ring
        tried = set(kinds.known[:1])
        most, best = count - len(rest), None
        singles: list[int] = []
        while rest:
            message = ring.message(rest[0])
            kind = kinds.of(message)
            if kind is None or kind in tried:
                singles.append(rest[0])
                rest = rest[1:]
                continue
            tried.add(kind)
            rows = kind.layout.rows_at(ring.buffer, rest)
            denied, others = self._judge_rows(rows, kind, len(rest), now_ns)
            batch.settle(kind, denied, rest, [rest[index] for index in others])
            if len(rest) - len(others) > most:
                most, best = len(rest) - len(others), kind
            rest = [rest[index] for index in others]
        if best is not None:
            kinds.prefer(best)
        for index in singles:
            self._judge_slot(index, batch, now_ns)
        verdicts, judged = batch.close(count)
        self.counters["packets"] += judged
        return verdicts

    def _judge_slot(self, index: int, batch: Batch, now_ns: int) -> None:
        message = self._ring.message(index)
        packet = self._read(message, batch)
        if packet is None:
            batch.others.add(index)
            return
        queued = self._queued(packet)
        self._kinds.learn(message, queued)
        self._judge_single(queued, batch, now_ns)

    def _read(self, message: memoryview | bytes, batch: Batch) -> PacketMessage | None:
        """Read a message; count, and deny if possible, what is no packet that can be judged."""
        try:
            parsed = parse_message(message)
        except MessageError as error:
            self.counters["malformed_messages"] += 1
            if error.packet_id is None:
                batch.blind = True
            else:
                batch.judge(error.packet_id, Verdict.DROP, None)
            return None
        if isinstance(parsed, PacketMessage):
            return parsed
        if parsed.errno:
            gone = parsed.errno == errno.ENOENT
            self.counters["unknown_packet_ids" if gone else "kernel_errors"] += 1
            if parsed.errno == errno.EPERM:
                # No verdict is heeded any more: better to end than to judge for nobody.
                raise PermissionError(errno.EPERM, "CAP_NET_ADMIN was lost")
        return None

    def _judge_single(self, queued: QueuedPacket, batch: Batch, now_ns: int) -> None:
        self.counters["single_packets"] += 1
        try:
            decision = self._engine.receive(queued, now_ns)
        except Exception:  # noqa: BLE001  no packet may stop the others: this one is dropped
            self.counters["judge_errors"] += 1
            batch.judge(queued.packet_id, Verdict.DROP, None)
            return
        batch.records.extend(decision.records)
        if decision.verdict is not Verdict.ACCEPT or decision.mark is not None:
            batch.judge(queued.packet_id, decision.verdict, decision.mark)

    def _judge_early(self, now_ns: int, records: list[Record]) -> None:
        """Judge what came while the queue was configured."""
        messages, self.queue.early = self.queue.early, []
        batch = Batch(self.queue.queue_number, self._ring, records)
        for message in messages:
            packet = self._read(message, batch)
            if packet is not None:
                self.counters["packets"] += 1
                self._judge_single(self._queued(packet), batch, now_ns)
                if packet.packet_id not in batch.own_ids:
                    batch.judge(packet.packet_id, Verdict.ACCEPT, None)
        if not self._send(b"".join(batch.own)):
            self._forgotten = True

    def _drop_forgotten(self, count: int) -> bytes:
        """Deny every packet that waits from before this batch.

        It was received, by us or by a former owner of the socket, and never got a verdict. The
        batch verdict at the end of this batch would let it pass unjudged.
        """
        for index in range(count):
            try:
                packet = parse_message(self._ring.message(index))
            except MessageError:
                continue
            if isinstance(packet, PacketMessage):
                before = (packet.packet_id - 1) & 0xFFFFFFFF
                return batch_verdict(self.queue.queue_number, before, Verdict.DROP)
        return b""

    def _send(self, messages: bytes) -> bool:
        """Send verdicts; False when the kernel did not take them."""
        for _ in range(2):
            try:
                self.queue.send(messages)
            except OSError as error:
                if error.errno not in _PASSING:
                    raise
                self.counters["send_errors"] += 1
            else:
                return True
        return False

    # Those who watch.

    def _show(self, judged: JudgedPackets, count: int, verdicts: bytes, now_ns: int) -> None:
        try:
            wanted = wanted_packets(judged, self._ring, count, verdicts)
            judged.take(((self._queued(one), found) for one, found in wanted), now_ns)
        except Exception:  # noqa: BLE001  who only watches may not disturb the judging
            self.counters["watcher_errors"] += 1

    def _queued(self, packet: PacketMessage) -> QueuedPacket:
        name = self._interfaces.name
        return QueuedPacket(
            data=packet.payload,
            original_length=packet.captured_of,
            hook=packet.hook,
            indev=name(packet.physical_indev or packet.indev),
            outdev=name(packet.physical_outdev or packet.outdev),
            mark=packet.mark,
            uid=packet.uid,
            gid=packet.gid,
            packet_id=packet.packet_id,
        )
