"""The way of records from an enforcer to the collectors: batches over a local socket pair.

A message of the socket is one batch::

    number of its first record    8 bytes, big endian
    record, any number of times   4 bytes of length, then MessagePack

The socket keeps messages apart. So whoever takes it over after somebody died begins at the
beginning of a batch, and the numbers tell how many records died with him.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final

import msgspec

from trireme_collector.records import Record, decode_msgpack, encode_msgpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["BatchError", "RecordReceiver", "RecordSender", "open_record_link", "read_batch"]

_FIRST: Final = struct.Struct(">Q")
_LENGTH: Final = struct.Struct(">I")
_BATCH_BYTES: Final = 57_344  # the kernel finds room for such a message without luck
_MAX_BYTES: Final = 1_048_576
_SO_SNDBUFFORCE: Final = 32
_FULL: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE, errno.EINTR})


class BatchError(ValueError):
    """A message is no batch of records."""


def open_record_link(buffer_bytes: int) -> tuple[socket.socket, socket.socket]:
    """Open the way for the records of one enforcer.

    Args:
        buffer_bytes: How much may wait in it.

    Returns:
        Where to write and where to read.
    """
    writer, reader = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # The kernel doubles what it is asked for, to have room for its own.
        writer.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, buffer_bytes // 2)
    except PermissionError:
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes // 2)
    writer.setblocking(False)  # noqa: FBT003  positional only
    reader.setblocking(False)  # noqa: FBT003  positional only
    return writer, reader


class RecordSender:
    """Hands records over, and never waits.

    Args:
        sock: The writing end.
        note: Called before each batch leaves: what is counted here has to be written where it
            outlives the process first, so that no number is ever given twice.
        made: How many records those before us made.
        sent: How many of them they handed over.
        unsent: How many did not fit.

    Attributes:
        made: Records that were given to us; always ``sent + unsent``, but for those that died with
            a process before they could be counted.
        sent: Records that were handed over.
        unsent: Records that did not fit.
    """

    def __init__(
        self,
        sock: socket.socket,
        note: Callable[[], None],
        *,
        made: int = 0,
        sent: int = 0,
        unsent: int = 0,
    ) -> None:
        """Begin with what was counted before."""
        self._socket = sock
        self._note = note
        self._encode = msgspec.msgpack.Encoder().encode
        self.made = made
        self.sent = sent
        self.unsent = unsent

    def put(self, records: Sequence[Record]) -> None:
        """Hand records over; those that do not fit are counted.

        Raises:
            OSError: The socket is of no use any more.
        """
        parts: list[bytes] = []
        size = count = 0
        for record in records:
            body = self._body(record)
            if parts and size + len(body) > _BATCH_BYTES:
                self._send(parts, count)
                parts, size, count = [], 0, 0
            parts += (_LENGTH.pack(len(body)), body)
            size += len(body) + _LENGTH.size
            count += 1
        if parts:
            self._send(parts, count)

    def close(self) -> None:
        """Hand over no more."""
        self._socket.close()

    def _body(self, record: Record) -> bytes:
        try:
            return self._encode(record)
        except UnicodeEncodeError:  # a lone surrogate
            return encode_msgpack(record)

    def _send(self, parts: list[bytes], count: int) -> None:
        batch = _FIRST.pack(self.sent) + b"".join(parts)
        self.made += count
        self.sent += count
        self._note()
        try:
            if len(batch) <= _MAX_BYTES:
                self._socket.send(batch)
                return
        except OSError as error:
            if error.errno not in _FULL:
                raise
        self.sent -= count
        self.unsent += count
        self._note()


def read_batch(data: bytes | memoryview) -> tuple[int, list[Record]]:
    """Read a batch.

    Returns:
        The number of its first record, and the records.

    Raises:
        BatchError: It is none.
    """
    if len(data) < _FIRST.size:
        raise BatchError(f"a batch of {len(data)} bytes has no number")
    (first,) = _FIRST.unpack_from(data)
    records: list[Record] = []
    place, end = _FIRST.size, len(data)
    while place < end:
        if end - place < _LENGTH.size:
            raise BatchError(f"a length at {place} ends early")
        (length,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size
        if length > end - place:
            raise BatchError(f"a record at {place} ends early")
        try:
            records.append(decode_msgpack(bytes(data[place : place + length])))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BatchError(f"the record at {place} cannot be read: {error}") from error
        place += length
    return first, records


class RecordReceiver:
    """Takes the records of one slot.

    Args:
        sock: The reading end.
        taken: The number of the next record, as those before us left it.
        lost: How many records died with them.

    Attributes:
        taken: The number of the next record.
        lost: Records that were handed over and did not come.
        malformed: Messages that were none of ours.
    """

    def __init__(self, sock: socket.socket, *, taken: int = 0, lost: int = 0) -> None:
        """Begin with what was counted before."""
        self._socket = sock
        self._buffer = bytearray(_MAX_BYTES)
        self.taken = taken
        self.lost = lost
        self.malformed = 0

    def fileno(self) -> int:
        """Give the descriptor: readable when records wait."""
        return self._socket.fileno()

    def take(self) -> list[Record] | None:
        """Take the next batch; None when none waits.

        Raises:
            OSError: The socket is of no use any more.
        """
        try:
            size = self._socket.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return None
        if not size:
            return None
        try:
            first, records = read_batch(memoryview(self._buffer)[:size])
        except BatchError:
            self.malformed += 1
            return []
        if first > self.taken:
            self.lost += first - self.taken
        self.taken = max(self.taken, first + len(records))
        return records

    def close(self) -> None:
        """Take no more."""
        self._socket.close()
