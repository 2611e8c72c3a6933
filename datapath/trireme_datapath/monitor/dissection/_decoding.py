"""The loop that decodes a packet, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.monitor.dissection._ethernet import Ethernet
from trireme_datapath.monitor.dissection._icmp import ICMPv4, ICMPv6
from trireme_datapath.monitor.dissection._ipv4 import IPv4
from trireme_datapath.monitor.dissection._ipv6 import IPv6
from trireme_datapath.monitor.dissection._progress import Progress
from trireme_datapath.monitor.dissection._sctp import SCTP
from trireme_datapath.monitor.dissection._tcp import TCP
from trireme_datapath.monitor.dissection._udp import UDP

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.monitor.dissection._progress import Layer

__all__ = ["Decoded", "decode_layers"]

_LAYERS: dict[str, Callable[[Progress], Layer]] = {
    "Ethernet": Ethernet,
    "IPv4": IPv4,
    "IPv6": IPv6,
    "TCP": TCP,
    "UDP": UDP,
    "SCTP": SCTP,
    "ICMPv4": ICMPv4,
    "ICMPv6": ICMPv6,
}
_LAYERS_1_9 = {name: layer for name, layer in _LAYERS.items() if name != "SCTP"}


class Decoded:
    """What is in a packet.

    Attributes:
        layers: The layers in their order. An object that occurs twice stands for two headers of
            its kind, and holds the inner one.
        truncated: Whether a header promised more than there is.
        error: Why decoding ended, or ``""`` when it came to an end.
        is_sound: Whether every layer that can be decoded could be; what follows may still be
            of a kind without a decoder.
    """

    __slots__ = ("error", "is_sound", "layers", "truncated")

    def __init__(self, layers: list[Layer], *, truncated: bool, error: str, is_sound: bool) -> None:
        """Keep the result."""
        self.layers = layers
        self.truncated = truncated
        self.error = error
        self.is_sound = is_sound


def decode_layers(packet: bytes, *, is_1_9: bool) -> Decoded:
    """Decode a packet from its Ethernet header on, as far as layers are known.

    Total: every packet gives a result. Each turn takes a header off the packet, or ends, so the
    cost is bounded by its size.

    Args:
        packet: Any bytes.
        is_1_9: Whether the quirks of profile 1.9 apply.
    """
    progress = Progress(len(packet), is_1_9=is_1_9)
    kinds = _LAYERS
    layers: list[Layer] = []
    if is_1_9:
        kinds = _LAYERS_1_9
        if not packet:
            return Decoded(layers, truncated=False, error="", is_sound=True)
    made: dict[str, Layer] = {}
    name = "Ethernet"
    data = packet
    error = ""
    is_sound = True
    while True:
        layer = made.get(name)
        if layer is None:
            kind = kinds.get(name)
            if kind is None:
                error = f"No decoder for layer type {name}" if name else ""
                break
            layer = made[name] = kind(progress)
        error = layer.decode(data)
        if error:
            is_sound = False
            break
        layers.append(layer)
        data = layer.payload
        if not data:
            break
        name = layer.next_layer()
    return Decoded(layers, truncated=progress.truncated, error=error, is_sound=is_sound)
