"""What the records of messages are made of: the packet, the two ends, the words for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET, Struct, UnsetType

from trireme_collector.records import EndPoint, EndPointType
from trireme_datapath.monitor._layer3 import with_link_header
from trireme_datapath.monitor.tables.identities import RESERVED_IDENTITIES
from trireme_datapath.packet import Packet, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PacketView", "endpoint_name", "identity_name", "named_end", "namespace_of", "view"]

_ETHERNET_BYTES: Final = 14
_TAG_BYTES: Final = 4
_IP_TYPES: Final = frozenset({b"\x08\x00", b"\x86\xdd"})
_VLAN_TYPES: Final = frozenset({b"\x81\x00", b"\x88\xa8"})
_PAYLOAD_BYTES: Final = 64  # as much as a packet report holds

_WORLD: Final = frozenset({2, 9, 10})
_FIRST_CIDR: Final = 1 << 24  # identities of address ranges begin here
_NAMESPACE_LABELS: Final = ("k8s:io.kubernetes.pod.namespace=", "io.kubernetes.pod.namespace=")


class PacketView(Struct, frozen=True, kw_only=True, gc=False):
    """What can be said about the captured part of a packet.

    Attributes:
        source_ip: The sender, empty when there is no IP header.
        source_port: Its port, 0 when there is none.
        destination_ip: The receiver.
        destination_port: Its port.
        protocol: The IP protocol, 0 when there is no IP header.
        tcp_flags: The TCP flags, absent for other protocols.
        length: The IP total length, 0 when there is no IP header.
        identification: The IPv4 identification.
        payload: The first bytes from the IP header on.
    """

    source_ip: str = ""
    source_port: int = 0
    destination_ip: str = ""
    destination_port: int = 0
    protocol: int = 0
    tcp_flags: int | UnsetType = UNSET
    length: int = 0
    identification: int = 0
    payload: bytes = b""


_NOTHING: Final = PacketView()
_TCP: Final = 6


def view(frame: bytes, original_bytes: int) -> PacketView:
    """Look at the captured part of a packet.

    Args:
        frame: It, from the Ethernet header on, or from the IP header where the device has no
            other.
        original_bytes: How long the packet was.
    """
    captured = len(frame)
    frame, _ = with_link_header(frame)
    offset = _ETHERNET_BYTES
    if frame[12:14] in _VLAN_TYPES:
        offset += _TAG_BYTES
    if frame[offset - 2 : offset] not in _IP_TYPES:
        return _NOTHING
    data = frame[offset:]
    decoded = decode(data, original_length=len(data) + max(0, original_bytes - captured))
    read = decoded if isinstance(decoded, Packet) else None
    return PacketView(
        source_ip=decoded.source_text,
        source_port=read.source_port if read else 0,
        destination_ip=decoded.destination_text,
        destination_port=read.destination_port if read else 0,
        protocol=max(decoded.protocol, 0),
        tcp_flags=read.tcp_flags if read and read.protocol == _TCP else UNSET,
        length=decoded.size_bytes,
        identification=read.identification if read else 0,
        payload=data[:_PAYLOAD_BYTES],
    )


def identity_name(identity: int) -> str:
    """Name a security identity: ``reserved:host``, ``identity:12345``; empty for none."""
    if not identity:
        return ""
    reserved = RESERVED_IDENTITIES.get(identity)
    return f"reserved:{reserved}" if reserved else f"identity:{identity}"


def endpoint_name(number: int) -> str:
    """Name an endpoint of the node; empty for none."""
    return f"endpoint:{number}" if number else ""


def named_end(ip: str, port: int, *, identity: int, endpoint: int = 0) -> EndPoint:
    """Name one end of a flow.

    The world and its address ranges are external; whoever else has an identity, or is an
    endpoint of the node, is a processing unit.
    """
    is_external = identity in _WORLD or identity >= _FIRST_CIDR or not (identity or endpoint)
    return EndPoint(
        id=identity_name(identity) or endpoint_name(endpoint),
        ip=ip,
        port=port,
        type=EndPointType.EXTERNAL_IP if is_external else EndPointType.PU,
    )


def namespace_of(labels: Iterable[str] | None) -> str:
    """Find the Kubernetes namespace among labels; empty when there is none."""
    for label in labels or ():
        for prefix in _NAMESPACE_LABELS:
            if label.startswith(prefix):
                return label[len(prefix) :]
    return ""
