"""The packet of a flow: the layers that Hubble shows, in its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor.dissection._addresses import ip_text, mac_text
from trireme_datapath.monitor.dissection._decoding import decode_layers
from trireme_datapath.monitor.dissection._ethernet import Ethernet
from trireme_datapath.monitor.dissection._icmp import ICMPv4, ICMPv6
from trireme_datapath.monitor.dissection._ipv4 import IPv4
from trireme_datapath.monitor.dissection._ipv6 import IPv6
from trireme_datapath.monitor.dissection._sctp import SCTP
from trireme_datapath.monitor.dissection._tcp import ALL_FLAGS, TCP
from trireme_datapath.monitor.dissection._udp import UDP

if TYPE_CHECKING:
    from trireme_datapath.monitor.dissection._progress import Layer

__all__ = ["packet_fields", "whole_text", "without_defaults"]


def without_defaults(**fields: object) -> dict[str, object]:
    """Leave out what protobuf leaves out of JSON: numbers that are 0, and empty texts."""
    return {name: value for name, value in fields.items() if value}


def whole_text(value: object) -> object:
    """Replace in all texts of a value what was no UTF-8: protobuf has no other texts."""
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {name: whole_text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [whole_text(item) for item in value]
    return value


def packet_fields(packet: bytes) -> dict[str, object]:
    """Give ``ethernet``, ``IP``, ``l4`` and ``Summary`` of a packet, as far as it has them.

    Raises:
        MessageError: A layer is unsound. Hubble then shows no flow; a layer that it does not
            know is no reason for that.
    """
    fields: dict[str, object] = {}
    if not packet:
        return fields
    decoded = decode_layers(packet, is_1_9=False)
    if not decoded.is_sound:
        raise MessageError(decoded.error)
    for layer in decoded.layers:
        fields["Summary"] = layer.name
        _add_layer(fields, layer)
    return fields


def _add_layer(fields: dict[str, object], layer: Layer) -> None:
    if isinstance(layer, Ethernet):
        fields["ethernet"] = {
            "source": mac_text(layer.source),
            "destination": mac_text(layer.destination),
        }
    elif isinstance(layer, (IPv4, IPv6)):
        fields["IP"] = {
            "source": ip_text(layer.source),
            "destination": ip_text(layer.destination),
            "ipVersion": layer.name,
        }
    elif isinstance(layer, (ICMPv4, ICMPv6)):
        fields["l4"] = {layer.name: without_defaults(type=layer.type, code=layer.code)}
        fields["Summary"] = f"{layer.name} {layer.text}"
    elif isinstance(layer, (TCP, UDP, SCTP)):
        ports = without_defaults(
            source_port=layer.source_port, destination_port=layer.destination_port
        )
        fields["l4"] = {layer.name: ports}
        if isinstance(layer, TCP):
            flags = [name for name, bit in ALL_FLAGS if layer.flags & bit]
            ports["flags"] = dict.fromkeys(flags, True)
            fields["Summary"] = f"TCP Flags: {', '.join(flags)}"
