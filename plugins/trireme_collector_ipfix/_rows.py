"""Flow records as data records of IPFIX, each with the elements that it has values for."""

from __future__ import annotations

import functools
import ipaddress
import struct
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from trireme_collector.netobserv import flows_from_record

if TYPE_CHECKING:
    from msgspec import UnsetType

    from trireme_collector import FlowRecord
    from trireme_collector.netobserv import Flow

__all__ = ["VARIABLE_LENGTH", "Elements", "Row", "rows_of"]

Elements: TypeAlias = tuple[tuple[int, int], ...]

VARIABLE_LENGTH = 65_535
"""Stands in a template for a length that each value brings along."""

# Numbers from IANA's registry of information elements.
_OCTETS, _PACKETS, _PROTOCOL, _TCP_BITS = 1, 2, 4, 6
_SOURCE_PORT, _DESTINATION_PORT = 7, 11
_SOURCE = {4: 8, 16: 27}  # by the length of the address
_DESTINATION = {4: 12, 16: 28}
_DIRECTION, _INTERFACE, _FORWARDING = 61, 82, 89
_FLOW_ID, _START_MS, _END_MS, _ETHERTYPE = 148, 152, 153, 256
_FORWARDED, _DENIED = 64, 129  # forwardingStatus: unknown reason; dropped, access list
_ICMP = {1: 32, 58: 139}  # by protocol: type and code in one number
_SIZES = {1: struct.Struct(">B"), 2: struct.Struct(">H"), 8: struct.Struct(">Q")}
_OCTET = range(256)
_LONGEST_NAME = 64  # an interface has 15 characters


class Row(NamedTuple):
    """One data record.

    Attributes:
        elements: The number and the length of each of its values.
        data: The values.
    """

    elements: Elements
    data: bytes


def rows_of(record: FlowRecord) -> list[Row]:
    """Make data records of a flow record: one for each direction that was counted.

    What is not known is not there: there is a template for each choice of elements, so that no
    value stands for "unknown".
    """
    status = _DENIED if record.action.rejected else _FORWARDED if record.action.accepted else None
    return [_row(flow, record.sequence or 0, status) for flow in flows_from_record(record)]


def _row(flow: Flow, sequence: int, status: int | None) -> Row:
    elements: list[tuple[int, int]] = []
    parts: list[bytes] = []

    def add(element: int, size: int, value: float | UnsetType | None) -> None:
        if isinstance(value, (int, float)):
            elements.append((element, size))
            largest = (1 << 8 * size) - 1
            parts.append(_SIZES[size].pack(min(max(int(value), 0), largest)))

    add(_FLOW_ID, 8, sequence or None)
    for address, places in ((flow.src_addr, _SOURCE), (flow.dst_addr, _DESTINATION)):
        packed = _packed(address) if isinstance(address, str) else b""
        if packed:
            elements.append((places[len(packed)], len(packed)))
            parts.append(packed)
    add(_ETHERTYPE, 2, flow.etype)
    add(_DIRECTION, 1, flow.flow_direction)
    add(_PROTOCOL, 1, flow.proto)
    add(_SOURCE_PORT, 2, flow.src_port)
    add(_DESTINATION_PORT, 2, flow.dst_port)
    add(_ICMP.get(flow.proto or 0, 0), 2, _icmp(flow))
    add(_OCTETS, 8, flow.bytes)
    add(_PACKETS, 8, flow.packets)
    add(_START_MS, 8, flow.time_flow_start_ms)
    add(_END_MS, 8, flow.time_flow_end_ms)
    add(_TCP_BITS, 2, flow.flags if isinstance(flow.flags, int) else None)
    add(_FORWARDING, 1, status)
    if isinstance(flow.interface, str):
        name = _name(flow.interface)
        elements.append((_INTERFACE, VARIABLE_LENGTH))
        parts.append(bytes((len(name),)) + name)
    return Row(tuple(elements), b"".join(parts))


def _icmp(flow: Flow) -> int | None:
    """Give type and code as one number; nothing if one of them is unknown, or cannot be."""
    kind, code = flow.icmp_type, flow.icmp_code
    if flow.proto not in _ICMP or not isinstance(kind, int) or not isinstance(code, int):
        return None
    return kind << 8 | code if kind in _OCTET and code in _OCTET else None


@functools.lru_cache(65_536)
def _packed(text: str) -> bytes:
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        return b""


def _name(text: str) -> bytes:
    """Write a name in UTF-8, cut at a character; what is not printable is replaced."""
    plain = "".join(c if c.isprintable() else "\ufffd" for c in text[:_LONGEST_NAME])
    return plain.encode("utf-8", "replace")[:_LONGEST_NAME].decode("utf-8", "ignore").encode()
