"""Types and codes of ICMP and ICMPv6 in words: those of gopacket, which Hubble and Cilium print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["icmp_text"]

_Names: TypeAlias = Mapping[int, tuple[str, tuple[str, ...]]]

# The name of a type, and of its codes from 0 on; no codes where only 0 is sound.
_ICMPV4: _Names = {
    0: ("EchoReply", ()),
    3: (
        "DestinationUnreachable",
        (
            "Net",
            "Host",
            "Protocol",
            "Port",
            "FragmentationNeeded",
            "SourceRoutingFailed",
            "NetUnknown",
            "HostUnknown",
            "SourceIsolated",
            "NetAdminProhibited",
            "HostAdminProhibited",
            "NetTOS",
            "HostTOS",
            "CommAdminProhibited",
            "HostPrecedence",
            "PrecedenceCutoff",
        ),
    ),
    4: ("SourceQuench", ()),
    5: ("Redirect", ("Net", "Host", "TOS+Net", "TOS+Host")),
    8: ("EchoRequest", ()),
    9: ("RouterAdvertisement", ()),
    10: ("RouterSolicitation", ()),
    11: ("TimeExceeded", ("TTLExceeded", "FragmentReassemblyTimeExceeded")),
    12: ("ParameterProblem", ("PointerIndicatesError", "MissingOption", "BadLength")),
    13: ("TimestampRequest", ()),
    14: ("TimestampReply", ()),
    15: ("InfoRequest", ()),
    16: ("InfoReply", ()),
    17: ("AddressMaskRequest", ()),
    18: ("AddressMaskReply", ()),
}
_ICMPV6: _Names = {
    1: (
        "DestinationUnreachable",
        (
            "NoRouteToDst",
            "AdminProhibited",
            "BeyondScopeOfSrc",
            "AddressUnreachable",
            "PortUnreachable",
            "SrcAddressFailedPolicy",
            "RejectRouteToDst",
        ),
    ),
    2: ("PacketTooBig", ()),
    3: ("TimeExceeded", ("HopLimitExceeded", "FragmentReassemblyTimeExceeded")),
    4: (
        "ParameterProblem",
        ("ErroneousHeaderField", "UnrecognizedNextHeader", "UnrecognizedIPv6Option"),
    ),
    128: ("EchoRequest", ()),
    129: ("EchoReply", ()),
    133: ("RouterSolicitation", ()),
    134: ("RouterAdvertisement", ()),
    135: ("NeighborSolicitation", ()),
    136: ("NeighborAdvertisement", ()),
    137: ("Redirect", ()),
}
_NAMES: Mapping[int, _Names] = {1: _ICMPV4, 58: _ICMPV6}


def icmp_text(protocol: int, icmp_type: int, code: int) -> str:
    """Say what a message is, such as ``EchoRequest`` or ``DestinationUnreachable(Port)``.

    Args:
        protocol: 1 for ICMP, 58 for ICMPv6.
        icmp_type: The type.
        code: The code.
    """
    known = _NAMES[protocol].get(icmp_type)
    if known is None:
        return f"{icmp_type}({code})"
    name, codes = known
    if 0 <= code < len(codes):
        return f"{name}({codes[code]})"
    return name if not codes and not code else f"{name}(Code: {code})"
