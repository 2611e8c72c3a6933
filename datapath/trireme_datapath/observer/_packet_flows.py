"""Packet reports as Hubble shows flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_collector.formats import icmp_text
from trireme_collector.records import PacketEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trireme_collector.records import PacketReport

__all__ = ["packet_to_hubble"]

_DROP, _TRACE = 1, 4
_TO_STACK: Final = 3
_WITH_PORTS: Final[Mapping[int, str]] = {6: "TCP", 17: "UDP", 132: "SCTP"}
_ICMP: Final[Mapping[int, str]] = {1: "ICMPv4", 58: "ICMPv6"}
_FLAGS: Final = (
    ("SYN", 0x002),
    ("ACK", 0x010),
    ("RST", 0x004),
    ("FIN", 0x001),
    ("PSH", 0x008),
    ("URG", 0x020),
    ("ECE", 0x040),
    ("CWR", 0x080),
    ("NS", 0x100),
)


def packet_to_hubble(report: PacketReport) -> dict[str, object]:
    """Give a report of a packet outside any flow: a drop, or what was seen and let pass."""
    from trireme_datapath.monitor.publishing import drop_code  # noqa: PLC0415  rarely needed
    from trireme_datapath.monitor.tables.hubble import (  # noqa: PLC0415
        HUBBLE_DROP_REASONS,
        enum_value,
    )

    flow: dict[str, object] = {"verdict": "FORWARDED"}
    event: dict[str, object] = {"type": _TRACE, "sub_type": _TO_STACK}
    if report.event is PacketEvent.DROPPED:
        code = drop_code(report.drop_reason)
        flow = {
            "verdict": "DROPPED",
            "drop_reason": code,
            "drop_reason_desc": enum_value(HUBBLE_DROP_REASONS, code),
        }
        event = {"type": _DROP, "sub_type": code}
    if report.source_ip or report.destination_ip:
        version = "IPv6" if ":" in (report.source_ip or report.destination_ip) else "IPv4"
        flow["IP"] = {
            "source": report.source_ip,
            "destination": report.destination_ip,
            "ipVersion": version,
        }
    summary = _add_transport(flow, report)
    flow |= {"source": {}, "destination": {}, "Type": "L3_L4", "event_type": event}
    if report.interface:
        flow["interface"] = {"name": report.interface}
    if summary:
        flow["Summary"] = summary
    return flow


def _add_transport(flow: dict[str, object], report: PacketReport) -> str:
    """Add layer 4 and give its summary."""
    name = _WITH_PORTS.get(report.protocol)
    if name is None:
        icmp = _ICMP.get(report.protocol, "")
        if not icmp:
            return ""
        kind = _icmp_kind(report)
        flow["l4"] = {icmp: {} if kind is None else {"type": kind[0], "code": kind[1]}}
        return icmp if kind is None else f"{icmp} {icmp_text(report.protocol, *kind)}"
    ports: dict[str, object] = {
        "source_port": report.source_port,
        "destination_port": report.destination_port,
    }
    flow["l4"] = {name: ports}
    if name == "TCP" and report.tcp_flags:
        flags = [flag for flag, bit in _FLAGS if report.tcp_flags & bit]
        ports["flags"] = dict.fromkeys(flags, True)
        return f"TCP Flags: {', '.join(flags)}"
    return name


def _icmp_kind(report: PacketReport) -> tuple[int, int] | None:
    """Read type and code out of what is kept of the packet, if they are in it."""
    from trireme_datapath.packet import Packet, decode  # noqa: PLC0415  rarely needed

    packet = decode(report.payload, original_length=max(report.length, len(report.payload)))
    if not isinstance(packet, Packet) or packet.icmp_type < 0:
        return None
    return packet.icmp_type, packet.icmp_code
