"""Many messages for one system call: recvmmsg into one buffer of equal slots.

The standard library has no recvmmsg, so the C library's is called. Nothing is allocated per
message: headers, vectors and slots are laid out once.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import Final

__all__ = ["ReceiveRing"]

_MSG_WAITFORONE: Final = 0x10000  # after the first message, return with what is there
_MSG_FLAGS: Final = socket.MSG_DONTWAIT | _MSG_WAITFORONE


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _ManyHeader(ctypes.Structure):
    _fields_ = (("header", _Header), ("received", ctypes.c_uint32))


_recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg
_recvmmsg.restype = ctypes.c_int
_recvmmsg.argtypes = (
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_int,
    ctypes.c_void_p,
)


class ReceiveRing:
    """A buffer of equal slots that one call fills from a socket.

    Attributes:
        slots: How many messages one call takes at most.
        slot_size: Bytes of a slot; a longer message is cut.
        buffer: All slots, one after the other. What follows a message in its slot is old.
    """

    __slots__ = ("_address", "_headers", "_lengths", "_storage", "buffer", "slot_size", "slots")

    def __init__(self, slots: int, slot_size: int) -> None:
        """Allocate the slots and point the headers at them."""
        self.slots = slots
        self.slot_size = slot_size
        storage = bytearray(slots * slot_size)
        self.buffer = memoryview(storage)
        base = ctypes.addressof(ctypes.c_char.from_buffer(storage))
        vectors = (_Vector * slots)()
        size = ctypes.sizeof(_ManyHeader)
        headers = bytearray(size * slots)
        views = (_ManyHeader * slots).from_buffer(headers)
        for index in range(slots):
            vectors[index].base = base + index * slot_size
            vectors[index].length = slot_size
            header = views[index].header
            header.vectors = ctypes.addressof(vectors) + index * ctypes.sizeof(_Vector)
            header.vector_count = 1
        self._address = ctypes.addressof(views)
        offset = _ManyHeader.received.offset
        self._lengths = memoryview(headers).cast("I")[offset // 4 :: size // 4]
        # The C structures hold addresses, not references.
        self._storage = (storage, vectors, views)
        self._headers = headers

    def receive(self, descriptor: int) -> int:
        """Fill slots from the socket, without waiting.

        Returns:
            How many slots were filled; 0 when nothing waits.

        Raises:
            OSError: As from recv; `InterruptedError` and EAGAIN are returned as 0.
        """
        count: int = _recvmmsg(descriptor, self._address, self.slots, _MSG_FLAGS, None)
        if count >= 0:
            return count
        number = ctypes.get_errno()
        if number in {errno.EAGAIN, errno.EINTR}:
            return 0
        raise OSError(number, os.strerror(number))

    def length(self, index: int) -> int:
        """Tell how many bytes of a slot the last call wrote."""
        return self._lengths[index]

    def message(self, index: int) -> memoryview:
        """Give the bytes of a slot that the last call wrote; valid until the next call."""
        start = index * self.slot_size
        return self.buffer[start : start + self._lengths[index]]
