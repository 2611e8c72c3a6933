"""Packets from the kernel's queue through the NetfilterQueue package.

Slower than the netlink backend and with fewer settings (at most 4,016 bytes are copied, large
segments are cut before they are queued), but a second, independent way to the same queue.
"""

from __future__ import annotations

import os
import select
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

from trireme_collector.errors import DatapathError, MissingExtraError, PrivilegeError
from trireme_datapath.backends._errors import QueueBusyError
from trireme_datapath.backends._interfaces import InterfaceNames
from trireme_datapath.backends._netlink_socket import QueueSettings, has_net_admin
from trireme_datapath.backends._queue_statistics import (
    QueueStatistics,
    holder_of,
    read_statistics,
)
from trireme_datapath.packets import QueuedPacket, Verdict

if TYPE_CHECKING:
    from types import ModuleType, TracebackType

    from trireme_collector.records import Record
    from trireme_datapath.engine import Engine
    from trireme_datapath.packets import JudgedPackets

__all__ = ["NfqueueBackend"]

_MAX_COPY_RANGE: Final = 4016  # a fixed buffer of NetfilterQueue
_IPV4_LENGTH: Final = slice(2, 4)
_IPV6_LENGTH: Final = slice(4, 6)


def _load() -> ModuleType:
    try:
        import netfilterqueue  # noqa: PLC0415  optional: loaded only when this backend is used
    except ImportError as error:
        raise MissingExtraError(
            "the nfqueue backend needs the package NetfilterQueue:"
            " pip install 'trireme-collector[nfqueue]', or use the netlink backend"
        ) from error
    module: ModuleType = netfilterqueue
    return module


