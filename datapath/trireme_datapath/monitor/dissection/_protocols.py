"""EtherTypes and IP protocols: the name that is shown, and the layer that is asked for next.

Source: the tables of ``google/gopacket`` 1.1.19 (``layers/enums.go``). A layer without a name is
the unknown one, at which decoding ends without an error.
"""

from __future__ import annotations

__all__ = ["ETHERNET_TYPES", "IP_PROTOCOLS", "LLC", "ethernet_type", "ip_protocol"]

# EtherTypes below 0x0600 are lengths, and the type counts as this one.
LLC = 0x0000
_ERSPAN = 0x88BE

ETHERNET_TYPES = {
    LLC: ("LLC", "LLC"),
    0x0800: ("IPv4", "IPv4"),
    0x0806: ("ARP", "ARP"),
    0x2000: ("CiscoDiscovery", "CiscoDiscovery"),
    0x6558: ("TransparentEthernetBridging", "Ethernet"),
    0x8100: ("Dot1Q", "Dot1Q"),
    0x86DD: ("IPv6", "IPv6"),
    0x880B: ("PPP", "PPP"),
    0x8847: ("MPLSUnicast", "MPLS"),
    0x8848: ("MPLSMulticast", "MPLS"),
    0x8863: ("PPPoEDiscovery", "PPPoE"),
    0x8864: ("PPPoESession", "PPPoE"),
    0x888E: ("EAPOL", "EAPOL"),
    0x88A8: ("Dot1Q", "Dot1Q"),
    _ERSPAN: ("ERSPAN Type II", "ERSPAN Type II"),
    0x88CC: ("LinkLayerDiscovery", "LinkLayerDiscovery"),
    0x9000: ("EthernetCTP", "EthernetCTP"),
}
_UNKNOWN_ETHERNET_TYPE = ("UnknownEthernetType", "")

IP_PROTOCOLS = {
    0: ("IPv6HopByHop", "IPv6HopByHop"),
    1: ("ICMPv4", "ICMPv4"),
    2: ("IGMP", "IGMP"),
    4: ("IPv4", "IPv4"),
    6: ("TCP", "TCP"),
    17: ("UDP", "UDP"),
    27: ("RUDP", "RUDP"),
    41: ("IPv6", "IPv6"),
    43: ("IPv6Routing", "IPv6Routing"),
    44: ("IPv6Fragment", "IPv6Fragment"),
    47: ("GRE", "GRE"),
    50: ("IPSecESP", "IPSecESP"),
    51: ("IPSecAH", "IPSecAH"),
    58: ("ICMPv6", "ICMPv6"),
    59: ("NoNextHeader", "Payload"),
    60: ("IPv6Destination", "IPv6Destination"),
    89: ("OSPF", "OSPF"),
    94: ("IPv4", "IPv4"),
    97: ("EtherIP", "EtherIP"),
    112: ("VRRP", "VRRP"),
    132: ("SCTP", "SCTP"),
    136: ("UDPLite", "UDPLite"),
    137: ("MPLS", "MPLS"),
}
_UNKNOWN_IP_PROTOCOL = ("UnknownIPProtocol", "")


def ethernet_type(number: int, *, is_1_9: bool) -> tuple[str, str]:
    """Give the name of an EtherType and the layer that follows."""
    if is_1_9 and number == _ERSPAN:
        return _UNKNOWN_ETHERNET_TYPE
    return ETHERNET_TYPES.get(number, _UNKNOWN_ETHERNET_TYPE)


def ip_protocol(number: int) -> tuple[str, str]:
    """Give the name of an IP protocol and the layer that follows."""
    return IP_PROTOCOLS.get(number, _UNKNOWN_IP_PROTOCOL)
