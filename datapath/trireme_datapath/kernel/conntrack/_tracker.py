"""The loop part of connection tracking: events and lists in, an account fed, connections ended."""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import TYPE_CHECKING, Annotated, Final, Protocol, Self

from msgspec import Meta, Struct

from trireme_datapath.kernel.conntrack._ended_before import EndedBefore
from trireme_datapath.kernel.conntrack._sockets import (
    DEFAULT_EVENT_BUFFER_BYTES,
    ConnectionEvents,
    ConnectionTable,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from trireme_collector.records import Record
    from trireme_datapath.kernel.conntrack._messages import Connection
    from trireme_datapath.kernel.conntrack._rows import ConnectionRow
    from trireme_datapath.kernel.marks import ConnectionMark

__all__ = ["ConnectionTracker", "FollowsConnections", "TrackerSettings", "is_local_address"]

_SECOND: Final = 1_000_000_000
# The kernel is short of memory for a moment, or busy with another list.
_PASSING: Final = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.EBUSY})
_LAST_SECONDS: Final = 0.5
_SHARE: Final = 20  # a list may take one part in so many of the time


class TrackerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How connections are followed.

    Attributes:
        list_seconds: How often all connections are listed: it makes the kernel tell at once what
            has expired, and brings the counts of those that live long. A long list comes less
            often, so that it takes no more than a twentieth of the time.
        event_buffer_bytes: Room for the ends of connections that were not read yet; an event
            takes about 800 bytes.
        reliable: Let the kernel keep the end of a connection while that room is full, and tell it
            again. Off: it is lost, and found out with the next list, without its counts.
    """

    list_seconds: Annotated[float, Meta(ge=1, le=300)] = 10.0
    event_buffer_bytes: Annotated[int, Meta(ge=65_536, le=0x3FFFFFFF)] = DEFAULT_EVENT_BUFFER_BYTES
    reliable: bool = True


class FollowsConnections(Protocol):
    """What is told of connections: `trireme_datapath.accounting.ConnectionAccount`, for one."""

    @property
    def counters(self) -> Counter[str]:
        """What was done, by name."""
        ...

    @property
    def settled(self) -> bool:
        """Whether no list is wanted before its time."""
        ...

    def ended(self, rows: Iterable[ConnectionRow], now_ns: int) -> None:
        """Take connections that ended."""

    def begin_list(self, now_ns: int) -> None:
        """Hear that a list of all connections begins."""

    def listed(
        self, rows: Iterable[ConnectionRow], now_ns: int, told: frozenset[int] = ...
    ) -> list[int]:
        """Take connections of a list; give the positions of those that are to be ended.

        The end of those at the positions ``told`` was told by who followed before.
        """
        ...

    def end_list(self, now_ns: int, *, complete: bool) -> None:
        """Hear that the list ended."""

    def end_missed(self, now_ns: int) -> None:
        """Take connections as ended that the last complete list did not have."""

    def take_records(self, now_ns: int) -> list[Record]:
        """Give the records that were caused since the last call."""
        ...


class ConnectionTracker:
    """Feeds an account from the kernel, and has revoked connections forgotten.

    Drive it like a packet backend: wait for `fileno`, call `drain`; and call `tick` at least once
    a second, and after a change of policy.

    Attributes:
        events: Where ends are heard.
        table: Where connections are listed and ended.
        listed_ns: When the last list began that was read to its end, since 1970 UTC: the ends
            before it were told. 0 before the first.
    """

    def __init__(
        self,
        account: FollowsConnections,
        events: ConnectionEvents,
        table: ConnectionTable,
        settings: TrackerSettings,
        mark: ConnectionMark | None,
        *,
        told_until_ns: int = 0,
    ) -> None:
        """Join open sockets with an account; see `open`.

        Args:
            account: What to feed.
            events: Where ends are heard.
            table: Where connections are listed and ended.
            settings: How.
            mark: List only connections with this mark; all when not given.
            told_until_ns: The `listed_ns` of who followed before; if that is not known, what
                ended before the first list is left to them.
        """
        self.events = events
        self.table = table
        self._account = account
        self._mark = mark
        self._reliable = settings.reliable
        self._period_ns = round(settings.list_seconds * _SECOND)
        self._next_list_ns = 0
        self._list_began_ns = self.listed_ns = 0
        self._told_until_ns = told_until_ns
        self._before: EndedBefore | None = None
        self._listed_revision = -1
        self._overruns = 0
        self._incomplete = 0
        self._missed = self._repairs = self._failed = False
        self._refused = 0
        self._epoll = select.epoll()
        self._epoll.register(events.fileno(), select.EPOLLIN)
        self._epoll.register(table.fileno(), select.EPOLLIN)

    @classmethod
    def open(
        cls,
        account: FollowsConnections,
        settings: TrackerSettings | None = None,
        mark: ConnectionMark | None = None,
    ) -> Self:
        """Listen to the connections of the network namespace of the caller.

        Args:
            account: What to feed.
            settings: How.
            mark: List only connections with this mark; all when not given.

        Raises:
            PrivilegeError: CAP_NET_ADMIN or the module nf_conntrack_netlink is missing.
            DatapathError: The kernel refuses.
        """
        settings = settings or TrackerSettings()
        return cls(account, *cls.sockets(settings), settings, mark)

    @staticmethod
    def sockets(settings: TrackerSettings) -> tuple[ConnectionEvents, ConnectionTable]:
        """Open what a tracker needs, before there is an account.

        Raises:
            PrivilegeError: CAP_NET_ADMIN or the module nf_conntrack_netlink is missing.
            DatapathError: The kernel refuses.
        """
        events = ConnectionEvents.open(
            buffer_bytes=settings.event_buffer_bytes, reliable=settings.reliable
        )
        try:
            return events, ConnectionTable.open()
        except BaseException:
            events.close()
            raise

    def fileno(self) -> int:
        """Give the descriptor: readable when the kernel has something to tell."""
        return self._epoll.fileno()

    def drain(self, now_ns: int) -> list[Record]:
        """Take what the kernel tells, without waiting for more.

        Args:
            now_ns: Nanoseconds since 1970 UTC.

        Returns:
            What it caused.

        Raises:
            OSError: A socket is of no use any more.
        """
        account = self._account
        ended = self.events.drain()
        if ended:
            account.ended(ended, now_ns)
        if self.events.overruns != self._overruns:
            account.counters["connection_overruns"] += self.events.overruns - self._overruns
            self._overruns = self.events.overruns
            if not self._reliable:
                self._missed = True
                self._next_list_ns = now_ns
        if self.table.listing:
            self._read_list(now_ns)
        else:
            self.table.settle()  # else its descriptor would stay readable
        return account.take_records(now_ns)

    def tick(self, now_ns: int) -> None:
        """Begin a list when it is time, or when the policy changed since the last.

        Raises:
            OSError: The socket is of no use any more.
        """
        if self.table.listing:
            return
        if now_ns < self._next_list_ns - self._period_ns * _SHARE:
            self._next_list_ns = now_ns  # the clock was set back
        if now_ns >= self._next_list_ns or not self._account.settled:
            self._begin_list(now_ns)

    def last_list(self, seconds: float = _LAST_SECONDS) -> list[Record]:
        """List once more, at the end, and give what came of it: who follows tells only the rest.

        Args:
            seconds: How long it may take; what was not read by then is left out.
        """
        records: list[Record] = []
        end = time.monotonic() + seconds
        begun = False
        try:
            while (self.table.listing or not begun) and (left := end - time.monotonic()) > 0:
                if self.table.listing:
                    select.select([self], [], [], left)
                else:
                    begun = True
                    self._begin_list(time.time_ns())
                records += self.drain(time.time_ns())
        except OSError:  # it is over anyway
            self._account.counters["connection_request_errors"] += 1
        return records

    def close(self) -> None:
        """Hear no more."""
        self._epoll.close()
        self.events.close()
        self.table.close()

    def _begin_list(self, now_ns: int) -> None:
        self._account.begin_list(now_ns)
        self._list_began_ns = now_ns
        if not self.listed_ns:
            self._told_until_ns = self._told_until_ns or now_ns
            self._before = EndedBefore(self._told_until_ns)
        self._incomplete = self.table.incomplete
        self._repairs, self._missed = self._missed, False
        mark = self._mark
        try:
            if mark is None:
                self.table.begin_list()
            else:
                self.table.begin_list(mark.accepted, mark.mask)
        except OSError as error:
            self._note_no_list(error)

    def _note_no_list(self, error: OSError) -> None:
        if error.errno not in _PASSING:
            raise error
        self._missed |= self._repairs
        self._account.counters["connection_request_errors"] += 1

    def _forget(self, connections: Iterable[Connection]) -> None:
        try:
            held = None if self._mark is None else self._mark.mask
            gone = self.table.delete(connections, held=held)
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            self._failed = True  # the next list finds them again
            self._account.counters["connection_request_errors"] += 1
        else:
            self._account.counters["connections_revoked"] += gone

    def _read_list(self, now_ns: int) -> None:
        try:
            listing = self.table.read()
        except OSError as error:
            self._note_no_list(error)
            return
        told = frozenset() if self._before is None else self._before.among(listing, now_ns)
        revoked = self._account.listed(listing.rows, now_ns, told)
        if revoked:
            self._forget(listing.connection(index) for index in revoked)
        refused = sum(self.table.errors.values())
        self._account.counters["connection_requests_refused"] += refused - self._refused
        self._refused = refused
        if self.table.listing:
            return
        complete = self.table.incomplete == self._incomplete and not self._failed
        self._account.end_list(now_ns, complete=complete)
        if complete:
            self._before, self.listed_ns = None, self._list_began_ns
        if self._repairs and complete:
            self._account.end_missed(now_ns)
        self._missed |= self._repairs and not complete
        self._failed = False
        took = max(0, now_ns - self._list_began_ns)
        self._next_list_ns = now_ns + max(self._period_ns, took * _SHARE)


def is_local_address(address: bytes) -> bool:
    """Tell whether a packed address is one of this host, in the caller's network namespace."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((socket.inet_ntop(family, address), 0))
    except OSError:
        return False
    return True
