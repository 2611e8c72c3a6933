"""The sockets of the kernel's connection tracking: one for events, one for requests."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final, Self

from trireme_collector.errors import DatapathError, PrivilegeError
from trireme_datapath.backends._netlink_codec import MessageError, attributes
from trireme_datapath.backends._receive_ring import ReceiveRing
from trireme_datapath.kernel.conntrack._list_reader import ListReader, NotAskedError
from trireme_datapath.kernel.conntrack._messages import (
    DELETE_MESSAGE,
    FLAG_DUMP_INTERRUPTED,
    HEADERS,
    MESSAGE_HEADER,
    NEW_MESSAGE,
    Attribute,
    Connection,
    messages,
    parse_connection,
)
from trireme_datapath.kernel.conntrack._requests import (
    delete_request,
    dump_request,
    hold_request,
)
from trireme_datapath.kernel.conntrack._rows import ConnectionRow, RowReader

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ConnectionEvents", "ConnectionTable", "EventGroup", "Listing"]

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_NETLINK_BROADCAST_ERROR: Final = 4
_SO_RCVBUFFORCE: Final = 33

_SLOTS: Final = 64
_SLOT_BYTES: Final = 768  # an event with labels and a security context stays below 500
# What waits longer waits for the next drain: two hundred and fifty ends take a millisecond or two,
# six where the flow table had to let go of their flows, and packets must not wait for more.
_MAX_BATCHES: Final = 4
_MAX_PARTS: Final = 2  # some three hundred entries of a list, a millisecond or two
_DELETES_AT_ONCE: Final = 256
_BEGINS_BY_ITSELF: Final = frozenset({1, 6, 58})  # an answer of these is no beginning

DEFAULT_EVENT_BUFFER_BYTES: Final = 33_554_432
"""Room for some 40,000 events; the kernel takes memory only for those that wait."""


class EventGroup:
    """The multicast groups of events (``NFNLGRP_CONNTRACK_*``)."""

    NEW: Final = 1
    CHANGED: Final = 2
    ENDED: Final = 3


class ConnectionEvents:
    """Hears what becomes of connections.

    Attributes:
        overruns: How often the kernel had to leave out events because the buffer was full.
        capacity_bytes: The buffer that the kernel granted.
    """

    def __init__(self, sock: socket.socket, message_type: int = DELETE_MESSAGE) -> None:
        """Listen on an open socket; see `open`."""
        self._socket = sock
        self._ring = ReceiveRing(_SLOTS, _SLOT_BYTES)
        self._reader = RowReader(message_type)
        self.overruns = 0
        self.capacity_bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    @classmethod
    def open(cls, *, buffer_bytes: int = DEFAULT_EVENT_BUFFER_BYTES, reliable: bool = True) -> Self:
        """Listen to the ends of connections in the network namespace of the caller.

        Args:
            buffer_bytes: The buffer to ask for, beyond the system's limit if we may.
            reliable: Let the kernel keep the end of a connection, and say it again, as long as
                the buffer is full.

        Raises:
            PrivilegeError: CAP_NET_ADMIN or the module nf_conntrack_netlink is missing.
            DatapathError: The kernel refuses.
        """
        sock = _open_socket()
        try:
            sock.connect((0, 0))  # no other process can put messages into this socket
            if reliable:
                sock.setsockopt(_SOL_NETLINK, _NETLINK_BROADCAST_ERROR, 1)
            try:
                sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
            except PermissionError:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, EventGroup.ENDED)
        except OSError as error:
            sock.close()
            raise _refusal(error.errno or 0, "listen to connections") from error
        return cls(sock)

    def fileno(self) -> int:
        """Give the descriptor: readable when events wait."""
        return self._socket.fileno()

    @property
    def malformed(self) -> int:
        """How many messages could not be read."""
        return self._reader.malformed

    def drain(self) -> list[ConnectionRow]:
        """Read what waits, without waiting for more.

        Raises:
            OSError: The socket is of no use any more.
        """
        rows: list[ConnectionRow] = []
        ring, reader, descriptor = self._ring, self._reader, self._socket.fileno()
        buffer, length = ring.buffer, ring.length
        for _ in range(_MAX_BATCHES):
            try:
                count = ring.receive(descriptor)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
                continue
            spans = [(i * _SLOT_BYTES, i * _SLOT_BYTES + length(i)) for i in range(count)]
            rows += reader.read(buffer, spans)
            if count < _SLOTS:
                break
        return rows

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


class Listing:
    """A part of the list of connections, as far as one drain reads.

    Attributes:
        rows: The connections.
    """

    __slots__ = ("_places", "_texts", "rows")

    def __init__(self) -> None:
        """Start empty."""
        self.rows: list[ConnectionRow] = []
        self._texts: list[bytes] = []
        self._places: list[tuple[int, int]] = []

    def add(self, text: bytes, rows: list[ConnectionRow], places: list[int]) -> None:
        """Take what one datagram held."""
        index = len(self._texts)
        self._texts.append(text)
        self.rows += rows
        self._places += [(index, place) for place in places]

    def connection(self, index: int) -> Connection:
        """Read a connection in full, by the position of its row."""
        which, place = self._places[index]
        found = parse_connection(self._texts[which], place)
        if not isinstance(found, Connection):
            raise MessageError("a row was made of no connection")
        return found

    def seconds_left(self, index: int) -> int:
        """Tell how long the kernel keeps a connection without another packet."""
        which, place = self._places[index]
        text = self._texts[which]
        length, *_ = MESSAGE_HEADER.unpack_from(text, place)
        for kind, start, _ in attributes(text, place + HEADERS, place + int(length)):
            if kind == Attribute.TIMEOUT:
                return int.from_bytes(text[start : start + 4])
        return 0


class ConnectionTable:
    """Asks for the list of connections, and ends connections.

    Attributes:
        listing: Whether a list is being read.
        incomplete: How many lists the kernel could not give in full.
        errors: Refused requests by error number, the ends of those that ended by themselves apart.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Ask through an open socket; see `open`."""
        self._socket = sock
        self._reader = RowReader(NEW_MESSAGE)
        self._lists = ListReader(sock)
        self._sequence = 0
        self._listing = 0
        self.incomplete = 0
        self.errors: dict[int, int] = {}

    @classmethod
    def open(cls) -> Self:
        """Open the table of the network namespace of the caller.

        Raises:
            PrivilegeError: CAP_NET_ADMIN or the module nf_conntrack_netlink is missing.
            DatapathError: The kernel refuses.
        """
        sock = _open_socket()
        try:
            sock.connect((0, 0))
        except OSError as error:
            sock.close()
            raise _refusal(error.errno or 0, "read the table of connections") from error
        return cls(sock)

    def fileno(self) -> int:
        """Give the descriptor: readable when a part of the list waits."""
        return self._lists.fileno()

    @property
    def listing(self) -> bool:
        """Whether a list is being read."""
        return bool(self._listing)

    @property
    def malformed(self) -> int:
        """How many messages could not be read."""
        return self._reader.malformed

    def begin_list(self, mark: int = 0, mask: int = 0) -> None:
        """Ask for the list of connections whose mark has these bits; of all without a mask.

        It is asked and read in a thread: the kernel takes its time for it.
        """
        self._sequence += 1
        self._listing = self._sequence
        self._lists.ask(dump_request(self._sequence, mark, mask))

    def read(self) -> Listing:
        """Read what waits of the list, without waiting for more; then `listing` tells if it ended.

        Raises:
            OSError: The kernel is short of memory for a moment and gives no list, or the socket
                is of no use any more.
        """
        listing = Listing()
        for text in self._lists.take(_MAX_PARTS):
            if isinstance(text, OSError):
                self._fail(text)
                continue
            places: list[int] = []
            try:
                spans = list(messages(text))
            except MessageError:
                self._reader.malformed += 1
                continue
            listing.add(text, self._reader.read(text, spans, places), places)
            if places and _flags(text) & FLAG_DUMP_INTERRUPTED:
                self.incomplete += 1
            self._obey_controls()
        return listing

    def settle(self) -> None:
        """Read what the kernel answered to other requests, while no list is being read.

        Raises:
            OSError: The socket is of no use any more.
        """
        self.read()

    def delete(self, connections: Iterable[Connection], *, held: int | None = None) -> int:
        """End connections; those that ended meanwhile are no error.

        TCP begins with packets of its own. Of other protocols, the next packet of the server
        would begin a connection, and the client's would be its answers. An entry in the place of
        the one that ended prevents that.

        Args:
            connections: The connections.
            held: Bits of the connection mark that such entries may not have; None for no entries.

        Returns:
            How many were asked to end.

        Raises:
            OSError: The kernel refuses the message as a whole.
        """
        self._sequence += 1
        requests = []
        for one in connections:
            request = delete_request(one, self._sequence)
            if held is not None and _may_seem_begun(one):
                request += hold_request(one, self._sequence, one.mark & ~held)
            requests.append(request)
        for start in range(0, len(requests), _DELETES_AT_ONCE):
            self._socket.send(b"".join(requests[start : start + _DELETES_AT_ONCE]))
        return len(requests)

    def close(self) -> None:
        """Give the socket back."""
        self._lists.close()
        self._socket.close()

    def _fail(self, error: OSError) -> None:
        if isinstance(error, NotAskedError) or error.errno != errno.ENOBUFS:
            self._listing = 0
            raise error
        self.incomplete += 1

    def _obey_controls(self) -> None:
        controls, self._reader.controls = self._reader.controls, []
        for control in controls:
            if control.sequence == self._listing:
                self._listing = 0
                if control.errno:
                    self.incomplete += 1
            if control.errno not in {0, errno.ENOENT}:
                self.errors[control.errno] = self.errors.get(control.errno, 0) + 1


def _may_seem_begun(connection: Connection) -> bool:
    """Tell whether a packet of the server would begin what the client's would be the answer to.

    Where addresses are translated, the client's have others; and an entry would be in the way of
    the translation.
    """
    original, reply = connection.original, connection.reply
    return (
        original.protocol not in _BEGINS_BY_ITSELF
        and (original.source, original.destination) == (reply.destination, reply.source)
        and original.ports == reply.ports[2:] + reply.ports[:2]
    )


def _flags(text: bytes) -> int:
    _, _, flags, _, _ = MESSAGE_HEADER.unpack_from(text)
    return int(flags)


def _open_socket() -> socket.socket:
    try:
        sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        sock.bind((0, 0))
    except OSError as error:
        raise _refusal(error.errno or 0, "open a netfilter socket") from error
    return sock


def _refusal(number: int, purpose: str) -> DatapathError:
    if number in {errno.EPERM, errno.EACCES}:
        return PrivilegeError(
            f"cannot {purpose}: CAP_NET_ADMIN is missing."
            " Run as root, or give the program that capability"
        )
    if number in {errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT}:
        return PrivilegeError(
            f"cannot {purpose}: the kernel has no connection tracking over netlink"
            f" ({os.strerror(number)}). Load the module: modprobe nf_conntrack_netlink"
        )
    return DatapathError(f"cannot {purpose}: {os.strerror(number)}")
