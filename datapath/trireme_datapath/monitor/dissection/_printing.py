"""The packet part of verbose output: one line per layer, or a hex dump."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.monitor.dissection._decoding import decode_layers
from trireme_datapath.monitor.dissection._hex_dump import hex_dump
from trireme_datapath.monitor.dissection._summary import layer_line
from trireme_datapath.monitor.dissection._tcp import TCP
from trireme_datapath.monitor.dissection._version import speaks_1_9

if TYPE_CHECKING:
    from trireme_datapath.monitor.profiles import Profile

__all__ = ["crashes_upstream", "dissect"]


def dissect(packet: bytes, *, verbose: bool = True, profile: str | Profile = "1.16") -> str:
    """Render a packet as lines, each with its line end.

    Where upstream crashes (profile 1.9, an MSS option without its value), the text ends with
    the line before.

    Args:
        packet: Any bytes that begin, or should, with an Ethernet header.
        verbose: Whether to decode it; otherwise it is dumped in hex.
        profile: Which version's rules apply.
    """
    if not verbose:
        return hex_dump(packet)
    is_1_9 = speaks_1_9(profile)
    decoded = decode_layers(packet, is_1_9=is_1_9)
    made: dict[str, str] = {}
    lines: list[str] = []
    for layer in decoded.layers:
        if isinstance(layer, TCP) and layer.crashes_upstream:
            return "".join(lines)
        # One object stands for every header of its kind, so its line is the same.
        line = made.get(layer.name)
        if line is None:
            line = made[layer.name] = layer_line(layer) + "\n"
        lines.append(line)
    if decoded.truncated:
        lines.append("  Packet has been truncated\n")
    if decoded.error and not is_1_9:
        lines.append(f"  Failed to decode layer: {decoded.error}\n")
    return "".join(lines)


def crashes_upstream(packet: bytes, *, profile: str | Profile = "1.16") -> bool:
    """Whether upstream crashes when it renders the layers of a packet.

    Profile 1.9 does so for an MSS option without its value, unless there are so many options
    that only their number is shown. What it would have printed afterwards is then missing.
    """
    return speaks_1_9(profile) and any(
        isinstance(layer, TCP) and layer.crashes_upstream
        for layer in decode_layers(packet, is_1_9=True).layers
    )
