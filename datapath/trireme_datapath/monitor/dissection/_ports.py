"""Names of transport ports, and the layers that gopacket expects behind some of them."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal

import msgspec

__all__ = ["TCP_PORT_LAYERS", "UDP_PORT_LAYERS", "port_text"]

TCP_PORT_LAYERS = {
    53: "DNS",
    443: "TLS",
    502: "ModbusTCP",
    636: "TLS",
    989: "TLS",
    990: "TLS",
    992: "TLS",
    993: "TLS",
    994: "TLS",
    995: "TLS",
    5061: "TLS",
}
# 1.9 lacks 623 and 1812. None of these is ever decoded: they are named in an error, which 1.9
# does not print.
UDP_PORT_LAYERS = {
    53: "DNS",
    67: "DHCPv4",
    68: "DHCPv4",
    123: "NTP",
    546: "DHCPv6",
    547: "DHCPv6",
    623: "RMCP",
    1812: "RADIUS",
    2152: "GTPv1U",
    3784: "BFD",
    4789: "VXLAN",
    5060: "SIP",
    6081: "Geneve",
    6343: "SFlow",
}


class _PortNames(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    source: str
    tcp: dict[int, str]
    udp: dict[int, str]
    sctp: dict[int, str]


@cache
def _port_names() -> _PortNames:
    """Read the names when the first port is shown: few modes show any."""
    data = files("trireme_datapath.data").joinpath("port_names.json").read_bytes()
    return msgspec.json.decode(data, type=_PortNames)


@lru_cache(maxsize=1024)
def port_text(protocol: Literal["sctp", "tcp", "udp"], port: int) -> str:
    """Render a port: ``80(http)``, or the number alone."""
    names = _port_names()
    if protocol == "tcp":
        name = names.tcp.get(port)
    else:
        name = (names.udp if protocol == "udp" else names.sctp).get(port)
    return str(port) if name is None else f"{port}({name})"
