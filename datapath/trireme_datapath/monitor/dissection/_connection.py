"""Who talks to whom: the connection in a packet, and its summary in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_datapath.monitor.dissection._addresses import endpoint_text, ip_text, mac_text
from trireme_datapath.monitor.dissection._decoding import decode_layers
from trireme_datapath.monitor.dissection._ethernet import Ethernet
from trireme_datapath.monitor.dissection._icmp import ICMPv4, ICMPv6
from trireme_datapath.monitor.dissection._ipv4 import IPv4
from trireme_datapath.monitor.dissection._ipv6 import IPv6
from trireme_datapath.monitor.dissection._quick_summary import quick_summary
from trireme_datapath.monitor.dissection._sctp import SCTP
from trireme_datapath.monitor.dissection._tcp import SUMMARY_FLAGS, TCP
from trireme_datapath.monitor.dissection._udp import UDP
from trireme_datapath.monitor.dissection._version import speaks_1_9

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Layer
    from trireme_datapath.monitor.profiles import Profile

__all__ = [
    "ConnectionInfo",
    "connection_summary",
    "general_summary",
    "get_connection_info",
    "get_connection_summary",
]


class ConnectionInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The connection that a packet belongs to.

    Attributes:
        src_ip: The source address, or ``None`` without an IP header.
        dst_ip: The destination address, or ``None``.
        src_port: The source port, 0 when there is none.
        dst_port: The destination port, 0 when there is none.
        proto: ``tcp``, ``udp``, ``sctp``, ``icmp`` for both versions of it, or ``""``.
        icmp_code: Type and code of ICMP in words, or ``""``.
    """

    src_ip: str | None = None
    dst_ip: str | None = None
    src_port: int = 0
    dst_port: int = 0
    proto: str = ""
    icmp_code: str = ""


def get_connection_info(packet: bytes, *, profile: str | Profile = "1.16") -> ConnectionInfo:
    """Find the connection of a packet that begins with its Ethernet header.

    Args:
        packet: Any bytes; what cannot be decoded leaves fields empty.
        profile: Which version's rules apply.
    """
    return _connection(decode_layers(packet, is_1_9=speaks_1_9(profile)).layers)


def _connection(layers: list[Layer]) -> ConnectionInfo:
    source: str | None = None
    destination: str | None = None
    source_port = destination_port = 0
    protocol = icmp = ""
    for layer in layers:
        if isinstance(layer, (IPv4, IPv6)):
            source, destination = ip_text(layer.source), ip_text(layer.destination)
        elif isinstance(layer, (TCP, UDP, SCTP)):
            protocol = layer.protocol
            source_port, destination_port = layer.source_port, layer.destination_port
        elif isinstance(layer, (ICMPv4, ICMPv6)):
            protocol, icmp = "icmp", layer.text
    return ConnectionInfo(
        src_ip=source,
        dst_ip=destination,
        src_port=source_port,
        dst_port=destination_port,
        proto=protocol,
        icmp_code=icmp,
    )


def connection_summary(packet: bytes, *, profile: str | Profile = "1.16") -> str:
    """Say in one line who talks to whom: ``10.0.0.1:1024 -> 10.0.0.2:80 tcp SYN``.

    Args:
        packet: Any bytes that begin, or should, with an Ethernet header.
        profile: Which version's rules apply.
    """
    is_1_9 = speaks_1_9(profile)
    return quick_summary(packet, is_1_9=is_1_9) or general_summary(packet, is_1_9=is_1_9)


get_connection_summary = connection_summary


def general_summary(packet: bytes, *, is_1_9: bool) -> str:
    """Make the summary from the decoded layers, whatever they are."""
    layers = decode_layers(packet, is_1_9=is_1_9).layers
    if not layers:
        return "[unknown]"
    info = _connection(layers)
    source, destination = info.src_ip, info.dst_ip
    if source is None or destination is None:
        # Without IP there is nothing but Ethernet.
        last = layers[-1]
        assert isinstance(last, Ethernet)  # noqa: S101  for the type checkers
        return f"{mac_text(last.source)} -> {mac_text(last.destination)} {last.type_name}"
    if info.icmp_code:
        return f"{source} -> {destination} {info.icmp_code}"
    if not info.proto:
        return f"{source} -> {destination}"
    text = (
        f"{endpoint_text(source, info.src_port)} -> "
        f"{endpoint_text(destination, info.dst_port)} {info.proto}"
    )
    last = layers[-1]
    # The space stands there even when no flag does.
    return f"{text} {SUMMARY_FLAGS[last.flags & 0xFF]}" if isinstance(last, TCP) else text
