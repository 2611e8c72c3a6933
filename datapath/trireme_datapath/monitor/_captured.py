"""The packet behind the header of a message, in the forms that messages show it in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from trireme_datapath.monitor._layer3 import with_link_header
from trireme_datapath.monitor.dissection import (
    DissectSummary,
    connection_summary,
    crashes_upstream,
    dissect,
    get_dissect_summary,
)
from trireme_datapath.monitor.profiles import PROFILE_1_9

if TYPE_CHECKING:
    from trireme_datapath.monitor.display import Display

__all__ = ["captured_layers", "captured_packet", "captured_summary", "is_left_out"]

_NO_DECODER = "  Failed to decode layer: No decoder for layer type "


def captured_summary(packet: bytes, display: Display) -> str:
    """Give the connection of a packet, in one line."""
    if display.fixed:
        return connection_summary(with_link_header(packet)[0], profile=display.profile).rstrip()
    return connection_summary(packet, profile=display.profile)


def captured_packet(packet: bytes, display: Display, *, dissected: bool) -> str:
    """Give the lines of a packet, one per layer, or its bytes."""
    if not dissected or not display.fixed:
        return dissect(packet, verbose=dissected, profile=display.profile)
    whole, added = with_link_header(packet)
    lines = dissect(whole, verbose=True, profile=display.profile).splitlines(keepends=True)
    return "".join(line for line in lines[added:] if not line.startswith(_NO_DECODER))


def captured_layers(packet: bytes, display: Display) -> DissectSummary:
    """Give the layers of a packet for JSON."""
    if not display.fixed:
        return get_dissect_summary(packet, profile=display.profile)
    whole, added = with_link_header(packet)
    summary = get_dissect_summary(whole, profile=display.profile)
    return structs.replace(summary, ethernet="", l2=None) if added else summary


def is_left_out(packet: bytes, display: Display) -> bool:
    """Tell whether Cilium ends before it can print a message with this packet as JSON."""
    if display.fixed or display.profile is not PROFILE_1_9:
        return False
    return crashes_upstream(packet, profile=display.profile)
