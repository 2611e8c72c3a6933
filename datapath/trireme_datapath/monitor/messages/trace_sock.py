"""Socket traces: the address of a socket that the datapath translated."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from msgspec import Struct

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import encode_verbose, ip_text
from trireme_datapath.monitor.display import PLAIN_DISPLAY, Display, Level
from trireme_datapath.monitor.tables.sockets import SOCKET_POINTS, SOCKET_PROTOCOLS

__all__ = [
    "TRACE_SOCK_NOTIFY_FLAG_IS_IPV6",
    "TRACE_SOCK_NOTIFY_LEN",
    "TraceSockNotify",
    "TraceSockNotifyVerbose",
    "decode_trace_sock_notify",
]

# type, point, address, port, cookie, control group, protocol, flags; packed
_LAYOUT: Final = struct.Struct("<BB16sHQQBB")
_NO_ADDRESS: Final = bytes(16)

TRACE_SOCK_NOTIFY_LEN: Final = _LAYOUT.size
TRACE_SOCK_NOTIFY_FLAG_IS_IPV6: Final = 1


class TraceSockNotify(Struct, frozen=True, kw_only=True, gc=False):
    """The address of a socket, before or after translation.

    Attributes:
        type: 7.
        xlate_point: When it was seen, a `SocketPoint`.
        dst_ip: The destination; IPv4 in the first four bytes.
        dst_port: The destination port.
        sock_cookie: The socket.
        cgroup_id: The control group of its process.
        l4_proto: 1 for TCP, 2 for UDP.
        flags: Bit 0: it is IPv6.
    """

    type: int = 0
    xlate_point: int = 0
    dst_ip: bytes = _NO_ADDRESS
    dst_port: int = 0
    sock_cookie: int = 0
    cgroup_id: int = 0
    l4_proto: int = 0
    flags: int = 0

    def endpoints(self) -> None:
        """Give the endpoints that filters compare: these messages pass every filter."""
        del self

    def show(self, level: Level, data: bytes, prefix: str, display: Display) -> str:
        """Give the form of a level; Cilium shows these at one only."""
        del data
        if display.fixed and level is Level.JSON:
            return self.dump_json(prefix)
        wanted = display.fixed or level is Level.DEBUG
        return self.dump_debug(prefix, display) if wanted else ""

    def is_ipv6(self) -> bool:
        """Tell whether the address is IPv6."""
        return bool(self.flags & TRACE_SOCK_NOTIFY_FLAG_IS_IPV6)

    def ip(self) -> IPv4Address | IPv6Address:
        """Give the destination."""
        return IPv6Address(self.dst_ip) if self.is_ipv6() else IPv4Address(self.dst_ip[:4])

    def point_name(self) -> str:
        """Name the point."""
        return SOCKET_POINTS.get(self.xlate_point, "unknown")

    def protocol_name(self) -> str:
        """Name the protocol."""
        return SOCKET_PROTOCOLS.get(self.l4_proto, "unknown")

    def dump_debug(self, prefix: str, display: Display = PLAIN_DISPLAY) -> str:
        """Give the line."""
        address = self._ip_text()
        host = address if display.fixed and not self.is_ipv6() else f"[{address}]"
        end = "\n" if display.fixed else " \n"
        return (
            f"{prefix} [{self.point_name()}] cgroup_id: {self.cgroup_id} "
            f"sock_cookie: {self.sock_cookie}, dst {host}:{self.dst_port} "
            f"{self.protocol_name()}{end}"
        )

    def dump_json(self, cpu_prefix: str) -> str:
        """Give a JSON form, which Cilium has none of."""
        return encode_verbose(
            TraceSockNotifyVerbose(
                cpu_prefix=cpu_prefix,
                xlate_point=self.point_name(),
                cgroup_id=self.cgroup_id,
                sock_cookie=self.sock_cookie,
                dst_ip=self._ip_text(),
                dst_port=self.dst_port,
                proto=self.protocol_name(),
            )
        )

    def _ip_text(self) -> str:
        return ip_text(self.dst_ip if self.is_ipv6() else self.dst_ip[:4])


class TraceSockNotifyVerbose(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "cpu_prefix": "cpu",
        "xlate_point": "xlatePoint",
        "cgroup_id": "cgroupID",
        "sock_cookie": "sockCookie",
        "dst_ip": "dstIP",
        "dst_port": "dstPort",
    },
):
    """The JSON form of a socket trace, in the order of its keys."""

    cpu_prefix: str
    type: str = "trace-sock"
    xlate_point: str
    cgroup_id: int
    sock_cookie: int
    dst_ip: str
    dst_port: int
    proto: str


def decode_trace_sock_notify(data: bytes) -> TraceSockNotify:
    """Read a socket trace.

    Raises:
        MessageError: It is too short.
    """
    if len(data) < TRACE_SOCK_NOTIFY_LEN:
        raise MessageError(
            f"unexpected TraceSockNotify data length, expected {TRACE_SOCK_NOTIFY_LEN} "
            f"but got {len(data)}"
        )
    kind, point, dst_ip, dst_port, cookie, cgroup, protocol, flags = _LAYOUT.unpack_from(data)
    return TraceSockNotify(
        type=kind,
        xlate_point=point,
        dst_ip=dst_ip,
        dst_port=dst_port,
        sock_cookie=cookie,
        cgroup_id=cgroup,
        l4_proto=protocol,
        flags=flags,
    )
