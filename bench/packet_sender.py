"""Sends prepared Ethernet frames, many for one system call."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PacketSender", "checksum", "ipv4_header"]


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.POINTER(_Part)),
        ("parts_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("header", _Header), ("sent", ctypes.c_uint32))


def checksum(data: bytes) -> int:
    """Give the Internet checksum of an even number of bytes (RFC 1071)."""
    total = int(sum(struct.unpack(f"!{len(data) // 2}H", data)))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ipv4_header(source: bytes, destination: bytes, protocol: int, total: int) -> bytes:
    """Give the header of a packet that is `total` bytes long."""
    head = struct.pack("!BBHHHBB", 0x45, 0, total, 1, 0x4000, 64, protocol)
    value = checksum(head + b"\0\0" + source + destination)
    return head + struct.pack("!H", value) + source + destination


class PacketSender:
    """Sends frames of one size on an interface.

    Args:
        interface: The interface.
        frames: The frames.

    Attributes:
        buffer: All frames, one after the other; they may be changed in place.
        size: Bytes of a frame.
    """

    def __init__(self, interface: str, frames: Sequence[bytes]) -> None:
        """Lay out the frames."""
        count, self.size = len(frames), len(frames[0])
        data = b"".join(frames)
        self.buffer = ctypes.create_string_buffer(data, len(data))
        begin = ctypes.addressof(self.buffer)
        self._parts = (_Part * count)(
            *(_Part(begin + n * self.size, self.size) for n in range(count))
        )
        self._messages = (_Message * count)()
        for number in range(count):
            self._messages[number].header.parts = ctypes.pointer(self._parts[number])
            self._messages[number].header.parts_length = 1
        self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._raw.bind((interface, 0))
        self._send = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._first = ctypes.addressof(self._messages)

    def send(self, first: int, count: int) -> int:
        """Send so many frames, and give how many were."""
        place = ctypes.c_void_p(self._first + first * ctypes.sizeof(_Message))
        return max(0, self._send(self._raw.fileno(), place, count, 0))
