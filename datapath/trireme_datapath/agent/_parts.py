"""The parts that an agent puts together, and how its configuration opens them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from msgspec import structs

from trireme_collector.control import QueueStatus
from trireme_collector.errors import ConfigError
from trireme_datapath.agent.config import BackendName, DatapathConfig
from trireme_datapath.backends.netlink import (
    OPENING_BATCHES,
    NetlinkBackend,
    NetlinkQueue,
    QueueSettings,
)
from trireme_datapath.backends.paced import PacedBackend
from trireme_datapath.backends.paired import PairedBackend
from trireme_datapath.engine import Engine

if TYPE_CHECKING:
    from trireme_collector.records import Record
    from trireme_datapath.backends.netlink import QueueStatistics

__all__ = ["OpenBackend", "PacketBackend", "Rules", "held_queue", "open_backend"]


_READINGS: Final = 8
_UINT32: Final = 0xFFFFFFFF  # the kernel's numbers begin anew there


class PacketBackend(Protocol):
    """A queue of packets that feeds an engine."""

    def fileno(self) -> int:
        """Give the descriptor that is readable when packets wait."""
        ...

    def drain(self, now_ns: int) -> list[Record]:
        """Judge what waits, without waiting for more."""
        ...

    def statistics(self) -> QueueStatistics | None:
        """Read the kernel's own counters, where they can be read."""
        ...

    def close(self) -> None:
        """Give the queue back."""


class Rules(Protocol):
    """The kernel rules that bring packets to the queue."""

    def install(self) -> None:
        """Put them in place, all or none."""

    def remove(self) -> None:
        """Take them away again."""


OpenBackend: TypeAlias = Callable[[DatapathConfig, Engine], PacketBackend]
"""Opens the queue that the configuration names."""


def open_backend(config: DatapathConfig, engine: Engine) -> PacketBackend:
    """Open the queue of a configuration.

    Raises:
        DatapathError: It cannot be opened; the subclass says why.
    """
    if config.backend is BackendName.NFQUEUE:
        from trireme_datapath.backends.nfqueue import (  # noqa: PLC0415  needs an extra
            NfqueueBackend,
        )

        if config.opening_queue is not None:
            raise ConfigError("opening_queue needs the backend netlink: choose it, or leave it out")
        return NfqueueBackend.open(config.queue, engine, _settings(config))
    backend = NetlinkBackend.open(config.queue, engine, _settings(config))
    if config.opening_queue is None:
        return backend
    settings = structs.replace(_settings(config), max_length=config.opening_queue_length)
    try:
        queue = NetlinkQueue.open(config.opening_queue, settings)
    except BaseException:
        backend.close()
        raise
    opening = NetlinkBackend(queue, engine, max_batches=OPENING_BATCHES)
    rate = config.opening_rate
    return PairedBackend(backend, PacedBackend(opening, rate) if rate else opening)


def held_queue(number: int, backend: PacketBackend | None, judged: int) -> QueueStatus | None:
    """Read the kernel's counters of a queue that is held, where they can be read.

    The kernel writes them without holding packets up, so one that comes meanwhile may be in one
    number and not in the other. What was judged cannot change while nobody judges: by that such a
    line is known, and read again.

    Args:
        number: The number of the queue.
        backend: What holds it; nobody judges while this is called.
        judged: How many packets got a verdict.
    """
    found = None
    for _ in range(_READINGS):
        statistics = None if backend is None else backend.statistics()
        if statistics is None:
            return None
        found = QueueStatus(
            number=number,
            # A packet that finds the queue full gets no number.
            received=statistics.last_packet_id + statistics.dropped,
            waiting=statistics.waiting,
            dropped_full=statistics.dropped,
            dropped_socket=statistics.user_dropped,
        )
        passed = found.received - found.waiting - found.dropped_full - found.dropped_socket
        if not (passed - judged) & _UINT32:
            break
    return found


def _settings(config: DatapathConfig) -> QueueSettings:
    return QueueSettings(
        copy_range=config.captured_bytes,
        max_length=config.queue_length,
        fail_open=config.fail_open,
        gso=config.gso,
    )
