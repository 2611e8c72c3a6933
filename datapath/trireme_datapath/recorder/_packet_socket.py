"""What a socket for packets (AF_PACKET) needs that Python has no word for, and why one is refused.

Layouts: ``linux/filter.h``, ``linux/if_packet.h`` and netdevice(7).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import sys
from struct import Struct
from typing import TYPE_CHECKING, Final

from trireme_collector.exit_codes import ExitCode
from trireme_datapath.recorder._errors import RecorderError, Refusal

if TYPE_CHECKING:
    from trireme_datapath.recorder._bpf import Program

__all__ = [
    "ANY_INTERFACE",
    "ETHERNET_TYPES",
    "LOOPBACK_TYPE",
    "attach_program",
    "bind_interface",
    "hardware_type",
    "refused",
]

ANY_INTERFACE: Final = "any"
LOOPBACK_TYPE: Final = 772  # ARPHRD_LOOPBACK
ETHERNET_TYPES: Final = frozenset({1, LOOPBACK_TYPE})  # ARPHRD_ETHER
"""The hardware whose frames begin as those of Ethernet do."""

_SO_ATTACH_FILTER: Final = 26
_ETH_P_ALL: Final = 3
_SIOCGIFHWADDR: Final = 0x8927
_NAME_BYTES: Final = 16  # IFNAMSIZ

_libc = ctypes.CDLL(None, use_errno=True)


class _ForbiddenError(RecorderError):
    """The capability to record is missing."""

    exit_code = ExitCode.PRIVILEGE


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def attach_program(where: socket.socket, program: Program) -> None:
    """Have the kernel keep the packets that a program takes, in place of those of before.

    Raises:
        OSError: It refuses the program.
    """
    code = program.encode()
    buffer = ctypes.create_string_buffer(code, len(code))
    head = _FilterProgram(len(program.instructions), ctypes.addressof(buffer))
    where.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(head))


def bind_interface(where: socket.socket, name: str) -> None:
    """Bind to one interface or to all, which Python's own `bind` knows no word for.

    Raises:
        OSError: There is no such interface.
    """
    index = 0 if name == ANY_INTERFACE else socket.if_nametoindex(name)
    protocol = socket.htons(_ETH_P_ALL)
    address = Struct("=HHiHBB8s").pack(socket.AF_PACKET, protocol, index, 0, 0, 0, b"")
    if _libc.bind(where.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def hardware_type(name: str) -> int | None:
    """Tell what kind of hardware an interface is (``ARPHRD_*``); None for all of them.

    Raises:
        RecorderError: There is no such interface.
    """
    if name == ANY_INTERFACE:
        return None
    encoded = os.fsencode(name)
    if not 0 < len(encoded) < _NAME_BYTES:
        raise refused(name, OSError(errno.ENODEV, os.strerror(errno.ENODEV)))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            answer = fcntl.ioctl(probe, _SIOCGIFHWADDR, Struct("16s24x").pack(encoded))
    except OSError as error:
        raise refused(name, error) from error
    return int.from_bytes(answer[16:18], sys.byteorder)


def refused(name: str, error: OSError) -> RecorderError:
    """Say why an interface cannot be recorded, and what to do."""
    if error.errno in {errno.EPERM, errno.EACCES}:
        return _ForbiddenError(
            f"cannot record on {name}: CAP_NET_RAW is missing; run as root, or give the recorder"
            " that capability",
            Refusal.FORBIDDEN,
        )
    if error.errno in {errno.ENODEV, errno.ENXIO}:
        return RecorderError(
            f"cannot record on {name}: there is no such interface; see `ip link`", Refusal.UNFIT
        )
    if error.errno in {errno.ENOMEM, errno.ENOBUFS}:
        return RecorderError(
            f"cannot record on {name}: no memory for the ring; lower ring_bytes, or stop another"
            " recording",
            Refusal.EXHAUSTED,
        )
    return RecorderError(
        f"cannot record on {name}: {(error.strerror or str(error)).lower()}", Refusal.UNFIT
    )
