"""How an enforcer follows the connections that it accepted."""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Final

from trireme_collector.errors import DatapathError
from trireme_datapath.accounting import AccountLimits
from trireme_datapath.kernel.conntrack import (
    NEW_MESSAGE,
    ConnectionEvents,
    ConnectionTable,
    ConnectionTracker,
    TrackerSettings,
    enable_accounting,
    is_local_address,
)
from trireme_datapath.kernel.marks import ConnectionMark

if TYPE_CHECKING:
    from trireme_datapath.engine import Engine
    from trireme_datapath.processes._enforcer_messages import AccountingSetup

__all__ = ["Follower"]

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_SO_RCVBUFFORCE: Final = 33
_BEGINNINGS: Final = 1  # NFNLGRP_CONNTRACK_NEW
_BEGINNINGS_BYTES: Final = 8_388_608  # some ten thousand connections
_ADOPT_SECONDS: Final = 2.0  # a million connections; whoever judges packets is missed meanwhile


class Follower:
    """Follows the connections of an engine.

    All that takes time is done when it is made, while somebody else judges.

    Args:
        setup: How.
        engine: Whose.
        shared: Whether other engines judge other connections of the same kernel.

    Attributes:
        problems: One sentence for whatever is impossible.
    """

    def __init__(self, setup: AccountingSetup, engine: Engine, *, shared: bool) -> None:
        """Let the kernel count connections, and open what asks for them."""
        self.problems = enable_accounting()
        self._mark = ConnectionMark(mask=setup.mark_mask) if setup.mark_mask else None
        self._settings = TrackerSettings(
            list_seconds=setup.list_seconds,
            event_buffer_bytes=setup.event_buffer_bytes,
            reliable=setup.reliable,
        )
        self._table: ConnectionTable | None = None
        self._beginnings: ConnectionEvents | None = None
        try:
            self._table = ConnectionTable.open()
        except DatapathError as error:
            self.problems.append(str(error))
            return
        limits = AccountLimits(
            update_seconds=setup.update_seconds,
            max_evicted=setup.max_evicted,
            report_opened=setup.report_opened,
        )
        self._account = engine.keep_account(
            limits,
            mark=self._mark,
            is_local=is_local_address,
            # Where connections are marked, one engine follows those of all.
            shared=shared and self._mark is None,
        )

    def anticipate(self) -> None:
        """Prepare for `adopt` while somebody else judges: the kernel needs some time for a list."""
        if self._table is None or self._mark is not None:
            return
        try:
            self._beginnings = _listen_to_beginnings()
        except OSError:
            return  # the list will be read when packets wait already
        self._adopt_all(self._table)

    def adopt(self) -> None:
        """Take in the connections that an engine before this one accepted; packets wait meanwhile.

        Where only what begins is queued, that is not needed before the first packet.
        """
        if self._table is None or self._mark is not None:
            return
        beginnings, self._beginnings = self._beginnings, None
        if beginnings is None:
            self._adopt_all(self._table)
            return
        while rows := beginnings.drain():
            self._account.adopt(rows, time.time_ns())
        missed = beginnings.overruns
        beginnings.close()
        if missed:
            self._adopt_all(self._table)

    def _adopt_all(self, table: ConnectionTable) -> None:
        end = time.monotonic() + _ADOPT_SECONDS
        table.begin_list()
        while table.listing and time.monotonic() < end:
            select.select([table.fileno()], [], [], end - time.monotonic())
            self._account.adopt(table.read().rows, time.time_ns())

    def open(self, told_until_ns: int = 0) -> ConnectionTracker | None:
        """Begin to listen; None if that is impossible.

        Args:
            told_until_ns: The begin of the last list that somebody before told of.
        """
        settings = self._settings
        if self._table is None:
            return None
        try:
            events = ConnectionEvents.open(
                buffer_bytes=settings.event_buffer_bytes, reliable=settings.reliable
            )
        except DatapathError as error:
            self.problems.append(str(error))
            self._account.give_up()
            return None
        return ConnectionTracker(
            *(self._account, events, self._table, settings, self._mark),
            told_until_ns=told_until_ns,
        )


def _listen_to_beginnings() -> ConnectionEvents:
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    )
    try:
        sock.bind((0, 0))
        sock.connect((0, 0))  # no other process can put messages into this socket
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BEGINNINGS_BYTES)
        sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _BEGINNINGS)
    except OSError:
        sock.close()
        raise
    return ConnectionEvents(sock, NEW_MESSAGE)
