"""Which interfaces of this host lead into another network namespace.

The kernel numbers the namespaces that it knows from here, and says of an interface whose other end
is elsewhere in which of them (``linux/net_namespace.h``, ``linux/if_link.h``). Asking needs no
privilege.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

__all__ = ["NamespaceLinks"]

_NETLINK_ROUTE: Final = 0
_RTM_NEWLINK: Final = 16
_RTM_GETLINK: Final = 18
_RTM_NEWNSID: Final = 88
_RTM_GETNSID: Final = 90
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLM_F_REQUEST: Final = 1
_NLM_F_DUMP: Final = 0x300
_IFLA_IFNAME: Final = 3
_IFLA_LINK_NETNSID: Final = 37
_NETNSA_NSID: Final = 1
_NETNSA_FD: Final = 3
_TYPE_MASK: Final = 0x3FFF  # the two highest bits say how to read the value

_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_FAMILY_BYTES: Final = 4  # struct rtgenmsg, padded
_ATTRIBUTE: Final = struct.Struct("=HH")
_NUMBER: Final = struct.Struct("=i")
_READ_BYTES: Final = 262_144
_SECONDS: Final = 2.0


class NamespaceLinks:
    """Asks the kernel once, for as many namespaces as one likes.

    Raises:
        OSError: The kernel cannot be asked.
    """

    def __init__(self) -> None:
        """Read the interfaces: that is when the kernel numbers the namespaces behind them."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
        )
        self._sequence = 0
        self._names: dict[int, list[str]] = {}
        try:
            self._socket.settimeout(_SECONDS)
            for name, number in self._links():
                self._names.setdefault(number, []).append(name)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask no more."""
        self._socket.close()

    def into(self, namespace: str) -> tuple[str, ...]:
        """Give the interfaces that lead into a namespace.

        Args:
            namespace: A file that stands for it.

        Raises:
            OSError: There is no such file, or it stands for something else.
        """
        if not self._names:
            return ()
        descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            attribute = _ATTRIBUTE.pack(8, _NETNSA_FD) + struct.pack("=I", descriptor)
            for kind, body in self._ask(_RTM_GETNSID, 0, bytes(_FAMILY_BYTES) + attribute):
                if kind == _RTM_NEWNSID:
                    found = dict(_attributes(body[_FAMILY_BYTES:])).get(_NETNSA_NSID, b"")
                    if len(found) == _NUMBER.size:
                        return tuple(self._names.get(_NUMBER.unpack(found)[0], ()))
        finally:
            os.close(descriptor)
        return ()

    def _links(self) -> Iterator[tuple[str, int]]:
        for kind, body in self._ask(_RTM_GETLINK, _NLM_F_DUMP, _LINK.pack(0, 0, 0, 0, 0)):
            if kind != _RTM_NEWLINK:
                continue
            found = dict(_attributes(body[_LINK.size :]))
            name, number = found.get(_IFLA_IFNAME, b""), found.get(_IFLA_LINK_NETNSID, b"")
            if name and len(number) == _NUMBER.size:
                yield os.fsdecode(name.rstrip(b"\0")), _NUMBER.unpack(number)[0]

    def _ask(self, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """Send a request and give the messages that answer it."""
        self._sequence += 1
        length = _HEADER.size + len(body)
        head = _HEADER.pack(length, kind, _NLM_F_REQUEST | flags, self._sequence, 0)
        self._socket.send(head + body)
        while True:
            data = self._socket.recv(_READ_BYTES)
            for found, sequence, answer in _messages(data):
                if sequence != self._sequence:
                    continue
                if found == _NLMSG_DONE:
                    return
                if found == _NLMSG_ERROR:
                    code = -_NUMBER.unpack_from(answer)[0] if len(answer) >= _NUMBER.size else 0
                    if code:
                        raise OSError(code, os.strerror(code))
                    return
                yield found, answer
                if not flags:
                    return


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    place = 0
    while place + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, place)
        if not _HEADER.size <= length <= len(data) - place:
            return
        yield kind, sequence, data[place + _HEADER.size : place + length]
        place += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, place)
        if not _ATTRIBUTE.size <= length <= len(data) - place:
            return
        yield kind & _TYPE_MASK, data[place + _ATTRIBUTE.size : place + length]
        place += (length + 3) & ~3
