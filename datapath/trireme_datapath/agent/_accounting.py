"""What accepted connections carry: the kernel asked to count, its answers joined with the queue."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, TypeAlias

import structlog

from trireme_collector.errors import DatapathError
from trireme_datapath.accounting import AccountLimits
from trireme_datapath.kernel.conntrack import (
    ConnectionTracker,
    TrackerSettings,
    enable_accounting,
    is_local_address,
)
from trireme_datapath.kernel.marks import ConnectionMark
from trireme_datapath.kernel.rules import QueueMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.records import Record
    from trireme_datapath.agent._parts import PacketBackend
    from trireme_datapath.agent.config import DatapathConfig
    from trireme_datapath.backends.netlink import QueueStatistics
    from trireme_datapath.engine import Engine

__all__ = ["AgentAccounting", "OpenTracker", "accept_mark_of", "open_tracker"]

OpenTracker: TypeAlias = "Callable[[DatapathConfig, Engine], ConnectionTracker | None]"
"""Begins to follow connections; None where a configuration does not want it."""

_log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.agent")


def accept_mark_of(config: DatapathConfig) -> int | None:
    """Give the bit that accepted packets get, if their connections are to be marked."""
    return config.accept_mark if config.rules.mode is QueueMode.NEW else None


def open_tracker(config: DatapathConfig, engine: Engine) -> ConnectionTracker | None:
    """Let the kernel count connections, and follow them for the account of an engine.

    What is impossible is said, and packets are judged all the same.
    """
    wanted = config.accounting
    if not wanted.enabled:
        return None
    for problem in enable_accounting():
        _log.warning("accounting_incomplete", problem=problem)
    mark = None
    if config.rules.mode is QueueMode.NEW:
        mark = ConnectionMark(mask=config.connection_mark_mask)
    settings = TrackerSettings(
        list_seconds=wanted.list_seconds,
        event_buffer_bytes=wanted.event_buffer_bytes,
        reliable=wanted.reliable,
    )
    try:
        sockets = ConnectionTracker.sockets(settings)
    except DatapathError as error:
        _log.warning("accounting_unavailable", reason=str(error))
        return None
    limits = AccountLimits(
        update_seconds=wanted.update_seconds,
        max_evicted=wanted.max_evicted,
        report_opened=wanted.report_opened,
    )
    account = engine.keep_account(limits, mark=mark, is_local=is_local_address)
    return ConnectionTracker(account, *sockets, settings, mark)


class AgentAccounting:
    """The packets of a queue and the news about connections, as one backend.

    Args:
        backend: The queue.
        tracker: The news.
        engine: Whose records come in each turn.
    """

    def __init__(self, backend: PacketBackend, tracker: ConnectionTracker, engine: Engine) -> None:
        """Join them."""
        self._backend = backend
        self._tracker = tracker
        self._engine = engine
        self._epoll = select.epoll()
        self._epoll.register(tracker.fileno(), select.EPOLLIN)
        self._epoll.register(backend.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """Give the descriptor that is readable when one of both has something."""
        return self._epoll.fileno()

    def drain(self, now_ns: int) -> list[Record]:
        """Take what waits: the ends of connections first, for a packet may begin one anew."""
        ready = {descriptor for descriptor, _ in self._epoll.poll(0)}
        records: list[Record] = []
        if self._tracker.fileno() in ready:
            records += self._tracker.drain(now_ns)
        if self._backend.fileno() in ready:
            records += self._backend.drain(now_ns)
        return records

    def take_records(self, now_ns: int) -> list[Record]:
        """Give what was gathered since the last turn, and look whether a list is due."""
        self._tracker.tick(now_ns)
        return self._engine.take_records(now_ns)

    def revoke(self, now_ns: int) -> None:
        """Begin to look for connections that the policy in force does not allow."""
        self._tracker.tick(now_ns)

    def last_list(self) -> list[Record]:
        """List connections once more, at the end, and give what came of it."""
        return self._tracker.last_list()

    def statistics(self) -> QueueStatistics | None:
        """Read the kernel's own counters of the queue."""
        return self._backend.statistics()

    def close(self) -> None:
        """Give both back."""
        self._epoll.close()
        self._tracker.close()
        self._backend.close()
