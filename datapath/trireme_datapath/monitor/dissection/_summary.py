"""The layers of a packet as an object, for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_datapath.monitor.dissection._addresses import ip_text, mac_text
from trireme_datapath.monitor.dissection._decoding import decode_layers
from trireme_datapath.monitor.dissection._ethernet import Ethernet
from trireme_datapath.monitor.dissection._ipv4 import IPv4
from trireme_datapath.monitor.dissection._ipv6 import IPv6
from trireme_datapath.monitor.dissection._sctp import SCTP
from trireme_datapath.monitor.dissection._tcp import TCP
from trireme_datapath.monitor.dissection._udp import UDP
from trireme_datapath.monitor.dissection._version import speaks_1_9

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Layer
    from trireme_datapath.monitor.profiles import Profile

__all__ = ["DissectSummary", "Flow", "get_dissect_summary", "layer_line"]


class Flow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The two ends of a layer.

    Attributes:
        src: Hardware address, IP address or port of the source.
        dst: The same of the destination.
    """

    src: str
    dst: str


class DissectSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The lines of the layers in a packet, ``""`` for those that it does not have.

    The order of the fields is that of the JSON object; a field that is empty has no key.

    Attributes:
        ethernet: The line of the Ethernet header.
        ipv4: The line of the IPv4 header.
        ipv6: The line of the IPv6 header.
        tcp: The line of the TCP header.
        udp: The line of the UDP header.
        sctp: The line of the SCTP header.
        icmpv4: The line of the ICMPv4 header.
        icmpv6: The line of the ICMPv6 header.
        l2: The hardware addresses.
        l3: The IP addresses.
        l4: The ports, without names.
    """

    ethernet: str = ""
    ipv4: str = ""
    ipv6: str = ""
    tcp: str = ""
    udp: str = ""
    sctp: str = ""
    icmpv4: str = ""
    icmpv6: str = ""
    l2: Flow | None = None
    l3: Flow | None = None
    l4: Flow | None = None


def layer_line(layer: Layer) -> str:
    """Render a layer as one line, without the line end."""
    return f"{layer.name}\t{{{layer.fields()}}}"


def get_dissect_summary(packet: bytes, *, profile: str | Profile = "1.16") -> DissectSummary:
    """Decode a packet into the lines and ends of its layers.

    Args:
        packet: Any bytes that begin, or should, with an Ethernet header.
        profile: Which version's rules apply.
    """
    lines: dict[str, str] = {}
    l2: Flow | None = None
    l3: Flow | None = None
    l4: Flow | None = None
    for layer in decode_layers(packet, is_1_9=speaks_1_9(profile)).layers:
        key = layer.name.lower()
        if key not in lines:
            lines[key] = layer_line(layer)
        if isinstance(layer, Ethernet):
            l2 = Flow(src=mac_text(layer.source), dst=mac_text(layer.destination))
        elif isinstance(layer, (IPv4, IPv6)):
            l3 = Flow(src=ip_text(layer.source), dst=ip_text(layer.destination))
        elif isinstance(layer, (TCP, UDP, SCTP)):
            l4 = Flow(src=str(layer.source_port), dst=str(layer.destination_port))
    return DissectSummary(**lines, l2=l2, l3=l3, l4=l4)