class NfqueueBackend:
    """Feeds one queue to an engine, packet by packet.

    Attributes:
        queue_number: The queue.
        counters: What was done: ``packets`` and ``judge_errors`` (dropped because the engine
            raised), ``watcher_errors`` (`judged` raised).
        judged: Is shown every packet with its verdict, while somebody watches.
    """

    def __init__(
        self,
        queue_number: int,
        engine: Engine,
        settings: QueueSettings | None = None,
        *,
        interfaces: InterfaceNames | None = None,
    ) -> None:
        """Bind a queue.

        Args:
            queue_number: The queue.
            engine: Who judges.
            settings: How the queue is opened. ``gso`` has no effect: NetfilterQueue does not know
                it, and the kernel cuts large segments.
            interfaces: Names of interfaces; asked of the system when not given.

        Raises:
            MissingExtraError: NetfilterQueue is not installed.
            QueueBusyError: Another socket holds the queue.
            PrivilegeError: CAP_NET_ADMIN is missing.
            DatapathError: A setting is not possible, or the queue can not be bound.
        """
        module = _load()
        settings = settings or QueueSettings()
        settings.check()
        if settings.copy_range > _MAX_COPY_RANGE:
            raise DatapathError(
                f"copy range {settings.copy_range} is not possible with NetfilterQueue:"
                f" choose 64 to {_MAX_COPY_RANGE}, or use the netlink backend"
            )
        if settings.fail_open or settings.uid_gid:
            raise DatapathError(
                "NetfilterQueue can neither let packets pass when the queue is full nor tell who"
                " sent them: leave these settings off, or use the netlink backend"
            )
        self.queue_number = queue_number
        self.counters: Counter[str] = Counter()
        self._engine = engine
        self._copy_range = settings.copy_range
        self._interfaces = interfaces or InterfaceNames()
        self._now_ns = 0
        self._records: list[Record] = []
        self.judged: JudgedPackets | None = None
        self._queue = module.NetfilterQueue()
        try:
            self._queue.bind(
                queue_number,
                self._take,
                max_len=settings.max_length,
                range=settings.copy_range,
                sock_len=settings.receive_buffer_bytes,
            )
        except OSError as error:
            raise _refusal(queue_number, error) from error
        # A second descriptor: the first belongs to NetfilterQueue, and goes with it.
        self._descriptor = os.dup(self._queue.get_fd())

    @classmethod
    def open(cls, queue_number: int, engine: Engine, settings: QueueSettings | None = None) -> Self:
        """Bind a queue; the same as calling the class, and the same form as other backends."""
        return cls(queue_number, engine, settings)

    def fileno(self) -> int:
        """Give the descriptor: readable when packets wait."""
        return self._descriptor

    def drain(self, now_ns: int) -> list[Record]:
        """Judge what waits, without waiting for more.

        Args:
            now_ns: Nanoseconds since 1970 UTC.

        Returns:
            What the packets caused.
        """
        self._now_ns = now_ns
        self._interfaces.refresh(now_ns)
        # `run` would raise EAGAIN on an empty socket only after it took the GIL away and back.
        if select.select([self._descriptor], [], [], 0)[0]:
            self._queue.run(block=False)
        records, self._records = self._records, []
        return records

    def statistics(self) -> QueueStatistics | None:
        """Read the kernel's own counters of the queue; None where they can not be read."""
        return read_statistics().get(self.queue_number)

    def close(self) -> None:
        """Give the queue back; waiting packets are dropped."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._queue.unbind()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, packet: Any) -> None:  # noqa: ANN401  NetfilterQueue has no annotations
        """Judge one packet; called by `run` for each, and the packet is valid only now."""
        self.counters["packets"] += 1
        # The payload is a copy: the packet's own memory is gone after the verdict.
        queued = self._queued(packet, packet.get_payload())
        try:
            decision = self._engine.receive(queued, self._now_ns)
        except Exception:  # noqa: BLE001  no packet may stop the others: this one is dropped
            self.counters["judge_errors"] += 1
            packet.drop()
            return
        if decision.mark is not None:
            packet.set_mark(decision.mark)
        if decision.verdict is Verdict.ACCEPT:
            packet.accept()
        elif decision.verdict is Verdict.REPEAT:
            packet.repeat()
        else:
            packet.drop()
        self._records.extend(decision.records)
        if self.judged is not None:
            try:
                if self.judged.wants(queued.data, 0):
                    self.judged.take(((queued, decision.verdict),), self._now_ns)
            except Exception:  # noqa: BLE001  who only watches may not disturb the judging
                self.counters["watcher_errors"] += 1

    def _queued(self, packet: Any, data: bytes) -> QueuedPacket:  # noqa: ANN401  as above
        name = self._interfaces.name
        return QueuedPacket(
            data=data,
            original_length=_original_length(data, self._copy_range),
            hook=packet.hook,
            indev=name(packet.physindev or packet.indev),
            outdev=name(packet.physoutdev or packet.outdev),
            mark=packet.get_mark(),
            packet_id=packet.id,
        )


def _original_length(data: bytes, copy_range: int) -> int | None:
    """Tell the length of a packet that was cut: NetfilterQueue does not pass it on.

    The IP header says it, except for segments above 64 KiB, which the kernel cuts before it
    queues them for this backend.
    """
    if len(data) < copy_range:
        return None
    version = data[0] >> 4
    if version == 4:
        total = int.from_bytes(data[_IPV4_LENGTH], "big")
    elif version == 6:
        total = 40 + int.from_bytes(data[_IPV6_LENGTH], "big")
    else:
        return None
    return total if total > len(data) else None


def _refusal(queue_number: int, error: OSError) -> DatapathError:
    held = read_statistics().get(queue_number)
    if held is not None:
        return QueueBusyError(queue_number, holder_of(held.port_id))
    if not has_net_admin():
        return PrivilegeError(
            f"cannot bind queue {queue_number}: CAP_NET_ADMIN is missing."
            " Run as root, or give the program that capability"
        )
    return DatapathError(
        f"cannot bind queue {queue_number}: {error}."
        " Is the module nfnetlink_queue loaded, and the queue free?"
    )
